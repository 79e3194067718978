"""Full attention with LePE."""

import pytest
import torch
from torch import nn

from vision.attention.depthwise import DepthwiseConv
from vision.attention.lepe import FullAttention


def test_is_multi_head_attention():
    attention = FullAttention(12, 3, lepe_kernel=0)
    other = nn.MultiheadAttention(12, 3, batch_first=True)
    other.load_state_dict(
        {
            "in_proj_weight": attention.qkv.weight,
            "in_proj_bias": torch.zeros(36),
            "out_proj.weight": attention.proj.weight,
            "out_proj.bias": attention.proj.bias,
        }
    )
    x = torch.randn(2, 3, 5, 12)
    expected = other(*[x.flatten(1, 2)] * 3)[0].view(x.shape)
    torch.testing.assert_close(attention(x), expected)


@pytest.mark.parametrize("lepe_on", ["input", "value"])
def test_lepe_convolves_what_it_is_told_to(lepe_on):
    attention = FullAttention(12, 3, lepe_on=lepe_on)
    x = torch.randn(2, 3, 5, 12)
    with_lepe = attention(x)
    source = x if lepe_on == "input" else attention.qkv(x)[..., 24:]
    lepe = attention.lepe(source) @ attention.proj.weight.T
    attention.lepe = None
    torch.testing.assert_close(with_lepe, attention(x) + lepe)


def test_maps_give_the_output_back():
    attention = FullAttention(12, 3, lepe_kernel=0)
    x = torch.randn(2, 3, 5, 12)
    maps = attention.attention_maps(x)
    assert maps.attention.shape == (2, 1, 3, 15, 15)
    assert (maps.grid, maps.region) == ((1, 1), (3, 5))
    value = attention.qkv(x)[..., 24:].view(2, 15, 3, 4).transpose(1, 2)
    out = (maps.attention[:, 0] @ value).transpose(1, 2).reshape(x.shape)
    torch.testing.assert_close(attention(x), attention.proj(out))


def test_depthwise_convolution_is_the_one_of_nchw_maps():
    conv = DepthwiseConv(6, 3)
    plain = nn.Conv2d(6, 6, 3, padding=1, groups=6)
    plain.load_state_dict(conv.state_dict())
    x = torch.randn(2, 5, 4, 6)
    torch.testing.assert_close(conv(x), plain(x.permute(0, 3, 1, 2)).permute(0, 2, 3, 1))


@pytest.mark.parametrize(
    ("build", "message"),
    [
        (lambda: FullAttention(10, 3), "not a multiple"),
        (lambda: FullAttention(12, 3, lepe_on="x"), "lepe_on"),
        (lambda: DepthwiseConv(4, 2), "odd"),
    ],
)
def test_bad_options(build, message):
    with pytest.raises(ValueError, match=message):
        build()
