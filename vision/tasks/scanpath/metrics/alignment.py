"""Alignment of symbol sequences by dynamic programming, for all pairs at once."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import numpy as np
from numpy.typing import ArrayLike, NDArray

Scores = NDArray[np.float64]
Similarity = Callable[[NDArray[np.int64], NDArray[np.int64]], NDArray]


def align(
    first: Sequence[ArrayLike],
    second: Sequence[ArrayLike],
    similarity: Similarity,
    gap: float,
    border: float = 0.0,
) -> tuple[Scores, Scores]:
    """Align every sequence with every other (Needleman and Wunsch, J. Mol. Biol. 1970).

    Args:
        first: K sequences of symbols, integers from 0.
        second: V sequences.
        similarity: what a pair of symbols adds, of broadcast arrays of them.
        gap: what a symbol without partner adds, at most 0.
        border: what the alignment of nothing with nothing has.

    Returns:
        Two arrays `(K, V)`: the value of the whole alignment, and the largest of the alignments
        of all beginnings with all beginnings.
    """
    a, rows = _padded(first)
    b, columns = _padded(second)
    slope = gap * np.arange(b.shape[1] + 1)
    inside = np.arange(b.shape[1] + 1) <= columns[:, None]
    row = np.broadcast_to(slope + border, (len(a), *inside.shape))
    last = np.arange(len(b))
    whole = row[:, last, columns].copy()
    largest = np.where(inside, row, -np.inf).max(axis=2)
    for i in range(a.shape[1]):
        paired = row[..., :-1] + similarity(a[:, i, None, None], b[None])
        edge = np.full((*row.shape[:2], 1), gap * (i + 1) + border)
        above = np.concatenate([edge, np.maximum(paired, row[..., 1:] + gap)], axis=2)
        # the best way to come from the left, over all lengths of the gap
        row = np.maximum.accumulate(above - slope, axis=2) + slope
        longer = rows > i
        whole[longer] = row[longer][:, last, columns]
        reached = np.where(inside, row, -np.inf).max(axis=2)
        largest[longer] = np.maximum(largest, reached)[longer]
    return whole, largest


def longest(first: Sequence[ArrayLike], second: Sequence[ArrayLike]) -> Scores:
    """Length of the longer sequence of each pair: `(K, V)`."""
    lengths = [np.array([np.size(s) for s in group], dtype=np.float64) for group in (first, second)]
    return np.maximum(lengths[0][:, None], lengths[1][None])


def sequence_scores(
    predicted: Sequence[ArrayLike], human: Sequence[ArrayLike], gap: float = 0.0
) -> Scores:
    """Sequence score: value of the best alignment, a match being 1, over the longer length.

    With no cost of gaps it is the longest common subsequence over the longer length. COCO-Search18
    (Yang et al., CVPR 2020) and OAT (Fang et al., ECCV 2024).

    Args:
        predicted: K paths of object ids or other symbols.
        human: V paths.
        gap: what a fixation without partner adds, at most 0.

    Returns:
        `(K, V)` scores, at most 1; two empty paths have 1.
    """
    value, _ = align(predicted, human, np.equal, gap)
    length = longest(predicted, human)
    return np.divide(value, length, out=np.ones_like(value), where=length > 0)


def edit_distances(
    predicted: Sequence[ArrayLike], human: Sequence[ArrayLike], substitution: float = 1.0
) -> Scores:
    """Levenshtein distance of paths of symbols; not normalised, so it rewards short paths.

    Args:
        predicted: K paths of object ids or other symbols.
        human: V paths.
        substitution: cost of one symbol for another; insertion and deletion cost 1.

    Returns:
        `(K, V)` distances.
    """
    value, _ = align(predicted, human, lambda a, b: -substitution * (a != b), -1.0)
    return 0.0 - value


def human_consistency(scores: ArrayLike) -> float:
    """Mean over ordered pairs of different viewers: what one viewer scores against the others.

    Args:
        scores: `(V, V, ...)` of every viewer of one image against every viewer of it.

    Returns:
        The mean off the diagonal; NaN for fewer than two viewers.
    """
    values = np.asarray(scores, dtype=np.float64)
    pairs = values[~np.eye(len(values), dtype=bool)]
    return float(pairs.mean()) if pairs.size else float("nan")


def _padded(sequences: Sequence[ArrayLike]) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    arrays = [np.asarray(s).astype(np.int64).ravel() for s in sequences]
    lengths = np.array([len(a) for a in arrays], dtype=np.int64)
    table = np.zeros((len(arrays), max(lengths, default=0)), dtype=np.int64)
    for row, array in zip(table, arrays, strict=True):
        row[: len(array)] = array
    return table, lengths
