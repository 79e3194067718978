"""Boundary matching, its network, its gate, its checkpoints."""

from dataclasses import replace

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from vision.errors import FoveateError
from vision.tasks.localization.attention import ClassSemanticsAttention
from vision.tasks.localization.bmn import BMN, BMNConfig
from vision.tasks.localization.bmn_checkpoint import translate
from vision.tasks.localization.bmn_losses import MMACTION2, OPENTAD, USUAL, bmn_losses
from vision.tasks.localization.bmn_targets import CENTRED, boundary_targets, iou_targets
from vision.tasks.localization.matching import (
    BoundaryMatching,
    Layout,
    ProposalMap,
    dense_mask,
    sampling_points,
)

SMALL = BMNConfig(
    channels=8, steps=6, samples=3, hidden=8, reduced=4, hidden_3d=6, hidden_2d=4, reduction=4
)


@settings(max_examples=20, deadline=None)
@given(
    steps=st.integers(3, 12),
    layout=st.sampled_from(["start_end", "duration_start"]),
    samples=st.integers(2, 5),
    subsamples=st.integers(1, 3),
    ratio=st.floats(0, 1),
    cap=st.integers(2, 12),
)
def test_gathering_equals_the_dense_mask(
    steps: int, layout: Layout, samples: int, subsamples: int, ratio: float, cap: int
):
    cells = ProposalMap(steps, layout, min(cap, steps))
    layer = BoundaryMatching(cells, samples, subsamples, ratio)
    x = torch.randn(2, 3, steps)
    dense = torch.einsum("bct,tnij->bcnij", x, dense_mask(cells, samples, subsamples, ratio))
    torch.testing.assert_close(layer(x), dense, atol=1e-5, rtol=1e-5)


def test_gradients_of_gathering_equal_those_of_the_dense_mask():
    cells = ProposalMap(7, "duration_start", 4)
    layer, mask = BoundaryMatching(cells, 3, 2, 0.5), dense_mask(cells, 3, 2, 0.5)
    x = torch.randn(2, 3, 7, requires_grad=True)
    cotangent = torch.randn(2, 3, 3, 4, 7)
    (ours,) = torch.autograd.grad(layer(x), x, cotangent)
    dense = torch.einsum("bct,tnij->bcnij", x, mask)
    (theirs,) = torch.autograd.grad(dense, x, cotangent)
    torch.testing.assert_close(ours, theirs, atol=1e-5, rtol=1e-5)


def test_the_edges_weigh_as_published():
    """Left of step 0 the weights still sum to one; right of the last step they fall off."""
    cells = ProposalMap(8, "duration_start", 1)
    _, weights = sampling_points(cells, 2, 1, 0.75)  # points 0.75 steps outside on either side
    total = weights.sum(-1)
    assert total[0, 0] == pytest.approx(1)
    assert total[-1, -1] == pytest.approx(0.25)


def test_both_layouts_hold_the_same_segments():
    first, second = ProposalMap(5, "start_end"), ProposalMap(5, "duration_start")
    segments = [{*zip(*(b[m.valid] for b in m.bounds), strict=True)} for m in (first, second)]
    assert segments[0] == segments[1]
    assert len(segments[0]) == 15


@pytest.mark.parametrize("fusion", ["add", "concat"])
@pytest.mark.parametrize("gate", ["csa", "se"])
@pytest.mark.parametrize("gate_at", ["base", "proposals", "both"])
def test_a_gate_begins_as_the_identity(gate, fusion, gate_at):
    plain = BMN(SMALL)
    gated = BMN(replace(SMALL, gate=gate, fusion=fusion, gate_at=gate_at))
    missing = gated.load_state_dict(plain.state_dict(), strict=False)
    assert all(key.startswith("gates.") for key in missing.missing_keys)
    x = torch.randn(2, 8, 6)
    for one, other in zip(plain(x), gated(x), strict=True):
        torch.testing.assert_close(one, other, atol=1e-6, rtol=1e-5)


def test_gates_of_both_kinds_lie_between_zero_and_one():
    block = trained_gate()
    channel, time = block.gates(torch.randn(3, 8, 9))
    assert channel.shape == (3, 5)
    assert time.shape == (3, 9)
    for gate in (channel, time):
        assert ((gate > 0) & (gate < 1)).all()


def test_a_time_gate_sees_its_neighbours_alone():
    block, source = trained_gate(), torch.randn(1, 8, 12)
    changed = source.clone()
    changed[..., 6] += 1
    _, before = block.gates(source)
    _, after = block.gates(changed)
    moved = (before != after).squeeze(0).nonzero().squeeze(1).tolist()
    assert moved == [5, 6, 7]


@pytest.mark.parametrize("fusion", ["add", "max"])
def test_what_is_gated_enters_as_a_factor(fusion):
    block = trained_gate(fusion=fusion)
    features, source = torch.randn(2, 5, 9).abs(), torch.randn(2, 8, 9)
    torch.testing.assert_close(block(3 * features, source), 3 * block(features, source))
    assert not block(0 * features, source).any()


def trained_gate(**options) -> ClassSemanticsAttention:
    """A gate that is no longer the identity."""
    block = ClassSemanticsAttention(8, 5, reduction=2, **options)
    for parameter in block.parameters():
        torch.nn.init.normal_(parameter, std=0.3)
    return block


def published(model: BMN) -> dict[str, torch.Tensor]:
    """The weights of a plain BMN under the names of the usual PyTorch code."""
    names = {
        "base": "x_1d_b",
        "start": "x_1d_s",
        "end": "x_1d_e",
        "reduce": "x_1d_p",
        "fold": "x_3d_p",
        "confidence": "x_2d_p",
    }
    return {
        f"{names[k.partition('.')[0]]}.{k.partition('.')[2]}": v
        for k, v in model.state_dict().items()
    }


def test_checkpoints_of_all_layouts_load_strictly():
    model = BMN(SMALL)
    weights = published(model)
    usual = {
        "epoch": 9,
        "state_dict": {f"module.{k}": v for k, v in weights.items()}
        | {"module.sample_mask": torch.zeros(6, 108)},
    }
    mmaction = {"state_dict": {**weights, "sample_mask": torch.zeros(6), "bm_mask": torch.ones(6)}}
    opentad = {"state_dict": {}, "state_dict_ema": {f"module.{k}": v for k, v in renamed(model)}}
    for checkpoint in (usual, mmaction, opentad):
        other = BMN(SMALL)
        other.load_state_dict(translate(checkpoint))
        x = torch.randn(1, 8, 6)
        for one, two in zip(model(x), other(x), strict=True):
            assert torch.equal(one, two)


def renamed(model: BMN):
    """The weights under OpenTAD's names, with its 2D fold and its order of channels."""
    state = model.state_dict()
    state["fold.0.weight"] = state["fold.0.weight"][..., 0]
    roi = "roi_head.proposal_roi_extractor"
    stems = {
        "base.0": "projection.convs.0.conv",
        "base.2": "projection.convs.1.conv",
        "start.0": "rpn_head.tem.0.0.conv",
        "start.2": "rpn_head.tem.0.1.conv",
        "end.0": "rpn_head.tem.1.0.conv",
        "end.2": "rpn_head.tem.1.1.conv",
        "reduce.0": f"{roi}.reduce_dim.0",
        "fold.0": f"{roi}.conv3d.0",
        "confidence.0": f"{roi}.conv2d.0",
        "confidence.2": "roi_head.proposal_head.head.0.0",
        "confidence.4": "roi_head.proposal_head.head.1.0",
        "confidence.6": "roi_head.proposal_head.head.2",
    }
    for key, value in state.items():
        stem, _, kind = key.rpartition(".")
        yield f"{stems[stem]}.{kind}", value.flip(0) if stem == "confidence.6" else value


def test_a_weight_of_another_network_is_named():
    with pytest.raises(FoveateError, match=r"backbone\.conv1"):
        translate({"backbone.conv1.weight": torch.zeros(1)})


def batch(segments: list[list[float]], steps: int = 8):
    cells = ProposalMap(steps)
    truth = torch.tensor(segments).view(-1, 2)
    start, end = boundary_targets(truth, steps, CENTRED)
    output = BMN(replace(SMALL, steps=steps))(torch.randn(1, 8, steps)).probabilities()
    overlap = iou_targets(truth, cells)
    return output, start[None], end[None], overlap[None], torch.from_numpy(cells.valid)


@pytest.mark.parametrize("config", [MMACTION2, OPENTAD])
def test_guarded_losses_are_finite_without_any_action(config):
    assert torch.isfinite(bmn_losses(*batch([]), config).boundary)
    assert torch.isfinite(bmn_losses(*batch([]), config).complete)


def test_the_usual_losses_are_not():
    assert not torch.isfinite(bmn_losses(*batch([]), USUAL).total)


@given(st.floats(0, 5), st.floats(0.5, 3))
def test_the_best_proposal_is_the_nearest(start: float, length: float):
    cells = ProposalMap(8)
    overlap = iou_targets(torch.tensor([[start, start + length]]), cells).numpy()
    overlap[~cells.valid] = -1
    best = np.unravel_index(overlap.argmax(), overlap.shape)
    first, last = (bound[best] for bound in cells.bounds)
    assert abs(first - start) <= 1
    assert abs(last - start - length) <= 1
