"""The multi-scale head: blocks, targets, decoding."""

from dataclasses import replace

import pytest
import torch

from vision.tasks.localization.anchor_free import AnchorFree, AnchorFreeConfig, LevelOutput
from vision.tasks.localization.points import (
    PointLossConfig,
    decode,
    level_points,
    point_losses,
    point_targets,
)

SMALL = AnchorFreeConfig(
    channels=6, classes=3, layers=(1, 0, 2), width=8, heads=2, window=5, max_steps=16
)


@pytest.mark.parametrize("backbone", ["attention", "maxpool", "conv"])
@pytest.mark.parametrize("neck", ["identity", "fpn"])
def test_levels_shorten_and_padding_says_nothing(backbone, neck):
    model = AnchorFree(replace(SMALL, backbone=backbone, neck=neck, layers=(1, 1, 2))).eval()
    x = torch.randn(2, 6, 12)
    mask = torch.arange(12)[None] < torch.tensor([[12], [7]])
    levels = model(x * mask[:, None], mask)
    assert [level.logits.shape for level in levels] == [(2, 16, 3), (2, 8, 3), (2, 4, 3)]
    noisy = model(torch.where(mask[:, None], x, 0), mask)
    for one, other in zip(levels, noisy, strict=True):
        torch.testing.assert_close(one.logits, other.logits)
    alone = model(x[1:, :, :7])
    for one, other in zip(levels, alone, strict=True):
        there = other.mask[0]
        torch.testing.assert_close(
            one.logits[1][there], other.logits[0][there], atol=1e-5, rtol=1e-4
        )


def test_attention_in_a_window_does_not_see_beyond_it():
    model = AnchorFree(replace(SMALL, backbone="attention", layers=(1, 1, 0), head_layers=1)).eval()
    x = torch.randn(1, 6, 16)
    changed = x.clone()
    changed[..., 15] += 1
    before, after = model(x)[0].logits, model(changed)[0].logits
    # embedding 1, projection convolution 1, window 2, head 1
    assert torch.equal(before[:, :10], after[:, :10])
    assert not torch.equal(before[:, 11:], after[:, 11:])


def test_sequences_longer_than_in_training_run():
    model = AnchorFree(replace(SMALL, backbone="attention", absolute=True)).eval()
    assert model(torch.randn(1, 6, 21))[0].logits.shape[1] >= 21


def test_a_perfect_head_decodes_to_the_truth():
    segments, labels = torch.tensor([[1.0, 4.0], [6.0, 15.0]]), torch.tensor([2, 0])
    points = level_points(SMALL, [16, 8, 4])
    kinds, offsets = point_targets(points, segments, labels, 3, 1.5)
    levels, at = [], 0
    for length in (16, 8, 4):
        part = slice(at, at + length)
        logits = torch.where(kinds[part] > 0, 8.0, -20.0)[None]
        mask = torch.ones(1, length, dtype=torch.bool)
        levels.append(LevelOutput(logits, offsets[part][None], mask))
        at += length
    ((found, scores, which),) = decode(levels, points)
    assert len(found)
    assert (scores > 0.99).all()
    for segment, label in zip(found, which, strict=True):
        torch.testing.assert_close(segment, segments[labels == label][0])
    assert {*which.tolist()} == {0, 2}
    losses = point_losses(levels, kinds[None], offsets[None], 1.0, PointLossConfig())
    assert losses.regression < 1e-5
    assert losses.classification < 1e-3


def test_no_action_gives_a_finite_loss():
    model = AnchorFree(SMALL)
    levels = model(torch.randn(1, 6, 16))
    points = level_points(SMALL, [x.logits.shape[1] for x in levels])
    kinds, offsets = point_targets(points, torch.zeros(0, 2), torch.zeros(0).long(), 3, 1.5)
    losses = point_losses(levels, kinds[None], offsets[None], 100.0, PointLossConfig())
    losses.total.backward()
    assert losses.normalizer == pytest.approx(90.1)
    assert all(torch.isfinite(p.grad).all() for p in model.parameters() if p.grad is not None)
