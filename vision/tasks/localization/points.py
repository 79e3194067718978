"""Targets, losses and decoding of the anchor-free localizer.

Source: Zhang et al., "ActionFormer", ECCV 2022 (arXiv 2202.07925), sections 3.3 and 3.4.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import NamedTuple

import torch
from torch import Tensor
from torch.nn import functional as F
from torchvision.ops import sigmoid_focal_loss

from vision.tasks.localization.anchor_free import AnchorFreeConfig, LevelOutput

TIE = 1e-3
"""Actions whose lengths differ by less, in steps, share their points."""


@dataclass(frozen=True)
class PointLossConfig:
    """How points are assigned and compared.

    Args:
        radius: points within so many strides of an action's centre belong to it; all points
            inside the action when None.
        weight: of the regression; balanced against the classification when 0 or less.
        smoothing: of the class targets.
        momentum: of the running number of positive points that losses are divided by.
    """

    radius: float | None = 1.5
    weight: float = 1.0
    smoothing: float = 0.0
    momentum: float = 0.9


class Points(NamedTuple):
    """The points of all levels in one row, `(P,)` each: where, which distances, which stride."""

    place: Tensor
    low: Tensor
    high: Tensor
    stride: Tensor


class PointLosses(NamedTuple):
    """Losses, and the running number of positive points after this batch."""

    classification: Tensor
    regression: Tensor
    total: Tensor
    normalizer: float


def level_points(config: AnchorFreeConfig, lengths: Sequence[int]) -> Points:
    """The points of levels of these lengths."""
    rows = [
        torch.stack(
            [
                torch.arange(length, dtype=torch.float32) * stride,
                *(torch.full((length,), float(v)) for v in (*span, stride)),
            ]
        )
        for length, stride, span in zip(
            lengths, config.strides, config.regression_ranges, strict=True
        )
    ]
    return Points(*torch.cat(rows, 1))


def point_targets(
    points: Points, segments: Tensor, labels: Tensor, classes: int, radius: float | None
) -> tuple[Tensor, Tensor]:
    """Classes `(P, K)` and distances `(P, 2)` in strides that the points should say.

    A point takes the shortest action that it lies in (near the middle of) and whose farther end
    is within its level's range.

    Args:
        points: of all levels.
        segments: `(N, 2)` truth in steps.
        labels: `(N,)` class indices.
        classes: K.
        radius: see `PointLossConfig`.
    """
    count = len(points.place)
    if not len(segments):
        return segments.new_zeros(count, classes), segments.new_zeros(count, 2)
    place, stride = points.place[:, None], points.stride[:, None]
    start, end = segments[None, :, 0], segments[None, :, 1]
    distances = torch.stack([place - start, end - place], -1)
    if radius is None:
        inside = distances.amin(-1) > 0
    else:
        centre = (start + end) / 2
        first = torch.maximum(centre - radius * stride, start)
        last = torch.minimum(centre + radius * stride, end)
        inside = torch.minimum(place - first, last - place) > 0
    farther = distances.amax(-1)
    fits = inside & (farther >= points.low[:, None]) & (farther <= points.high[:, None])
    lengths = (end - start).expand(count, -1).masked_fill(~fits, torch.inf)
    shortest, which = lengths.min(1)
    chosen = (lengths <= shortest[:, None] + TIE) & lengths.isfinite()
    kinds = chosen.to(segments.dtype) @ F.one_hot(labels, classes).to(segments.dtype)
    offsets = distances[torch.arange(count), which] / stride
    return kinds.clamp(max=1), offsets


def diou_loss(prediction: Tensor, target: Tensor) -> Tensor:
    """Sum of 1 - DIoU of segments given as distances `(N, 2)` from a common point within."""
    inner = torch.minimum(prediction, target).sum(-1)
    union = prediction.sum(-1) + target.sum(-1) - inner
    hull = torch.maximum(prediction, target).sum(-1)
    shift = 0.5 * ((prediction[:, 1] - prediction[:, 0]) - (target[:, 1] - target[:, 0]))
    ratio = inner / union.clamp(min=1e-8)
    return (1 - ratio + (shift / hull.clamp(min=1e-8)).square()).sum()


def point_losses(
    levels: Sequence[LevelOutput],
    kinds: Tensor,
    offsets: Tensor,
    normalizer: float,
    config: PointLossConfig,
) -> PointLosses:
    """Focal loss of the classes and DIoU loss of the ends, over the number of positive points.

    Args:
        levels: what the model said.
        kinds: `(B, P, K)` of `point_targets`.
        offsets: `(B, P, 2)` likewise.
        normalizer: running number of positive points before this batch.
        config: how.
    """
    mask = torch.cat([level.mask for level in levels], 1)
    logits = torch.cat([level.logits for level in levels], 1)
    found = torch.cat([level.offsets for level in levels], 1)
    positive = (kinds.sum(-1) > 0) & mask
    count = int(positive.sum())
    normalizer = config.momentum * normalizer + (1 - config.momentum) * max(count, 1)
    smooth = kinds[mask] * (1 - config.smoothing) + config.smoothing / (kinds.shape[-1] + 1)
    classification = sigmoid_focal_loss(logits[mask], smooth, reduction="sum") / normalizer
    regression = diou_loss(found[positive], offsets[positive]) / normalizer
    weight = config.weight
    if weight <= 0:
        weight = float(classification.detach()) / max(float(regression.detach()), 0.01)
    return PointLosses(classification, regression, classification + weight * regression, normalizer)


def decode(
    levels: Sequence[LevelOutput],
    points: Points,
    *,
    threshold: float = 1e-3,
    topk: int = 2000,
    shortest: float = 0.05,
) -> list[tuple[Tensor, Tensor, Tensor]]:
    """Segments of every sequence of a batch.

    Args:
        levels: what the model said.
        points: of the levels.
        threshold: score from which on segments are kept.
        topk: segments kept a level.
        shortest: length in steps below which segments are dropped.

    Returns:
        Segments `(N, 2)` in steps, scores `(N,)` and class indices `(N,)` each.
    """
    lengths = [level.logits.shape[1] for level in levels]
    places = points.place.split(lengths)
    strides = points.stride.split(lengths)
    results = []
    for n in range(levels[0].logits.shape[0]):
        rows = []
        for level, place, stride in zip(levels, places, strides, strict=True):
            scores = (level.logits[n].sigmoid() * level.mask[n][:, None]).flatten()
            kept = (scores > threshold).nonzero().squeeze(1)
            order = scores[kept].sort(descending=True).indices[:topk]
            kept = kept[order]
            step, label = kept // level.logits.shape[2], kept % level.logits.shape[2]
            reach = level.offsets[n][step] * stride[step][:, None]
            segments = torch.stack([place[step] - reach[:, 0], place[step] + reach[:, 1]], 1)
            long = segments[:, 1] - segments[:, 0] > shortest
            rows.append((segments[long], scores[kept][long], label[long]))
        segments, scores, labels = (torch.cat(part) for part in zip(*rows, strict=True))
        results.append((segments, scores, labels))
    return results
