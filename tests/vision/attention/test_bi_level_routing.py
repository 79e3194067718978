"""Bi-level routing attention: its forms, modes and properties."""

import pytest
import torch
import torch.nn.functional as F
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor

from vision.attention.bi_level_routing import BiLevelRoutingAttention, TopKRouter

NCHW = {"rounding": "down", "padding": "zero"}
few = settings(max_examples=20, deadline=None)


def attention(seed: int = 0, **options) -> BiLevelRoutingAttention:
    torch.manual_seed(seed)
    options = {"dim": 8, "num_heads": 2, "topk": 3, "regions": 3, "lepe_kernel": 3, **options}
    return BiLevelRoutingAttention(**options)


def dense(module: BiLevelRoutingAttention, x: Tensor) -> Tensor:
    """The same layer with every token attending to every token."""
    query, key, value = module.qkv(x).flatten(1, 2).split(module.widths, -1)
    heads = [t.unflatten(-1, (module.num_heads, -1)).transpose(1, 2) for t in (query, key, value)]
    out = F.scaled_dot_product_attention(*heads, scale=module.scale)
    out = out.transpose(1, 2).reshape(x.shape)
    return module.proj(out + module.lepe(value.view(x.shape)))


@few
@given(regions=st.integers(1, 4), height=st.integers(1, 4), width=st.integers(1, 4))
def test_forms_agree_where_regions_divide_the_map(regions, height, width):
    x = torch.randn(2, regions * height, regions * width, 8)
    options = {"regions": regions, "topk": min(3, regions**2)}
    expected = attention(**options)(x)
    for form in (NCHW, {"padding": "mask"}, {"padding": "zero"}):
        torch.testing.assert_close(attention(**options, **form)(x), expected)


@pytest.mark.parametrize("form", [NCHW, {"padding": "mask"}, {"padding": "zero"}])
def test_forms_differ_elsewhere(form):
    x = torch.randn(1, 11, 7, 8)
    assert (attention(**form)(x) - attention()(x)).abs().max() > 1e-3


@few
@given(height=st.integers(1, 12), width=st.integers(1, 12), regions=st.integers(1, 4))
def test_routing_to_all_regions_is_dense_attention(height, width, regions):
    module = attention(regions=regions, topk=regions**2, padding="mask", qk_dim=4)
    x = torch.randn(2, height, width, 8)
    torch.testing.assert_close(module(x), dense(module, x))


@pytest.mark.parametrize("padding", ["input", "zero"])
def test_published_padding_takes_part_in_attention(padding):
    module = attention(topk=9, padding=padding)
    x = torch.randn(1, 7, 8, 8)
    assert (module(x) - dense(module, x)).abs().max() > 1e-4


@few
@given(
    height=st.integers(1, 12),
    width=st.integers(1, 12),
    form=st.sampled_from([{}, NCHW, {"padding": "mask"}, {"region_size": 4, "padding": "mask"}]),
)
def test_any_size_and_every_parameter_is_trained(height, width, form):
    module = attention(**form)
    out = module(torch.randn(2, height, width, 8))
    assert out.shape == (2, height, width, 8)
    assert out.isfinite().all()
    out.square().sum().backward()
    assert all(p.grad is not None and p.grad.isfinite().all() for p in module.parameters())


@pytest.mark.parametrize("form", [{}, NCHW, {"padding": "mask"}])
def test_pictures_of_a_batch_do_not_meet(form):
    module, x = attention(**form), torch.randn(3, 7, 8, 8)
    torch.testing.assert_close(module(x), torch.cat([module(one) for one in x.split(1)]))


def test_region_size_is_regions_seen_from_the_other_side():
    x = torch.randn(1, 12, 12, 8)
    assert attention(region_size=4, padding="mask")(x).equal(attention(padding="mask")(x))
    maps = attention(region_size=4, padding="mask").attention_maps(torch.randn(1, 30, 9, 8))
    assert (maps.grid, maps.region) == ((8, 3), (4, 4))


@pytest.mark.parametrize(
    ("form", "grid", "region"),
    [
        ({}, (3, 3), (4, 3)),
        ({"padding": "mask"}, (3, 3), (4, 3)),
        (NCHW, (4, 4), (3, 2)),
    ],
)
def test_grid_of_regions(form, grid, region):
    maps = attention(**form).attention_maps(torch.randn(1, 10, 7, 8))
    assert (maps.grid, maps.region) == (grid, region)


def test_masked_regions_are_never_empty():
    maps = attention(regions=8, padding="mask").attention_maps(torch.randn(1, 9, 9, 8))
    assert (maps.grid, maps.region) == ((5, 5), (2, 2))
    torch.testing.assert_close(maps.attention.sum(-1), torch.ones(1, 25, 2, 4))


@pytest.mark.parametrize("form", [{}, NCHW, {"padding": "mask"}, {"soft_routing": True}])
def test_maps_tell_what_forward_attends_to(form):
    module = attention(**form)
    x = torch.randn(2, 7, 8, 8)
    maps = module.attention_maps(x)
    regions = maps.grid[0] * maps.grid[1]
    tokens = maps.region[0] * maps.region[1]
    assert maps.regions.shape == maps.weight.shape == (2, regions, 3)
    assert maps.attention.shape == (2, regions, 2, tokens, 3 * tokens)
    assert maps.regions.max() < regions
    assert (maps.weight.diff(dim=-1) <= 0).all()
    torch.testing.assert_close(maps.attention.sum(-1), torch.ones(2, regions, 2, tokens))


def test_head_scale_is_the_scale_of_one_head():
    x = torch.randn(1, 6, 6, 8)
    assert attention(head_scale=True).scale == 4**-0.5
    assert attention().scale == 8**-0.5
    torch.testing.assert_close(attention(head_scale=True)(x), attention(scale=4**-0.5)(x))


def test_only_differentiable_soft_routing_trains_the_router():
    x = torch.randn(1, 6, 6, 8)
    soft = attention(soft_routing=True, diff_routing=True, param_routing=True)
    soft(x).square().sum().backward()
    assert soft.router.emb.weight.grad.abs().max() > 0
    assert not attention().router(*torch.randn(2, 1, 4, 8, requires_grad=True))[1].requires_grad


def test_router_chooses_the_most_similar():
    key = torch.eye(4)[None]
    index, weight = TopKRouter(4, 2, scale=1.0)(torch.tensor([[[0.0, 3.0, 2.0, 1.0]]]), key)
    assert index.tolist() == [[[1, 2]]]
    torch.testing.assert_close(weight, torch.tensor([[[3.0, 2.0]]]).softmax(-1))
    assert TopKRouter(4, 9)(key, key)[0].shape == (1, 4, 4)


@pytest.mark.parametrize("mode", ["ada_avgpool", "ada_maxpool", "avgpool", "maxpool"])
def test_pooling_shortens_the_keys(mode):
    module = attention(kv_pool=mode, kv_size=2)
    x = torch.randn(2, 12, 12, 8)
    assert module.attention_maps(x).attention.shape == (2, 9, 2, 16, 3 * 4)
    assert module(x).shape == x.shape


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"num_heads": 3}, "num_heads"),
        ({"qk_dim": 3}, "qk_dim"),
        ({"rounding": "x"}, "rounding"),
        ({"padding": "x"}, "padding"),
        ({"diff_routing": True}, "soft_routing"),
        ({"param_routing": True}, "differentiable"),
        ({"kv_pool": "conv"}, "kv_pool"),
        ({"kv_pool": "maxpool", "padding": "mask"}, "cannot be masked"),
        ({"lepe_kernel": 4}, "odd"),
    ],
)
def test_bad_options(options, message):
    with pytest.raises(ValueError, match=message):
        attention(**options)
