"""Which region shows which annotated box: overlaps and targets of supervised training."""

from __future__ import annotations

import torch
from torch import Tensor

MATCH = 0.5
"""A region shows a box when their overlap is larger than this."""


def pixel_iou(boxes: Tensor, truth: Tensor) -> Tensor:
    """Overlap of boxes whose corners are pixels they contain (a width is `x2 - x1 + 1`).

    Args:
        boxes: `(..., N, 4)` xyxy in pixels.
        truth: `(..., K, 4)` likewise.

    Returns:
        Intersection over union `(..., N, K)`.
    """
    first, second = boxes[..., :, None, :], truth[..., None, :, :]
    sides = torch.minimum(first[..., 2:], second[..., 2:]) - torch.maximum(
        first[..., :2], second[..., :2]
    )
    both = (sides + 1).clamp(min=0).prod(-1)
    areas = [(b[..., 2:] - b[..., :2] + 1).prod(-1) for b in (first, second)]
    return both / (areas[0] + areas[1] - both)


def region_overlaps(boxes: Tensor, truth: Tensor, apart: Tensor) -> Tensor:
    """Overlap of regions with annotated boxes as training takes it.

    Args:
        boxes: `(B, N, 4)` regions, xyxy in pixels; all zero where there is none.
        truth: `(B, K, 4)` annotated boxes, all zero where there is none.
        apart: `(B, N, K)` bool, pairs that cannot overlap: on different frames, or padding.

    Returns:
        `(B, N, K)`: 0 for pairs apart and for empty truth, -1 for empty regions.
    """
    overlaps = pixel_iou(boxes, truth) * ~apart
    no_truth, no_box = (b[..., :2].eq(b[..., 2:]).all(-1) for b in (truth, boxes))
    return overlaps.masked_fill(no_truth[:, None], 0).masked_fill(no_box[..., None], -1)


def word_targets(overlaps: Tensor, named: Tensor) -> Tensor:
    """Regions that show what each word names.

    Args:
        overlaps: `(B, N, K)`.
        named: `(B, K, L)` bool, which boxes belong to which word.

    Returns:
        `(B, L, N)` bool.
    """
    return torch.einsum("bnk,bkl->bln", (overlaps > MATCH).float(), named.float()) > 0


def class_targets(overlaps: Tensor, classes: Tensor) -> Tensor:
    """Class that each annotated box gives to each region it matches.

    Args:
        overlaps: `(B, N, K)`.
        classes: `(B, K)` int64 from 1 on.

    Returns:
        `(B, K, N)` int64, 0 where they do not match.
    """
    return (overlaps > MATCH).long().mul(classes[:, None]).transpose(1, 2)
