"""From the maps of a boundary-matching network to proposals in seconds.

Two layouts of the maps are published, and a network is bound to the one it was trained with:
*duration, start*, where row d and column s hold the proposal of cells s to s + d (the paper and
mmaction2), and *start, end*, where row s and column e hold cells s to e (the usual PyTorch BMN).
"""

from __future__ import annotations

import numpy as np
from numpy.typing import ArrayLike, NDArray

from vision.tasks.localization.suppression import soft_nms_bsn

SNIPPET = 16
"""Frames a snippet: the published features leave out the frames after the last whole one."""

Proposals = tuple[NDArray[np.float64], NDArray[np.float64]]
"""Segments `(K, 2)` in seconds and scores `(K,)`, best first."""


def proposals_start_end(
    start: ArrayLike,
    end: ArrayLike,
    classification: ArrayLike,
    regression: ArrayLike,
    *,
    frames: int,
    seconds: float,
    keep: int = 100,
    alpha: float = 0.4,
    low: float = 0.5,
    high: float = 0.9,
) -> Proposals:
    """Proposals of a network with *start, end* maps: every pair of cells is a candidate.

    As published, a proposal never ends with the last cell, and the last candidate is dropped.

    Args:
        start: `(T,)` probabilities that an action starts in a cell.
        end: `(T,)` that one ends.
        classification: `(T, T)` confidence that the proposal overlaps an action, `[start, end]`.
        regression: `(T, T)` likewise, trained by regression.
        frames: of the video.
        seconds: its duration.
        keep: proposals to return at most.
        alpha: of `soft_nms_bsn`, like `low` and `high`.
        low: see there.
        high: see there.

    Returns:
        Segments `(K, 2)` in seconds and scores `(K,)`, best first.
    """
    starts, last = np.triu_indices(len(np.asarray(start)) - 1)
    segments, scores = _candidates(
        start, end, starts, last + 1, _at(classification, regression, starts, last)
    )
    if len(scores) > 1:
        segments, scores = soft_nms_bsn(
            segments, scores, alpha=alpha, low=low, high=high, keep=keep, variant="bmn-pytorch"
        )
    return segments * _covered(frames, seconds), scores


def proposals_duration_start(
    start: ArrayLike,
    end: ArrayLike,
    classification: ArrayLike,
    regression: ArrayLike,
    *,
    frames: int,
    seconds: float,
    keep: int = 100,
    alpha: float = 0.4,
    low: float = 0.5,
    high: float = 0.9,
) -> Proposals:
    """Proposals of a network with *duration, start* maps: pairs of likely boundaries.

    A cell is a likely boundary where `likely_boundaries` says so; so is the first cell as a start
    and the last as an end. As published, a proposal never ends with the last cell. BMN (Lin et
    al., ICCV 2019), section 3.4.

    Args:
        start: `(T,)` probabilities that an action starts in a cell.
        end: `(T,)` that one ends.
        classification: `(D, T)` confidence that the proposal overlaps an action,
            `[duration - 1, start]`, D <= T.
        regression: `(D, T)` likewise, trained by regression.
        frames: of the video.
        seconds: its duration.
        keep: proposals to return at most.
        alpha: of `soft_nms_bsn`, like `low` and `high`.
        low: see there.
        high: see there.

    Returns:
        Segments `(K, 2)` in seconds and scores `(K,)`, best first.
    """
    first, last = likely_boundaries(start), likely_boundaries(end)
    first[0], last[-1] = True, True
    durations, starts = (n.ravel() for n in np.indices(np.shape(classification)))
    inside = starts + durations + 1 < len(last)
    durations, starts = durations[inside], starts[inside]
    likely = first[starts] & last[starts + durations + 1]
    durations, starts = durations[likely], starts[likely]
    confidence = _at(classification, regression, durations, starts)
    segments, scores = _candidates(start, end, starts, starts + durations + 1, confidence)
    segments, scores = soft_nms_bsn(
        segments, scores, alpha=alpha, low=low, high=high, keep=keep, variant="mmaction2"
    )
    return segments * _covered(frames, seconds), scores


def likely_boundaries(probabilities: ArrayLike) -> NDArray[np.bool_]:
    """Cells whose probability is a strict local maximum or above half of the largest.

    Args:
        probabilities: `(T,)`.

    Returns:
        `(T,)`; the first and the last cell, which have one neighbour, are never among them.
    """
    p = np.asarray(probabilities)
    likely = np.zeros(len(p), dtype=bool)
    peak = (p[1:-1] > p[2:]) & (p[1:-1] > p[:-2])
    likely[1:-1] = peak | (p[1:-1] > p.max() / 2)
    return likely


def _at(
    classification: ArrayLike, regression: ArrayLike, rows: NDArray, columns: NDArray
) -> tuple[NDArray, NDArray]:
    return np.asarray(classification)[rows, columns], np.asarray(regression)[rows, columns]


def _candidates(
    start: ArrayLike, end: ArrayLike, starts: NDArray, ends: NDArray, confidence: tuple
) -> tuple[NDArray, NDArray]:
    """Segments as parts of the video, and scores."""
    classification, regression = confidence
    # in this order and in the maps' own precision: rounding decides between near equals
    scores = np.asarray(start)[starts] * np.asarray(end)[ends] * classification * regression
    return np.stack([starts, ends], axis=1) / len(np.asarray(start)), scores


def _covered(frames: int, seconds: float) -> float:
    """Seconds that the features cover."""
    return frames // SNIPPET * SNIPPET / frames * seconds
