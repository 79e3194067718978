"""Per-frame metrics of online action detection, as LSTR and MiniROAD report them."""

from __future__ import annotations

from collections.abc import Callable, Collection
from typing import Literal

import numpy as np
from scipy.ndimage import maximum_filter1d

from vision.errors import FoveateError

THUMOS_AMBIGUOUS = 21
THUMOS_CLIFF_DIVING, THUMOS_DIVING = 5, 8

Metric = Literal["AP", "cAP"]


def average_precision(target: np.ndarray, score: np.ndarray) -> float:
    """Area under the precision-recall curve as a sum over recall steps; equal scores are one step.

    Args:
        target: `(N,)`, nonzero where the class is there.
        score: `(N,)`.
    """
    order = np.argsort(-score, kind="stable")
    hits = np.cumsum(target[order] != 0)
    last = np.append(np.flatnonzero(np.diff(score[order])), len(score) - 1)  # of equal scores
    precision = hits[last] / (last + 1)
    return float(np.sum(np.diff(hits[last], prepend=0) * precision) / hits[-1])


def calibrated_average_precision(target: np.ndarray, score: np.ndarray) -> float:
    """AP as if there were as many frames of the class as others (De Geest et al., ECCV 2016).

    Args:
        target: `(N,)`, nonzero where the class is there.
        score: `(N,)`.
    """
    eps = np.finfo(float).eps
    # The published figures come from numpy's default sort, which decides between equal scores.
    hit = (target != 0)[np.argsort(-score)]
    true, false = np.cumsum(hit), np.cumsum(~hit)
    ratio = np.sum(~hit) / np.sum(hit)
    precision = true / (true + false / (ratio + eps) + eps)
    return float(np.sum(precision[hit]) / np.sum(hit))


METRICS: dict[Metric, Callable[[np.ndarray, np.ndarray], float]] = {
    "AP": average_precision,
    "cAP": calibrated_average_precision,
}


def per_frame(
    scores: np.ndarray,
    target: np.ndarray,
    *,
    metric: Metric = "AP",
    ignore: Collection[int] = (0,),
) -> dict[int, float]:
    """A metric of every class over the frames of all videos.

    Args:
        scores: `(N, K)`.
        target: `(N, K)`, nonzero where the class is there.
        metric: `"AP"` or `"cAP"`.
        ignore: classes to leave out. The published figures always leave out class 0; where it is
            no background, give `()`.

    Returns:
        Class -> value; without classes that no frame has.

    Raises:
        FoveateError: shapes that do not belong together.
    """
    if scores.shape != target.shape or scores.ndim != 2:
        raise FoveateError(f"scores {scores.shape} and targets {target.shape} are not both (N, K)")
    present = [k for k in range(scores.shape[1]) if k not in ignore and target[:, k].any()]
    return {k: METRICS[metric](target[:, k], scores[:, k]) for k in present}


def per_stage(
    scores: np.ndarray,
    target: np.ndarray,
    *,
    metric: Metric = "cAP",
    ignore: Collection[int] = (0,),
    stages: int = 10,
) -> list[dict[int, float]]:
    """`per_frame` for each tenth of the actions, all frames without the action kept.

    As published, an action's length is taken one frame short, so that its last frame counts in no
    stage unless the action has one frame only.

    Returns:
        One `{class: value}` a stage, first tenth first.
    """
    report: list[dict[int, float]] = []
    present = [k for k in range(scores.shape[1]) if k not in ignore and (target[:, k] == 1).any()]
    for stage in range(stages):
        values = {}
        for k in present:
            there = target[:, k] == 1
            kept = ~there | _stage_mask(there, stage / stages, (stage + 1) / stages)
            values[k] = METRICS[metric](there[kept], scores[kept, k])
        report.append(values)
    return report


def mean(values: dict[int, float]) -> float:
    """Mean over classes; nan when there are none."""
    return float(np.mean(list(values.values()))) if values else float("nan")


def thumos(
    scores: np.ndarray, target: np.ndarray, *, smooth: bool = False, switch: bool = False
) -> tuple[np.ndarray, np.ndarray]:
    """Prepare scores and targets `(N, 22)` as is the custom for THUMOS'14.

    Args:
        scores: of all frames, in order.
        target: likewise; frames labelled ambiguous (class 21) are left out.
        smooth: replace scores by their maximum over five frames; off in the published figures.
        switch: let diving have cliff diving's score where that is higher; off likewise.

    Returns:
        Scores and targets of the frames that count.
    """
    scores = scores.copy()
    if smooth:
        scores = maximum_filter1d(scores, size=5, axis=0, mode="nearest")
    if switch:
        cliff, diving = scores[:, THUMOS_CLIFF_DIVING], scores[:, THUMOS_DIVING]
        scores[:, THUMOS_DIVING] = np.maximum(cliff, diving)
    counts = target[:, THUMOS_AMBIGUOUS] != 1
    return scores[counts], target[counts]


def _stage_mask(there: np.ndarray, begin: float, finish: float) -> np.ndarray:
    """Frames of the part from `begin` to `finish` of every action, at least one of each."""
    edges = np.diff(np.concatenate([[0], there.astype(int), [0]]))
    mask = np.zeros(len(there), bool)
    starts = np.flatnonzero(edges == 1)
    for start, end in zip(starts, np.flatnonzero(edges == -1), strict=True):
        length = end - 1 - start
        first = start + int(length * begin)
        mask[first : max(first + 1, start + int(length * finish))] = True
    return mask
