"""The adapter on a frozen model, and the comparison that its gate has to stand."""

import pytest
import timm
import torch
from torch import Tensor

import vision  # noqa: F401  registers the backbones
from vision.attention.importance import deletion_curve
from vision.backbones.gaussian_adapter import GaussianAdapter, LayerFeatures
from vision.backbones.gaussian_probe import (
    Features,
    ProbeConfig,
    accuracy,
    collect,
    compare,
    fit,
)
from vision.errors import FoveateError

GATES = ("density", "fixed", "none", "layer_mix", "linear_probe")


@pytest.fixture(scope="module")
def encoder() -> LayerFeatures:
    torch.manual_seed(0)
    return LayerFeatures("gaussian_vit_nano", embed_dim=36, depth=4)


@pytest.fixture
def x() -> Tensor:
    return torch.randn(2, 3, 48, 48, generator=torch.Generator().manual_seed(0))


def test_features_are_the_mean_over_tokens_of_every_layer(encoder, x):
    features = encoder(x)
    maps = encoder.backbone.forward_intermediates(x, intermediates_only=True)
    assert features.shape == (2, 4, 36)
    torch.testing.assert_close(features[:, 1], maps[1].flatten(2).mean(2))
    assert not features.requires_grad


def test_timm_transformers_leave_out_their_class_token():
    torch.manual_seed(0)
    backbone = timm.create_model("vit_tiny_patch16_224", img_size=32, depth=3, num_classes=0)
    encoder = LayerFeatures(backbone, layers=2)
    x = torch.randn(1, 3, 32, 32)
    blocks = []
    for block in backbone.blocks:
        block.register_forward_hook(lambda _, __, out: blocks.append(out))
    torch.testing.assert_close(encoder(x)[:, -1], blocks[-1][:, 1:].mean(1))
    assert encoder.layers == [1, 2]


@pytest.mark.parametrize("gate", GATES)
@pytest.mark.parametrize("head", ["linear", "conv"])
def test_only_gate_and_head_learn(encoder, x, gate, head):
    adapter = GaussianAdapter(encoder, 5, gate=gate, head=head, num_heads=2).train()
    assert not encoder.backbone.training
    logits = adapter(x)
    assert logits.shape == (2, 5)
    logits.square().sum().backward()
    assert all(p.grad is None for p in encoder.parameters())
    learned = adapter.learned()
    rows = 1 if gate in ("layer_mix", "linear_probe") else 4
    assert learned == {
        "gate": {"density": 2 * 2 * 36, "layer_mix": 4}.get(gate, 0),
        "conv": (9 * rows * 512 * 2 + 512 + rows) if head == "conv" else 0,
        "head": 5 * (36 * rows + 1),
    }
    for part in (adapter.gate, adapter.conv, adapter.head):
        assert all(p.grad.abs().sum() > 0 for p in part.parameters() if p.requires_grad)


def test_gates_are_what_they_are_called(encoder):
    features = torch.randn(3, 4, 36)
    gates = {name: GaussianAdapter(encoder, 2, gate=name).gate for name in GATES}
    assert torch.equal(gates["fixed"](features), gates["density"](features))
    assert torch.equal(gates["none"](features), features)
    assert torch.equal(gates["linear_probe"](features)[:, 0], features[:, 3])
    torch.testing.assert_close(gates["layer_mix"](features)[:, 0], features.mean(1))


def synthetic(number: int, seed: int) -> Features:
    """Two classes told by the second of four layers alone."""
    generator = torch.Generator().manual_seed(seed)
    values = torch.randn(number, 4, 36, generator=generator)
    labels = torch.arange(number) % 2
    values[:, 1, :12] += 2.0 * (labels - 0.5).unsqueeze(1)
    return Features(values, labels)


def test_all_kinds_are_compared_in_the_same_trainer(encoder):
    train, held_out = synthetic(240, 0), synthetic(200, 1)
    config = ProbeConfig(epochs=8, lr=1e-2)
    results = compare(encoder, train, held_out, seeds=(0, 1), config=config)
    assert [result.gate for result in results] == list(GATES)
    by_gate = {result.gate: result for result in results}
    assert all(len(result.accuracies) == 2 for result in results)
    for gate in ("density", "fixed", "none", "layer_mix"):
        assert by_gate[gate].accuracy > 0.8
    assert by_gate["linear_probe"].accuracy < 0.65  # the last layer says nothing here
    again = compare(encoder, train, held_out, gates=["density"], seeds=(0, 1), config=config)
    assert again[0] == by_gate["density"]


def test_deletion_test_of_a_trained_gate(encoder):
    train, held_out = synthetic(240, 0), synthetic(200, 1)
    adapter = GaussianAdapter(encoder, 2, gate="density")
    fit(adapter, train, ProbeConfig(epochs=8, lr=1e-2))
    factor = adapter.gate.importance_factor([held_out.values])
    assert 0 <= factor.lowest < factor.highest <= 1

    def score(values: Tensor) -> float:
        return accuracy(adapter, Features(values, held_out.labels))

    curve = deletion_curve(score, held_out.values, factor.values, parts=(0.0, 0.5, 1.0))
    assert curve[0] == accuracy(adapter, held_out) > 0.8
    assert curve[2] == 0.5  # nothing is left but the mean


def test_collect_runs_the_encoder_once_over_all(encoder, x):
    batches = [(x, torch.tensor([0, 1])), (x[:1], torch.tensor([2]))]
    features = collect(encoder, batches)
    assert features.labels.tolist() == [0, 1, 2]
    torch.testing.assert_close(features.values, torch.cat([encoder(x), encoder(x[:1])]))


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"gate": "gauss"}, "gate must be one of density"),
        ({"head": "mlp"}, "head must be 'linear' or 'conv'"),
        ({"num_heads": 5}, "4 layers cannot be shared out among 5 heads"),
    ],
)
def test_options_that_do_not_fit_are_named(encoder, options, message):
    with pytest.raises(FoveateError, match=message):
        GaussianAdapter(encoder, 2, **options)


def test_a_width_that_is_no_square_is_named():
    encoder = LayerFeatures("gaussian_vit_nano", embed_dim=24, depth=2)
    with pytest.raises(FoveateError, match="24 are not"):
        GaussianAdapter(encoder, 2, head="conv")


def test_models_without_fitting_layers_are_named():
    with pytest.raises(FoveateError, match="Linear gives no intermediate layers"):
        LayerFeatures(torch.nn.Linear(2, 2))
    with pytest.raises(FoveateError, match=r"have widths \[24, 48"):
        LayerFeatures("biformer_pico")
