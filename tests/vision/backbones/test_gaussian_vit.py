"""Gaussian ViT: what its gates do, what they do not, and its copies and exported forms."""

import copy
import pickle

import pytest
import timm
import torch
from torch import Tensor, nn

import vision  # noqa: F401  registers the backbones
from vision.backbones.gaussian_vit import GatedMixer, GaussianVit
from vision.tasks.detection.pyramid import create_pyramid

SMALL = {"embed_dim": 24, "depth": 2, "num_heads": 2, "num_classes": 7}
BATCH = ({0: torch.export.Dim.DYNAMIC},)


def make(**options) -> GaussianVit:
    """A small model whose gates have moved away from their start."""
    torch.manual_seed(0)
    model = GaussianVit(**{**SMALL, **options}).eval()
    with torch.no_grad():
        for name, parameter in model.named_parameters():
            if "strength" in name or ".gate." in name:
                parameter += 0.3 * torch.randn_like(parameter)
    return model


@pytest.fixture
def model() -> GaussianVit:
    return make()


@pytest.fixture
def x() -> Tensor:
    return torch.randn(2, 3, 48, 80, generator=torch.Generator().manual_seed(0))


@pytest.mark.parametrize("gate", ["product", "mixture", "logmix"])
def test_starts_as_the_model_without_gates(gate, x):
    gated = GaussianVit(**SMALL, gate=gate).eval()
    plain = GaussianVit(**SMALL, gate=None).eval()
    state = {k.replace("attn.mixer", "attn"): v for k, v in gated.state_dict().items()}
    plain.load_state_dict({k: v for k, v in state.items() if k in plain.state_dict()})
    torch.testing.assert_close(gated(x), plain(x))
    gated(x).sum().backward()
    strengths = [p.grad for n, p in gated.named_parameters() if "strength" in n]
    assert len(strengths) == 2
    assert all(grad.abs().sum() > 0 for grad in strengths)


def test_gates_move_the_output(model, x):
    plain = copy.deepcopy(model)
    for block in plain.blocks:
        assert isinstance(block.attn, GatedMixer)
        block.attn = block.attn.mixer
    assert (plain(x) - model(x)).abs().max() > 1e-3


def reached(model: GaussianVit) -> Tensor:
    """Which of 3 x 5 tokens a change in the patch at (1, 2) reaches: (3, 5) bool."""
    x = torch.randn(1, 3, 48, 80)
    changed = x.clone()
    changed[..., 16:32, 32:48] += 1.0
    with torch.no_grad():
        difference = model.forward_features(changed) - model.forward_features(x)
    return difference.abs().amax((0, 1)) > 1e-6


def test_the_gate_mixes_no_tokens_and_the_mixers_do():
    only = torch.zeros(3, 5, dtype=torch.bool)
    only[1, 2] = True
    gate_alone = make(mixers="none", pos_conv=False)
    assert torch.equal(reached(gate_alone), only)
    for mixer in ("conv", "attention"):
        assert reached(make(mixers=mixer, pos_conv=False)).sum() == 15
    assert reached(make(mixers="none", depth=1)).sum() == 9


def test_mixers_are_a_pattern():
    model = make(depth=5, mixers=("conv", "none", "attention"), gate=None)
    kinds = [type(block.attn).__name__ for block in model.blocks]
    assert kinds == ["ConvMixer", "Identity", "FullAttention", "ConvMixer", "Identity"]


def test_no_weight_decay_names_the_gaussians(model):
    names = model.no_weight_decay()
    assert names <= {name for name, _ in model.named_parameters()}
    assert {name.rsplit(".", 1)[1] for name in names} == {"mean_offsets", "c"}
    assert len(names) == 4


@pytest.mark.parametrize(
    ("options", "message"),
    [({"mixers": "pool"}, "mixers must be among"), ({"gate": "density"}, "a gate over channels")],
)
def test_options_that_do_not_fit_are_named(options, message):
    with pytest.raises(ValueError, match=message):
        GaussianVit(**SMALL, **options)


def test_any_size(model):
    for size in ((16, 16), (40, 100)):
        assert model.forward_features(torch.zeros(1, 3, *size)).shape[2:] == (
            size[0] // 16,
            size[1] // 16,
        )


def test_features_only_and_detection():
    torch.manual_seed(0)
    features = timm.create_model("gaussian_vit_nano", features_only=True)
    assert features.feature_info.reduction() == [16, 16, 16]
    x = torch.randn(1, 3, 64, 96)
    assert [tuple(f.shape) for f in features(x)] == [(1, 128, 4, 6)] * 3
    pyramid = create_pyramid("gaussian_vit_nano", 16)
    assert [tuple(f.shape[2:]) for f in pyramid(x).values()] == [(8, 12), (4, 6), (2, 3)]


def test_features_as_tokens(model, x):
    maps = model.forward_intermediates(x, intermediates_only=True)
    tokens = model.forward_intermediates(x, output_fmt="NLC", intermediates_only=True)
    assert [tuple(t.shape) for t in tokens] == [(2, 15, 24)] * 2
    for one, other in zip(maps, tokens, strict=True):
        assert one.flatten(2).mT.equal(other)
    with pytest.raises(ValueError, match="NCHW"):
        model.forward_intermediates(x, output_fmt="NHWC")


@pytest.mark.parametrize(
    "clone", [copy.deepcopy, lambda m: pickle.loads(pickle.dumps(m))], ids=["deepcopy", "pickle"]
)
def test_copies(model, x, clone):
    assert torch.equal(clone(model)(x), model(x))


def test_compile_finds_one_graph(model, x):
    compiled = torch.compile(model, backend="aot_eager", fullgraph=True)
    torch.testing.assert_close(compiled(x), model(x))
    model(x).sum().backward()
    gradients = [p.grad.clone() for p in model.parameters()]
    model.zero_grad()
    compiled(x).sum().backward()
    for ours, theirs in zip(model.parameters(), gradients, strict=True):
        torch.testing.assert_close(ours.grad, theirs, rtol=1e-4, atol=1e-5)


def test_export_takes_any_batch(model, x):
    exported = torch.export.export(model, (x,), dynamic_shapes=BATCH).module()
    more = torch.cat([x, 2 * x, -x])
    torch.testing.assert_close(exported(more), model(more))


@pytest.mark.filterwarnings("ignore")
def test_onnx_runs_elsewhere(model, x, tmp_path):
    onnxruntime = pytest.importorskip("onnxruntime", reason="needs foveate[onnx]")
    path = tmp_path / "model.onnx"
    torch.onnx.export(model, (x,), path, dynamo=True, dynamic_shapes=BATCH, verbose=False)
    session = onnxruntime.InferenceSession(path)
    more = torch.cat([x, 2 * x, -x])
    (out,) = session.run(None, {session.get_inputs()[0].name: more.numpy()})
    torch.testing.assert_close(torch.from_numpy(out), model(more), rtol=0, atol=1e-4)


@pytest.mark.filterwarnings("ignore")  # TorchScript announces its own end
def test_script(model, x):
    torch.testing.assert_close(torch.jit.script(model)(x), model(x))


def test_bfloat16(model, x):
    half = copy.deepcopy(model).bfloat16()(x.bfloat16())
    assert half.dtype == torch.bfloat16
    torch.testing.assert_close(half.float(), model(x), rtol=0.1, atol=0.05)


def test_learns():
    """A few steps on two classes that differ in where a patch is bright."""
    torch.manual_seed(0)
    model: nn.Module = GaussianVit(**{**SMALL, "num_classes": 2})
    x = 0.1 * torch.randn(32, 3, 48, 48)
    y = torch.arange(32) % 2
    x[y == 0, :, :16, :16] += 1.0
    x[y == 1, :, 32:, 32:] += 1.0
    optimizer = torch.optim.AdamW(model.parameters(), 3e-3)
    losses = []
    for _ in range(30):
        loss = nn.functional.cross_entropy(model(x), y)
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        losses.append(loss.item())
    assert losses[-1] < 0.2 * losses[0]
    moved = [p for n, p in model.named_parameters() if "strength" in n]
    assert all(p.abs().max() > 1e-3 for p in moved)
