"""What a BMN is trained towards: boundary scores a step and the overlap of every proposal.

Source: Lin et al., ICCV 2019, section 4.1; the published implementations differ in the anchors.
"""

from __future__ import annotations

import torch
from torch import Tensor
from torch.nn import functional as F

from vision.tasks.localization.matching import ProposalMap

CENTRED = (-0.5, 0.5)
"""Anchor of step i in the usual PyTorch code: [i - 0.5, i + 0.5]."""

WIDE = (-0.5, 1.5)
"""In MMAction2: [i - 0.5, i + 1.5]."""

STEP = (0.0, 1.0)
"""In OpenTAD: [i, i + 1]."""


def overlaps(segments: Tensor, anchors: Tensor) -> Tensor:
    """Length of the intersection of `(N, 2)` segments and `(A, 2)` anchors, `(A, N)`."""
    start = torch.maximum(anchors[:, None, 0], segments[None, :, 0])
    end = torch.minimum(anchors[:, None, 1], segments[None, :, 1])
    return (end - start).clamp(min=0)


def boundary_targets(
    segments: Tensor,
    steps: int,
    anchor: tuple[float, float] = CENTRED,
    *,
    step: float = 1.0,
    whole: bool = False,
) -> tuple[Tensor, Tensor]:
    """Start and end scores of every step.

    The region of a boundary is three steps around it; a step's score is the part of its anchor
    that the region covers.

    Args:
        segments: `(N, 2)` truth.
        steps: T.
        anchor: extent of step i's anchor relative to i, in steps.
        step: length of a step in the unit of the segments; scores that lie exactly on the
            threshold of one half are rounded as in that unit.
        whole: whether only wholly covered anchors score, as in OpenTAD, which rounds down.

    Returns:
        `(T,)` in [0, 1] for starts and for ends.
    """
    anchors = torch.tensor(
        [[step * (i + anchor[0]), step * (i + anchor[1])] for i in range(steps)],
        dtype=torch.float64,
    )
    lengths = (anchors[:, 1] - anchors[:, 0]).to(segments)
    scores = []
    for edge in segments.unbind(1):
        region = torch.stack([edge - 3 * step / 2, edge + 3 * step / 2], 1)
        inner = overlaps(region, anchors.to(segments))
        score = F.pad(inner, (0, 1)).amax(1) / lengths  # padded: there may be no truth
        scores.append(score.floor() if whole else score)
    return scores[0], scores[1]


def iou_targets(segments: Tensor, cells: ProposalMap, *, step: float = 1.0) -> Tensor:
    """Overlap (IoU) of every proposal with the truth it fits best.

    Args:
        segments: `(N, 2)` truth.
        cells: the map.
        step: length of a step in the unit of the segments, as in `boundary_targets`.

    Returns:
        `(rows, columns)`, also of proposals that reach beyond the window; 0 for cells that are no
        segment.
    """
    start, end = (torch.from_numpy(bound).double().flatten() for bound in cells.bounds)
    proposals = torch.stack([start * step, torch.maximum(start, end) * step], 1)
    # In double, like the published code: overlaps often lie exactly on a threshold.
    truth = segments.double()
    inner = overlaps(truth, proposals)
    lengths = (proposals[:, 1] - proposals[:, 0])[:, None]
    overlap = inner / (lengths - inner + truth[:, 1] - truth[:, 0]).clamp(min=1e-12)
    return F.pad(overlap, (0, 1)).amax(1).view(cells.shape).to(segments)


def to_steps(
    segments: Tensor, steps: int, *, frames: int, feature_frames: int, seconds: float
) -> Tensor:
    """Segments in seconds as steps of a video that was resized to `steps`.

    Features cover only whole snippets, `feature_frames` of the `frames`, so that the last seconds
    have none; segments are cut to what they cover.
    """
    covered = feature_frames / frames * seconds
    return (segments / covered).clamp(0, 1) * steps
