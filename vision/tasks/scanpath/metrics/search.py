"""How fast a viewer finds the target (Yang et al., CVPR 2020)."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import ArrayLike, NDArray

NEVER = 1000
"""Steps of a path that does not come to the target."""


def steps_to_target(path: ArrayLike, box: Sequence[float]) -> int:
    """Fixations up to the first strictly inside the target, the first one counting; or `NEVER`.

    Args:
        path: `(N, 2)` or `(N, 3)` fixations.
        box: x, y, width and height of the target.
    """
    points = (
        np.asarray(path, dtype=np.float64)[:, :2] if len(np.asarray(path)) else np.empty((0, 2))
    )
    corner, extent = np.array(box[:2]), np.array(box[2:])
    inside = ((points > corner) & (points < corner + extent)).all(axis=1)
    return int(inside.argmax()) + 1 if inside.any() else NEVER


def search_cdf(steps: ArrayLike, max_steps: int = 6) -> NDArray[np.float64]:
    """Share of paths that are on the target within 1, 2, ..., `max_steps + 1` fixations.

    Args:
        steps: `(P,)` of `steps_to_target`.
        max_steps: fixations after the first.

    Returns:
        `(max_steps + 1,)`; their sum is TFP-AUC.
    """
    taken = np.asarray(steps)
    return (taken[None] <= np.arange(1, max_steps + 2)[:, None]).mean(axis=1)


def probability_mismatch(cdf: ArrayLike, human_cdf: ArrayLike) -> float:
    """Sum of the absolute differences of two `search_cdf`."""
    return float(np.abs(np.asarray(cdf) - np.asarray(human_cdf)).sum())


def scanpath_ratio(path: ArrayLike, box: Sequence[float]) -> float | None:
    """Straight way to the target's centre over the way taken until on it, at most 1.

    Args:
        path: `(N, 2)` or `(N, 3)` fixations.
        box: x, y, width and height of the target.

    Returns:
        None for paths that begin on the target, never come to it, or do not move.
    """
    steps = steps_to_target(path, box)
    if steps in (1, NEVER):
        return None
    points = np.asarray(path, dtype=np.float64)[:steps, :2]
    centre = np.array(box[:2]) + np.array(box[2:]) / 2
    way = np.linalg.norm(np.diff(points, axis=0), axis=1).sum()
    return float(min(np.linalg.norm(points[0] - centre) / way, 1.0)) if way > 0 else None
