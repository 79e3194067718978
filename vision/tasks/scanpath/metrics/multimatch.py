"""MultiMatch: similarity of scanpaths on five dimensions (Dewhurst et al., 2012)."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
from numpy.typing import ArrayLike, NDArray
from scipy.sparse import coo_matrix
from scipy.sparse.csgraph import dijkstra

MULTIMATCH_NAMES = ("vector", "direction", "length", "position", "duration")

Vector = NDArray[np.float64]


class Grouping(NamedTuple):
    """Thresholds by which saccades are joined before paths are compared.

    Args:
        amplitude: saccades shorter than this are joined with the next, in pixels.
        direction: so are saccades that turn by less than this, in degrees.
        duration: where a fixation between is shorter than this, in the unit of the durations.
    """

    amplitude: float
    direction: float
    duration: float


@dataclass(frozen=True)
class _Path:
    """Saccades: where each starts `(S, 2)`, its vector `(S, 2)`; durations of the fixations."""

    starts: Vector
    vectors: Vector
    durations: Vector


def multimatch(
    predicted: Sequence[ArrayLike],
    human: Sequence[ArrayLike],
    size: tuple[float, float],
    grouping: Grouping | None = None,
    *,
    pad_short: bool = False,
) -> NDArray[np.float64]:
    """MultiMatch of every pair; equal to the package `multimatch-gaze`.

    The saccades of two paths are aligned along the cheapest way through the table of their vector
    differences; each dimension is 1 less the median difference along it.

    Args:
        predicted: K paths of fixations `(N, 3)`, or `(N, 2)` without durations.
        human: V paths.
        size: width and height of the picture in pixels.
        grouping: simplify the paths first.
        pad_short: fill paths of fewer than three fixations with fixations at (1, 1) of duration
            1, as the code of Gazeformer and OAT does.

    Returns:
        `(K, V, 5)` similarities by `MULTIMATCH_NAMES`; NaN where a path has fewer than three
        fixations, and for the duration where there is none.
    """
    ours = [_read(path, grouping, pad_short) for path in predicted]
    theirs = [_read(path, grouping, pad_short) for path in human]
    diagonal = float(np.hypot(*size))
    out = np.full((len(ours), len(theirs), 5), np.nan)
    for i, first in enumerate(ours):
        for j, second in enumerate(theirs):
            if first is not None and second is not None:
                out[i, j] = _compare(first, second, diagonal)
    return out


def _read(fixations: ArrayLike, grouping: Grouping | None, pad_short: bool) -> _Path | None:
    points = np.asarray(fixations, dtype=np.float64)
    if pad_short and len(points) < 3:
        width = points.shape[1] if points.ndim == 2 else 3
        points = np.concatenate([points.reshape(-1, width), np.ones((3 - len(points), width))])
    if len(points) < 3:
        return None
    durations = points[:, 2] if points.shape[1] > 2 else np.full(len(points), np.nan)
    path = _Path(points[:-1, :2], np.diff(points[:, :2], axis=0), durations)
    return path if grouping is None else _simplify(path, grouping)


def _compare(first: _Path, second: _Path, diagonal: float) -> Vector:
    table = np.linalg.norm(first.vectors[:, None] - second.vectors[None], axis=2)
    i, j = _cheapest_way(table)
    vectors_a, vectors_b = first.vectors[i], second.vectors[j]
    turn = np.abs(_angle(vectors_a) - _angle(vectors_b))
    length = np.abs(np.linalg.norm(vectors_a, axis=1) - np.linalg.norm(vectors_b, axis=1))
    place = np.linalg.norm(first.starts[i] - second.starts[j], axis=1)
    a, b = first.durations[i], second.durations[j]
    longer = np.maximum(a, b)
    time = np.abs(a - b) / np.where(longer == 0, 1, longer)
    differences = (
        table[i, j] / (2 * diagonal),
        np.minimum(turn, 2 * np.pi - turn) / np.pi,
        length / diagonal,
        place / diagonal,
        time,
    )
    return 1 - np.median(differences, axis=1)


def _angle(vectors: Vector) -> Vector:
    return np.arctan2(vectors[:, 1], vectors[:, 0])


def _cheapest_way(table: Vector) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """Cells of the cheapest way from corner to corner by steps right, down and both.

    A step costs the value of the cell it enters. By Dijkstra's algorithm on the same graph as
    the published code, so that equal ways are resolved alike.
    """
    nodes = np.arange(table.size).reshape(table.shape)
    steps = (
        (nodes[:, :-1], nodes[:, 1:]),
        (nodes[:-1], nodes[1:]),
        (nodes[:-1, :-1], nodes[1:, 1:]),
    )
    leave = np.concatenate([a.ravel() for a, _ in steps])
    enter = np.concatenate([b.ravel() for _, b in steps])
    graph = coo_matrix((table.ravel()[enter], (leave, enter)), shape=(table.size, table.size))
    _, before = dijkstra(graph.tocsr(), indices=0, return_predecessors=True)
    way = [table.size - 1]
    while way[-1] != 0:
        way.append(int(before[way[-1]]))
    i, j = np.divmod(np.array(way[::-1]), table.shape[1])
    return i, j


def _simplify(path: _Path, grouping: Grouping) -> _Path:
    """Join saccades by direction, then by length, until neither changes anything."""
    while True:
        before = len(path.durations)
        path = _join_short(_join_straight(path, grouping), grouping)
        if len(path.durations) == before:
            return path


def _join_straight(path: _Path, grouping: Grouping) -> _Path:
    """Join a saccade with the next where they turn little and the fixation between is short."""
    ahead, after = path.vectors[:-1], path.vectors[1:]
    with np.errstate(invalid="ignore"):
        cosine = (ahead * after).sum(axis=1)
        cosine /= np.linalg.norm(ahead, axis=1) * np.linalg.norm(after, axis=1)
    straight = np.degrees(np.arccos(cosine.clip(-1, 1))) < grouping.direction
    count = len(ahead)
    return _join(path, straight & (path.durations[1 : count + 1] < grouping.duration))


def _join_short(path: _Path, grouping: Grouping) -> _Path:
    """Join a short saccade with the next where a fixation beside it is short.

    A short last saccade is joined backwards with its neighbour *before* this pass, and leaves a
    duration too many behind, both as published.
    """
    short = np.linalg.norm(path.vectors, axis=1) < grouping.amplitude
    brief = path.durations < grouping.duration
    count = len(path.vectors)
    beside = brief[:count] | brief[1 : count + 1]
    joined, kept = _joined(path, (short & beside)[:-1])
    if count > 1 and kept[-1] == count - 1 and short[-1] and brief[-2:].any():
        vectors = joined.vectors[:-1].copy()
        vectors[-1] = path.vectors[-2] + path.vectors[-1]
        durations = joined.durations.copy()
        durations[len(vectors)] = path.durations[count - 2]
        return _Path(joined.starts[:-1], vectors, durations)
    return joined


def _join(path: _Path, mergeable: NDArray[np.bool_]) -> _Path:
    return _joined(path, mergeable)[0]


def _joined(path: _Path, mergeable: NDArray[np.bool_]) -> tuple[_Path, list[int]]:
    """Join saccade i with i + 1 where `mergeable[i]`, from the left, none twice.

    Returns:
        The path, and for each of its saccades the first of `path` in it.
    """
    kept: list[int] = []
    vectors = []
    i = 0
    while i < len(path.vectors):
        both = i < len(mergeable) and bool(mergeable[i])
        kept.append(i)
        vectors.append(path.vectors[i] + path.vectors[i + 1] if both else path.vectors[i])
        i += 2 if both else 1
    durations = np.append(path.durations[kept], path.durations[-1])
    return _Path(path.starts[kept], np.array(vectors), durations), kept
