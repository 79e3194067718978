"""BiFormer and BiFormer-STL: sizes, features, attention maps, switches."""

import copy

import pytest
import timm
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from timm.layers import DropPath, LayerNorm2d
from torch import nn

from vision.attention.bi_level_routing import BiLevelRoutingAttention
from vision.backbones.biformer import BiFormer

SHALLOW = {
    "depths": (1, 1, 2, 1),
    "embed_dims": (16, 32, 48, 64),
    "num_heads": (1, 2, 3, 4),
}
FAMILY = ("biformer_pico", "biformer_tiny", "biformer_stl", "biformer_stl_nchw")


def shallow(name: str = "biformer_tiny", **options) -> BiFormer:
    torch.manual_seed(0)
    return timm.create_model(name, **{**SHALLOW, "num_classes": 10, **options}).eval()


@pytest.mark.parametrize(
    ("name", "parameters"),
    [
        ("biformer_pico", 1_057_888),
        ("biformer_nano", 3_456_360),
        ("biformer_tiny", 13_142_760),
        ("biformer_small", 25_536_232),
        ("biformer_base", 56_804_968),
        ("biformer_stl", 28_372_552),
        ("biformer_stl_nchw", 28_372_552),
    ],
)
def test_parameters_and_configuration(name, parameters):
    model = timm.create_model(name, device="meta")
    assert sum(p.numel() for p in model.parameters()) == parameters
    config = timm.data.resolve_data_config(model=model)
    assert config["mean"] == timm.data.IMAGENET_DEFAULT_MEAN
    assert config["std"] == timm.data.IMAGENET_DEFAULT_STD
    assert config["crop_pct"] == 0.875


@pytest.mark.parametrize("name", FAMILY)
@settings(max_examples=8, deadline=None)
@given(height=st.integers(32, 99), width=st.integers(32, 99))
def test_any_size(name, height, width):
    with torch.inference_mode():
        out = shallow(name)(torch.randn(1, 3, height, width))
    assert out.shape == (1, 10)
    assert out.isfinite().all()


@pytest.mark.parametrize("size", [(1, 1), (1, 40), (7, 31)])
def test_overlapping_stem_takes_tiny_pictures(size):
    with torch.inference_mode():
        assert shallow()(torch.randn(1, 3, *size)).isfinite().all()


@pytest.mark.parametrize("name", FAMILY)
def test_pictures_of_a_batch_do_not_meet(name):
    model, x = shallow(name), torch.randn(3, 3, 70, 65)
    with torch.inference_mode():
        torch.testing.assert_close(
            model(x), torch.cat([model(one) for one in x.split(1)]), rtol=1e-4, atol=1e-5
        )


@pytest.mark.parametrize("name", FAMILY)
def test_features_at_odd_sizes(name):
    model = timm.create_model(name, **SHALLOW, features_only=True).eval()
    round_up = not name.startswith("biformer_stl")
    with torch.inference_mode():
        maps = model(torch.randn(2, 3, 101, 131))
    assert model.feature_info.reduction() == [4, 8, 16, 32]
    for x, channels, reduction in zip(maps, SHALLOW["embed_dims"], (4, 8, 16, 32), strict=True):
        size = [-(-n // reduction) if round_up else n // reduction for n in (101, 131)]
        assert x.shape == (2, channels, *size)


def test_features_are_what_the_stages_give():
    model, x = shallow(), torch.randn(1, 3, 64, 64)
    seen = []
    for stage in model.stages:
        stage.register_forward_hook(lambda _, __, out: seen.append(out))
    final, maps = model.forward_intermediates(x)
    assert len(maps) == 4
    assert all(a.equal(b) for a, b in zip(maps, seen, strict=True))
    assert final.equal(model.norm(maps[-1]))
    (last,) = model.forward_intermediates(x, indices=1, norm=True, intermediates_only=True)
    assert last.equal(final)
    with pytest.raises(ValueError, match="NCHW"):
        model.forward_intermediates(x, output_fmt="NLC")


def test_feature_norms_are_for_the_way_out_only():
    plain, dense = shallow(), shallow(feature_norms=True)
    dense.load_state_dict(plain.state_dict(), strict=False)
    for i, norm in enumerate(dense.feature_norms):
        assert isinstance(norm, LayerNorm2d)
        nn.init.constant_(norm.bias, i)
    x = torch.randn(1, 3, 64, 64)
    maps = plain.forward_intermediates(x, intermediates_only=True)
    normed = dense.forward_intermediates(x, norm=True, intermediates_only=True)
    for norm, before, after in zip(dense.feature_norms, maps, normed, strict=True):
        torch.testing.assert_close(after, norm(before))
    torch.testing.assert_close(dense(x), plain(x))


def test_features_only_with_norms_has_no_idle_parameter():
    model = timm.create_model(
        "biformer_tiny", **SHALLOW, features_only=True, feature_norms=True, out_indices=(1, 2)
    )
    maps = model(torch.randn(2, 3, 64, 64))
    assert [x.shape[1] for x in maps] == [32, 48]
    torch.testing.assert_close(maps[0].mean(1), torch.zeros_like(maps[0][:, 0]), atol=1e-5, rtol=0)
    sum(x.square().sum() for x in maps).backward()
    assert [n for n, p in model.named_parameters() if p.grad is None] == []


@pytest.mark.filterwarnings("ignore:`torch.jit:FutureWarning")
@pytest.mark.filterwarnings("ignore:`torch.jit:DeprecationWarning")
def test_torchscript_of_features_with_norms():
    model = timm.create_model(
        "biformer_tiny", **SHALLOW, features_only=True, feature_norms=True, out_indices=(1, 2)
    )
    x = torch.randn(1, 3, 64, 64)
    torch.testing.assert_close(torch.jit.script(model.eval())(x), model(x))


def test_gradient_checkpointing_changes_no_gradient():
    model = shallow().train()
    recomputing = copy.deepcopy(model)
    recomputing.set_grad_checkpointing()
    x = torch.randn(2, 3, 64, 64)
    for m in (model, recomputing):
        m(x).square().sum().backward()
    for ours, theirs in zip(recomputing.parameters(), model.parameters(), strict=True):
        torch.testing.assert_close(ours.grad, theirs.grad)


@pytest.mark.parametrize("name", FAMILY)
def test_attention_maps_of_every_block(name):
    model, x = shallow(name), torch.randn(2, 3, 64, 80)
    for stage, depth in enumerate(SHALLOW["depths"]):
        for block in range(depth):
            maps = model.attention_maps(x, (stage, block))
            count = maps.grid[0] * maps.grid[1]
            tokens = maps.region[0] * maps.region[1]
            assert maps.regions.shape[:2] == (2, count)
            assert maps.attention.shape[:2] == (2, count)
            assert maps.attention.shape[3] == tokens
            torch.testing.assert_close(
                maps.attention.sum(-1), torch.ones(maps.attention.shape[:-1])
            )
    assert model.attention_maps(x).regions.equal(model.attention_maps(x, (2, 1)).regions)


def test_attention_maps_say_what_is_wrong():
    model = shallow(mixers=("conv", 4, 16, "lepe"))
    x = torch.randn(1, 3, 64, 64)
    with pytest.raises(ValueError, match="convolution"):
        model.attention_maps(x, (0, 0))
    with pytest.raises(ValueError, match="no block 5"):
        model.attention_maps(x, (0, 5))


def test_switches_reach_every_attention():
    model = shallow(regions=(5, 4, 3, 2), routing={"padding": "mask", "head_scale": True})
    routed = [m for m in model.modules() if isinstance(m, BiLevelRoutingAttention)]
    assert [m.regions for m in routed] == [5, 4, 3, 3]
    assert all(m.mask_padding for m in routed)
    assert [m.scale for m in routed] == [16**-0.5] * 4


def test_stochastic_depth_grows_over_all_blocks():
    model = shallow(drop_path_rate=0.4)
    rates = [m.drop_prob for m in model.modules() if isinstance(m, DropPath)]
    assert rates == pytest.approx([0.1, 0.2, 0.3, 0.4])  # the first is 0: no module


@pytest.mark.parametrize(
    "options",
    [
        {"mixers": ("conv", 4, "full", "lepe")},
        {"pre_norm": False, "layer_scale": 0.1, "mlp_dwconv": True},
        {"routing": {"soft_routing": True, "diff_routing": True, "param_routing": True}},
        {"routing": {"kv_pool": "ada_avgpool", "kv_size": 2, "qk_dim": 48}},
        {"global_pool": "avgmax", "drop_rate": 0.1},
        {"norm_layer": LayerNorm2d, "stem": "patch"},
    ],
)
def test_variants_train(options):
    model = shallow(**options).train()
    model(torch.randn(2, 3, 64, 64)).square().sum().backward()
    assert [n for n, p in model.named_parameters() if p.grad is None] == []


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"stem": "x"}, "stem"),
        ({"mixers": (1, 4, "x", "lepe")}, "mixer"),
    ],
)
def test_bad_options(options, message):
    with pytest.raises(ValueError, match=message):
        shallow(**options)


def test_layers_take_the_published_initial_values():
    model = timm.create_model("biformer_nano")
    weight = model.stages[2].blocks[0].mlp.fc1.weight
    assert weight.std().item() == pytest.approx(0.02, rel=0.05)
    assert model.stages[2].blocks[0].mlp.fc1.bias.abs().max() == 0
