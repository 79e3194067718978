"""What training a localizer compares."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field

import torch
from torch import Tensor
from torch.nn import functional as F

from vision.tasks.localization.anchor_free import AnchorFreeConfig, LevelOutput
from vision.tasks.localization.bmn import BMNOutput
from vision.tasks.localization.bmn_losses import BMNLossConfig, bmn_losses
from vision.tasks.localization.bmn_targets import STEP, boundary_targets, iou_targets
from vision.tasks.localization.matching import ProposalMap
from vision.tasks.localization.points import (
    PointLossConfig,
    level_points,
    point_losses,
    point_targets,
)


@dataclass(frozen=True)
class LossConfig:
    """Losses of a localizer.

    Args:
        smoothing: of the per-frame classes.
        points: of the multi-scale head.
        bmn: of the boundary-matching network.
        proposals: weight of either beside the per-frame losses.
    """

    smoothing: float = 0.1
    points: PointLossConfig = field(default_factory=PointLossConfig)
    bmn: BMNLossConfig = field(default_factory=BMNLossConfig)
    proposals: float = 1.0


def frame_loss(logits: Tensor, classes: Tensor, weight: Tensor, smoothing: float) -> Tensor:
    """Cross-entropy of `(B, K + 1, T)` against classes `(B, T)`, -1 being nothing to learn."""
    return F.cross_entropy(logits, classes, weight, ignore_index=-1, label_smoothing=smoothing)


def class_weights(counts: Tensor) -> Tensor:
    """Weight a class: the inverse root of how often it comes, with mean 1."""
    weights = (counts.sum() / counts.clamp(min=5)).sqrt()
    return weights / weights.mean()


def multi_scale_loss(
    levels: Sequence[LevelOutput],
    segments: Sequence[Tensor],
    labels: Sequence[Tensor],
    model: AnchorFreeConfig,
    normalizer: float,
    config: PointLossConfig,
) -> tuple[Tensor, float]:
    """Total of `point_losses` of a batch, and the running number of positive points."""
    points = level_points(model, [level.logits.shape[1] for level in levels])
    targets = [
        point_targets(points, s, k, model.classes, config.radius)
        for s, k in zip(segments, labels, strict=True)
    ]
    kinds, offsets = (torch.stack(part) for part in zip(*targets, strict=True))
    losses = point_losses(levels, kinds, offsets, normalizer, config)
    return losses.total, losses.normalizer


def matching_loss(
    output: BMNOutput, segments: Sequence[Tensor], cells: ProposalMap, config: BMNLossConfig
) -> Tensor:
    """Total of `bmn_losses` of a batch."""
    edges = [boundary_targets(s, cells.steps, STEP) for s in segments]
    start, end = (torch.stack(side) for side in zip(*edges, strict=True))
    overlap = torch.stack([iou_targets(s, cells) for s in segments])
    valid = torch.from_numpy(cells.valid)
    return bmn_losses(output.probabilities(), start, end, overlap, valid, config).total
