"""Suppression of overlapping segments in time: hard and soft NMS, by class, and voting.

A segment is `(start, end)` in one unit for all: seconds, grid cells or parts of the video.
"""

from __future__ import annotations

from typing import Literal

import numpy as np
from numpy.typing import ArrayLike, NDArray

Method = Literal["hard", "linear", "gaussian", "gated"]
Variant = Literal["mmaction2", "bmn-pytorch"]

EPSILON = np.float32(1e-6)
"""What `batched_nms` adds to lengths, so that an empty segment divides by something."""


def segment_iou(first: ArrayLike, second: ArrayLike) -> NDArray[np.float64]:
    """Temporal intersection over union of every pair; two empty segments have 0.

    Args:
        first: `(N, 2)` starts and ends.
        second: `(M, 2)`.

    Returns:
        `(N, M)` values in [0, 1].
    """
    a = np.asarray(first, dtype=np.float64).reshape(-1, 1, 2)
    b = np.asarray(second, dtype=np.float64).reshape(1, -1, 2)
    inner = np.minimum(a[..., 1], b[..., 1]) - np.maximum(a[..., 0], b[..., 0])
    inner = inner.clip(min=0)
    union = (b[..., 1] - b[..., 0]) + (a[..., 1] - a[..., 0]) - inner
    return np.divide(inner, union, out=np.zeros_like(inner), where=union > 0)


def soft_nms_bsn(
    segments: ArrayLike,
    scores: ArrayLike,
    *,
    alpha: float = 0.4,
    low: float = 0.5,
    high: float = 0.9,
    keep: int = 100,
    variant: Variant = "mmaction2",
) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Soft NMS of proposals with a gate that opens later for wide segments.

    The best segment is taken; the score of every other is multiplied by `exp(-iou^2 / alpha)`
    where `iou > low + (high - low) * width`, `width` being that of the segment taken; and again.
    BSN (Lin et al., ECCV 2018), section 3.4.

    Args:
        segments: `(N, 2)` starts and ends as parts of the video, in [0, 1].
        scores: `(N,)`.
        alpha: width of the decay.
        low: overlap that is free for the shortest segments.
        high: overlap that is free for a segment as long as the video.
        keep: segments to take at most.
        variant: which published form to follow; `bmn-pytorch` never takes the last candidate, and
            rounds overlaps differently, which decides where they lie exactly on the gate, as many
            do on a grid.

    Returns:
        Segments `(K, 2)` and scores `(K,)` in the order taken, which is from best to worst.
    """
    spans = np.asarray(segments, dtype=np.float64).reshape(-1, 2)
    starts, ends = spans.T
    left = np.array(scores, dtype=np.float64)
    taken, values = [], []
    for _ in range(min(keep, len(left) - (variant == "bmn-pytorch"))):
        best = int(left.argmax())
        taken.append(best)
        values.append(left[best])
        width = ends[best] - starts[best]
        inner = (np.minimum(ends[best], ends) - np.maximum(starts[best], starts)).clip(min=0)
        if variant == "bmn-pytorch":
            union = ends - starts - inner + ends[best] - starts[best]
        else:
            union = width - inner + ends - starts
        iou = np.divide(inner, union, out=np.zeros_like(inner), where=union > 0)
        near = iou > low + (high - low) * width
        left[near] *= np.exp(-np.square(iou[near]) / alpha)
        left[best] = -np.inf
    return spans[taken], np.array(values)


def batched_nms(
    segments: ArrayLike,
    scores: ArrayLike,
    labels: ArrayLike,
    *,
    method: Method = "gaussian",
    iou: float = 0.5,
    sigma: float = 0.5,
    min_score: float = 0.001,
    keep: int = 200,
    multiclass: bool = True,
    voting: float = 0.0,
    vote_by_overlap: bool = False,
    gate: tuple[float, float] = (0.0, 0.0),
) -> tuple[NDArray[np.float32], NDArray[np.float32], NDArray[np.int64]]:
    """Suppress detections of all classes, each class among itself or all together.

    Computed in float32. As in ActionFormer (Zhang et al., ECCV 2022) and OpenTAD.

    Args:
        segments: `(N, 2)` starts and ends.
        scores: `(N,)`.
        labels: `(N,)` integer classes.
        method: `hard` drops what overlaps by `iou` or more; `linear` multiplies its score by
            `1 - overlap`; `gaussian` multiplies every score by `exp(-overlap^2 / sigma)`; `gated`
            does so where the overlap is `gate[0] + gate[1] * length` or more, `length` being that
            of the segment taken.
        iou: threshold of `hard` and `linear`.
        sigma: width of `gaussian` and `gated`.
        min_score: what falls below is dropped.
        keep: detections to keep at most.
        multiclass: whether classes do not suppress each other.
        voting: overlap from which all segments vote on where a kept one lies (`vote`); 0 for no
            vote. Only where classes are suppressed together.
        vote_by_overlap: whether a vote also counts by its overlap, as ActionFormer has it;
            OpenTAD does not.
        gate: see `gated`.

    Returns:
        Segments `(K, 2)`, scores `(K,)` and labels `(K,)`, best first.
    """
    spans = np.asarray(segments, dtype=np.float32).reshape(-1, 2)
    values = np.asarray(scores, dtype=np.float32)
    classes = np.asarray(labels, dtype=np.int64)

    def suppress(members: NDArray[np.intp]) -> tuple[NDArray[np.intp], NDArray[np.float32]]:
        if method == "hard":
            kept = _hard(spans[members], values[members], iou, min_score, keep)
            return members[kept], values[members[kept]]
        kept, decayed = _soft(
            spans[members], values[members], method, iou, sigma, min_score, keep, gate
        )
        return members[kept], decayed

    groups = [classes == c for c in np.unique(classes)] if multiclass else [classes == classes]
    picked = [suppress(np.flatnonzero(group)) for group in groups if group.any()]
    if not picked:
        return spans, values, classes
    index = np.concatenate([chosen for chosen, _ in picked])
    final = np.concatenate([decayed for _, decayed in picked])
    found = spans[index]
    if voting > 0 and not multiclass:
        found = vote(found, spans, values, voting, by_overlap=vote_by_overlap)
    order = np.argsort(-final, kind="stable")[:keep]
    return found[order], final[order], classes[index[order]]


def vote(
    kept: ArrayLike,
    segments: ArrayLike,
    scores: ArrayLike,
    iou: float,
    *,
    by_overlap: bool = False,
) -> NDArray[np.float32]:
    """Move each kept segment to the mean of all that overlap it by `iou` or more, weighed by score.

    Args:
        kept: `(K, 2)` segments that suppression kept.
        segments: `(N, 2)` all segments.
        scores: `(N,)` their scores before suppression.
        iou: overlap from which a segment votes.
        by_overlap: whether a vote is weighed by its overlap too.

    Returns:
        `(K, 2)`; a segment for which nobody votes stays.
    """
    old = np.asarray(kept, dtype=np.float32).reshape(-1, 2)
    spans = np.asarray(segments, dtype=np.float32).reshape(-1, 2)
    overlap = segment_iou(old, spans)
    votes = np.asarray(scores, dtype=np.float32) * (overlap if by_overlap else np.float32(1))
    weights = (votes * (overlap >= iou)).astype(np.float32)
    total = weights.sum(axis=1, keepdims=True)
    weights /= np.where(total > 0, total, 1)
    mean = (weights.T[:, :, None] * spans[:, None]).sum(axis=0)
    return np.where(total > 0, mean, old)


def _overlap(spans: NDArray[np.float32], best: int) -> NDArray[np.float32]:
    inner = np.minimum(spans[best, 1], spans[:, 1]) - np.maximum(spans[best, 0], spans[:, 0])
    inner = inner.clip(min=0)
    lengths = spans[:, 1] - spans[:, 0] + EPSILON
    return inner / (lengths[best] + lengths - inner)


def _hard(
    spans: NDArray[np.float32], scores: NDArray[np.float32], iou: float, min_score: float, keep: int
) -> NDArray[np.intp]:
    order = np.argsort(-scores, kind="stable")
    left = order[scores[order] > min_score] if min_score > 0 else order
    kept: list[int] = []
    while len(left) and len(kept) < keep:
        kept.append(left[0])
        left = left[1:][_overlap(spans[left], 0)[1:] < np.float32(iou)]
    return np.array(kept, dtype=np.intp)


def _soft(
    spans: NDArray[np.float32],
    scores: NDArray[np.float32],
    method: Method,
    iou: float,
    sigma: float,
    min_score: float,
    keep: int,
    gate: tuple[float, float],
) -> tuple[NDArray[np.intp], NDArray[np.float32]]:
    index = np.arange(len(scores))
    kept: list[int] = []
    values: list[np.float32] = []
    while len(index) and len(kept) < keep:
        best = int(scores.argmax())
        kept.append(index[best])
        values.append(scores[best])
        overlap = _overlap(spans, best)
        if method == "linear":
            weight = np.where(overlap >= np.float32(iou), 1 - overlap, np.float32(1))
        else:
            # exp in double and rounded once, as a C library's expf does
            exponent = -np.square(overlap) / np.float32(sigma)
            weight = np.exp(exponent.astype(np.float64)).astype(np.float32)
            if method == "gated":
                length = spans[best, 1] - spans[best, 0] + EPSILON
                bar = np.float32(gate[0]) + np.float32(gate[1]) * length
                weight = np.where(overlap >= bar, weight, np.float32(1))
        scores = scores * weight
        left = scores >= np.float32(min_score)
        left[best] = False
        index, spans, scores = index[left], spans[left], scores[left]
    return np.array(kept, dtype=np.intp), np.array(values, dtype=np.float32)
