"""Sparsifiner as a model: modes, checkpoints, sizes, features, copies and exports, costs."""

import copy
import pickle
from math import ceil

import pytest
import timm
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor, nn

from vision.backbones.sparsifiner import Sparsifiner
from vision.backbones.sparsifiner_blocks import token_keep_rates
from vision.backbones.sparsifiner_checkpoint import checkpoint_filter_fn
from vision.backbones.sparsifiner_flops import executed_macs, published_cost
from vision.errors import FoveateError
from vision.tasks.detection.pyramid import create_pyramid

SMALL = "sparsifiner_deit_small_patch16_224"
LVVIT = "sparsifiner_lvvit_small_patch16_224"
TINY = {"img_size": 64, "embed_dim": 24, "depth": 4, "num_heads": 2, "num_classes": 5}
PRUNED = {"token_keep_rate": 0.6, "prune_at": (1, 2)}
BATCH = ({0: torch.export.Dim.DYNAMIC},)


def tiny(name: str = SMALL, **options) -> Sparsifiner:
    """A small model whose weights are large enough for choices to matter."""
    predictor = {"coefficient_topk": 2, **options.pop("predictor", {})}
    model = timm.create_model(name, **{**TINY, "predictor": predictor, **options})
    torch.manual_seed(0)
    for parameter in model.parameters():
        nn.init.normal_(parameter, std=0.3)
    return model.eval()


def pictures(count: int = 2, size: tuple[int, int] = (64, 64)) -> Tensor:
    return torch.randn(count, 3, *size, generator=torch.Generator().manual_seed(1))


@pytest.mark.parametrize(
    ("name", "million"),
    [
        ("sparsifiner_deit_tiny_patch16_224", 5.92),
        (SMALL, 22.25),
        (f"{SMALL}_token70", 22.25),
        ("sparsifiner_deit_base_patch16_224", 86.8),
        (LVVIT, 26.4),
        ("sparsifiner_lvvit_medium_patch16_224", 56.2),
    ],
)
def test_parameters(name, million):
    model = timm.create_model(name, device="meta")
    assert sum(p.numel() for p in model.parameters()) / 1e6 == pytest.approx(million, rel=0.01)


@settings(max_examples=12, deadline=None)
@given(
    rows=st.integers(2, 5),
    columns=st.integers(2, 5),
    keep=st.floats(0.05, 1.0),
    rate=st.floats(0.3, 1.0),
)
def test_dropping_tokens_is_exact(rows, columns, keep, rate):
    size = (16 * rows, 16 * columns)
    options = {
        "img_size": size,
        "attn_keep_rate": keep,
        "token_keep_rate": rate,
        "prune_at": (1, 2),
        "token_reduction": 2,
    }
    # Without zeros in basis and coefficients no scores are equal, among which choices differ.
    options |= {"predictor": {"coefficient_topk": None, "basis_threshold": 0.0}}
    model, published = tiny(**options), tiny(**options, mode="published")
    x = pictures(2, size)
    with torch.inference_mode():
        torch.testing.assert_close(model(x), published(x), rtol=1e-4, atol=1e-5)
        final, maps = model.forward_intermediates(x)
        _, expected = published.forward_intermediates(x)
    left = ceil(rate**2 * rows * columns) if rate < 1 else rows * columns
    assert final.shape[1] == 1 + left
    for a, b in zip(maps, expected, strict=True):
        torch.testing.assert_close(a, b, rtol=1e-4, atol=1e-5)


def test_lvvit_computes_what_was_published():
    model, published = tiny(LVVIT), tiny(LVVIT, mode="published")
    torch.testing.assert_close(model(pictures()), published(pictures()), rtol=1e-4, atol=1e-5)
    trace = published.trace(pictures())
    assert trace.features.shape == (2, 16, 5)
    torch.testing.assert_close(trace.logits, published(pictures()))
    tokens = published.forward_features(pictures())
    by_hand = published.head(tokens[:, 0]) + 0.5 * published.aux_head(tokens[:, 1:]).amax(1)
    torch.testing.assert_close(trace.logits, by_hand)


def test_token_schedule():
    assert token_keep_rates(1.0, (3, 6, 9), 12) == [None] * 12
    rates = token_keep_rates(0.7, (3, 6, 9), 12)
    assert [ceil(rate * 196) for rate in rates if rate] == [138, 97, 68]
    assert token_keep_rates([0.9, 0.5], [1], 2) == [None, 0.5]


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"attn_keep_rate": [0.5]}, "1 values for 4 blocks"),
        ({"token_keep_rate": [0.5]}, "1 values for 4 blocks"),
        ({"mode": "fast"}, "mode must be"),
        ({"aux_head": True, "mode": "published", **PRUNED}, "drops no tokens"),
        ({"dynamic_img_size": True, "mode": "published"}, "pictures of one size"),
    ],
)
def test_bad_options(options, message):
    with pytest.raises(ValueError, match=message):
        tiny(**options)


# --- checkpoints -------------------------------------------------------------------------------


def load(state: dict, name: str = SMALL, **options) -> Sparsifiner:
    options = {"depth": 1, **options}
    return timm.create_model(
        name, pretrained=True, pretrained_cfg_overlay={"state_dict": state}, **options
    )


@pytest.fixture(scope="module")
def deit() -> dict[str, Tensor]:
    return timm.create_model("deit_small_patch16_224", depth=1).state_dict()


def test_weights_of_deit_lack_the_predictor_only(deit):
    own = timm.create_model(SMALL, depth=1, device="meta").state_dict()
    assert {name: x.shape for name, x in own.items() if ".mask_predictor." not in name} == {
        name: x.shape for name, x in deit.items()
    }
    assert len(own) - len(deit) == 6
    for wrapped in (deit, {"model": deit}):
        model = load(wrapped)
        for name, x in deit.items():
            assert model.state_dict()[name].equal(x)
        assert model.blocks[0].attn.mask_predictor.proj_n.abs().sum() > 0


def test_dense_mode_is_deit(deit):
    reference = timm.create_model("deit_small_patch16_224", depth=1).eval()
    reference.load_state_dict(deit)
    model = load(deit, mode="dense").eval()
    x = pictures(1, (224, 224))
    with torch.inference_mode():
        torch.testing.assert_close(model(x), reference(x), rtol=1e-4, atol=1e-5)


def test_weights_for_another_size_classifier_and_picture(deit):
    model = load(deit, img_size=96, num_classes=7, in_chans=1)
    assert model.pos_embed.shape == (1, 37, 384)
    assert model.head.out_features == 7
    assert model(torch.zeros(1, 1, 96, 96)).shape == (1, 7)  # a rank below eight coefficients
    assert model.pos_embed[:, 0].equal(deit["pos_embed"][:, 0])
    own = timm.create_model(SMALL, depth=1).state_dict()
    resampled = checkpoint_filter_fn(own, timm.create_model(SMALL, depth=1, img_size=384))
    assert resampled["blocks.0.attn.mask_predictor.proj_n"].shape == (577, 32)


def test_weights_of_lvvit():
    official = timm.create_model(LVVIT, depth=1, mode="dense").state_dict()
    assert {"aux_head.weight", "patch_embed.bn3.running_var"} <= set(official)
    assert "blocks.0.attn.qkv.bias" not in official
    model = load(official, LVVIT)
    assert model.aux_head.weight.equal(official["aux_head.weight"])
    assert load(official, LVVIT, num_classes=3).aux_head.out_features == 3


def test_weights_of_another_architecture_are_refused(deit):
    with pytest.raises(FoveateError, match=r"missing 'patch_embed.conv1.*create the form"):
        load(deit, LVVIT)
    with pytest.raises(FoveateError, match="no square grid"):
        load({**deit, "pos_embed": torch.zeros(1, 12, 384)})


# --- sizes and features -------------------------------------------------------------------------


def test_features_hold_dropped_tokens_as_zeros():
    model = tiny(**PRUNED)
    final, maps = model.forward_intermediates(pictures())
    assert final.equal(model.forward_features(pictures()))
    alive = [(x.abs().sum(1) > 0).sum().item() for x in maps]
    assert alive == [2 * n for n in (16, 10, 6, 6)]
    normed = model.forward_intermediates(pictures(), norm=True, intermediates_only=True)
    dead = maps[-1].abs().sum(1) == 0
    assert normed[-1].permute(0, 2, 3, 1)[dead].equal(model.norm.bias.expand(20, -1))
    (pair,) = model.forward_intermediates(
        pictures(), 1, return_prefix_tokens=True, output_fmt="NLC", intermediates_only=True
    )
    assert [x.shape for x in pair] == [(2, 16, 24), (2, 1, 24)]
    with pytest.raises(ValueError, match="NCHW"):
        model.forward_intermediates(pictures(), output_fmt="NHWC")


@pytest.mark.parametrize("mode", ["csr", "published"])
def test_features_in_all_of_timms_forms(mode):
    model, x = tiny(mode=mode, **PRUNED), pictures()
    final, maps = model.forward_intermediates(x, [0, 3], return_prefix_tokens=True, norm=True)
    torch.testing.assert_close(final, model.forward_features(x))
    found = model.forward_intermediates(
        x, [0, 3], return_prefix_tokens=True, norm=True, output_dict=True
    )
    assert found["image_features"].equal(final)
    named = zip(found["image_intermediates"], found["image_intermediates_prefix"], strict=True)
    for ours, theirs in zip(maps, named, strict=True):
        assert all(a.equal(b) for a, b in zip(ours, theirs, strict=True))
    (last,) = model.get_intermediate_layers(x, 1, reshape=True, norm=True)
    assert last.equal(maps[1][0])


@pytest.mark.parametrize(("name", "message"), [(SMALL, "height"), (LVVIT, "64 pixels high")])
def test_pictures_of_another_size_are_refused(name, message):
    with pytest.raises(AssertionError, match=message):
        tiny(name)(pictures(1, (96, 64)))


@pytest.mark.parametrize("name", [SMALL, LVVIT])
def test_sizes_that_vary(name):
    model, fixed = tiny(name, dynamic_img_size=True, **PRUNED), tiny(name, **PRUNED)
    fixed.load_state_dict(model.state_dict())
    x = pictures()
    torch.testing.assert_close(model(x), fixed(x), rtol=1e-4, atol=1e-5)
    assert model(pictures(1, (96, 48))).isfinite().all()
    fixed.set_input_size((96, 48))
    assert fixed.blocks[0].attn.mask_predictor.proj_n.shape[0] == 19
    assert fixed(pictures(1, (96, 48))).isfinite().all()
    padded = tiny(name, dynamic_img_size=True, dynamic_img_pad=True)
    assert padded(pictures(1, (70, 50))).isfinite().all()


def test_detection_takes_it():
    pyramid = create_pyramid("sparsifiner_deit_tiny_patch16_224", 8).eval()
    with torch.inference_mode():
        maps = pyramid(torch.zeros(1, 3, 64, 96))
    assert [tuple(x.shape[-2:]) for x in maps.values()] == [(8, 12), (4, 6), (2, 3)]


@pytest.mark.parametrize("name", [SMALL, LVVIT])
@pytest.mark.parametrize("pool", ["avg", "max", ""])
def test_other_pooling(pool, name):
    out = tiny(name, global_pool=pool, **PRUNED)(pictures())
    assert out.shape == ((2, 5) if pool else (2, 7, 5))


@pytest.mark.parametrize("pool", ["avg", "max"])
def test_only_patches_that_remain_are_pooled(pool):
    """Published, dropped patches stay as zeros, which would pull a mean towards them."""
    options = {**PRUNED, "global_pool": pool, "token_reduction": 2}
    options["predictor"] = {"coefficient_topk": None, "basis_threshold": 0.0}
    model, published = tiny(**options), tiny(**options, mode="published")
    with torch.inference_mode():
        expected = model(pictures())
        torch.testing.assert_close(published(pictures()), expected, rtol=1e-4, atol=1e-5)
        trace = model.trace(pictures())
    torch.testing.assert_close(trace.logits, expected, rtol=1e-4, atol=1e-5)
    assert trace.features.shape == (2, 16, 24)


# --- copies and exports ---------------------------------------------------------------------------


@pytest.fixture(params=[SMALL, LVVIT, "block"])
def model(request) -> Sparsifiner:
    if request.param == "block":
        return tiny(mode="block", query_block=4, key_block=4, **PRUNED)
    return tiny(request.param, **PRUNED)


@pytest.mark.parametrize(
    "clone", [copy.deepcopy, lambda m: pickle.loads(pickle.dumps(m))], ids=["deepcopy", "pickle"]
)
def test_copies(model, clone):
    assert clone(model)(pictures()).equal(model(pictures()))


def test_pictures_of_a_batch_do_not_meet(model):
    x = pictures(3)
    torch.testing.assert_close(
        model(x), torch.cat([model(one) for one in x.split(1)]), rtol=1e-4, atol=1e-5
    )


@pytest.mark.parametrize(
    "options",
    [
        {},
        {"mode": "published"},
        {"mode": "dense"},
        {"mode": "block", "query_block": 4},
        {"dynamic_img_size": True},
    ],
    ids=str,
)
@pytest.mark.filterwarnings("ignore:`torch.jit:DeprecationWarning")
@pytest.mark.filterwarnings("ignore:`torch.jit:FutureWarning")
def test_torchscript_can_be_saved(options, tmp_path):
    model = tiny(scriptable=True, **options, **PRUNED)
    torch.jit.script(model).save(tmp_path / "model.pt")
    loaded = torch.jit.load(tmp_path / "model.pt")
    torch.testing.assert_close(loaded(pictures()), model(pictures()), rtol=1e-4, atol=1e-5)


def test_compile_finds_one_graph(model):
    compiled = torch.compile(model, backend="aot_eager", fullgraph=True)
    with torch.inference_mode():
        torch.testing.assert_close(compiled(pictures()), model(pictures()), rtol=1e-4, atol=1e-5)
    model.train()
    compiled(pictures()).sum().backward()
    assert [n for n, p in model.named_parameters() if p.grad is None] == []


def test_export_takes_any_batch(model):
    exported = torch.export.export(model, (pictures(),), dynamic_shapes=BATCH).module()
    torch.testing.assert_close(exported(pictures(5)), model(pictures(5)), rtol=1e-4, atol=1e-5)


def test_onnx_runs_elsewhere(model, tmp_path):
    onnxruntime = pytest.importorskip("onnxruntime", reason="needs foveate[onnx]")
    path = tmp_path / "model.onnx"
    torch.onnx.export(model, (pictures(),), path, dynamo=True, dynamic_shapes=BATCH, verbose=False)
    session = onnxruntime.InferenceSession(path)
    (out,) = session.run(None, {session.get_inputs()[0].name: pictures(5).numpy()})
    torch.testing.assert_close(torch.from_numpy(out), model(pictures(5)), rtol=0, atol=1e-4)


# --- costs ------------------------------------------------------------------------------------


def test_the_published_rule_gives_the_published_numbers():
    changes = {rate: published_cost(rate).change for rate in (0.5, 0.25, 0.1, 0.05)}
    assert {k: round(100 * v) for k, v in changes.items()} == {
        0.5: -23, 0.25: -48, 0.1: -63, 0.05: -68
    }  # fmt: skip


def test_executed_multiply_adds():
    x = torch.randn(1, 3, 224, 224)
    counts = {
        name: executed_macs(timm.create_model(SMALL, **options).eval(), x) / 1e6
        for name, options in {
            "dense": {"mode": "dense"},
            "published": {"mode": "published"},
            "csr": {},
            "dropping": {"token_keep_rate": 0.7},
        }.items()
    }
    assert counts["dense"] == pytest.approx(4599, abs=2)
    assert counts["published"] == pytest.approx(4775, abs=10)
    assert counts["csr"] < counts["published"]
    assert counts["dropping"] < 0.75 * counts["dense"]
