"""Fixations as symbols, and what compares paths in place: ScanMatch, string edit, time delay."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property

import numpy as np
from numpy.typing import ArrayLike, NDArray

from vision.errors import FoveateError
from vision.tasks.scanpath.metrics.alignment import Scores, align, edit_distances, longest

Symbols = NDArray[np.int64]


@dataclass(frozen=True)
class ScanMatch:
    """ScanMatch (Cristino et al., Behavior Research Methods 2010).

    Fixations are symbols of a grid, repeated by duration where `time_bin` is given; a pair of
    symbols adds `threshold` less the distance of their cells. Random paths do not score 0: show
    them beside.

    Args:
        size: width and height of the picture in pixels.
        bins: columns and rows of the grid.
        threshold: distance of cells up to which a pair is worth aligning.
        gap: what a symbol without partner adds, at most 0.
        time_bin: duration of a symbol, in the unit of the fixations' durations; None leaves
            duration out.
        offset: x and y of the picture's corner.
    """

    size: tuple[int, int]
    bins: tuple[int, int] = (16, 12)
    threshold: float = 3.5
    gap: float = 0.0
    time_bin: float | None = None
    offset: tuple[float, float] = (0, 0)

    def __call__(self, predicted: Sequence[ArrayLike], human: Sequence[ArrayLike]) -> Scores:
        """Scores of K predicted and V human paths of fixations: `(K, V)`.

        The best alignment of any two beginnings over the longer length and `threshold`; the
        borders of the alignment count one gap more, as published. Two empty paths have 1.
        """
        first = [self.symbols(path) for path in predicted]
        second = [self.symbols(path) for path in human]
        _, best = align(first, second, lambda a, b: self._table[a, b], self.gap, self.gap)
        length = self.threshold * longest(first, second)
        return np.divide(best, length, out=np.ones_like(best), where=length > 0)

    def symbols(self, fixations: ArrayLike) -> Symbols:
        """Cells, row by row, of fixations `(N, 2)` or with durations `(N, 3)`.

        What lies off the picture falls in the nearest cell.

        Raises:
            FoveateError: there is a time bin, but no durations.
        """
        points = _points(fixations)
        pixels = (points[:, :2] - self.offset).clip(0, np.array(self.size) - 1).astype(np.int64)
        cells = (pixels * (np.array(self.bins) / self.size)).astype(np.int64)
        ids = cells[:, 1] * self.bins[0] + cells[:, 0]
        if not self.time_bin:
            return ids
        if points.shape[1] < 3 or np.isnan(points[:, 2]).any():
            raise FoveateError("these fixations have no durations: leave the time bin out")
        # the published code truncates durations as it does coordinates
        durations = points[:, 2].clip(min=0).astype(np.int64)
        return np.repeat(ids, np.round(durations / self.time_bin).astype(np.int64))

    @cached_property
    def _table(self) -> NDArray[np.float64]:
        rows, columns = np.divmod(np.arange(self.bins[0] * self.bins[1]), self.bins[0])
        return self.threshold - np.hypot(
            rows[:, None] - rows[None], columns[:, None] - columns[None]
        )


def timed(symbols: ArrayLike, durations: ArrayLike, time_bin: float) -> Symbols:
    """Repeat each symbol once for each whole `time_bin` of its duration (Gazeformer, CVPR 2023).

    Args:
        symbols: `(N,)`.
        durations: `(N,)`.
        time_bin: in the unit of the durations.
    """
    counts = (np.asarray(durations, dtype=np.float64) / time_bin).astype(np.int64)
    return np.repeat(np.asarray(symbols), counts.clip(min=0))


def cluster_symbols(fixations: ArrayLike, centres: ArrayLike) -> Symbols:
    """Index of the nearest cluster centre of each fixation, for sequence scores by clusters.

    Args:
        fixations: `(N, 2)` or `(N, 3)`.
        centres: `(C, 2)`, usually of a mean shift fitted to all human fixations of the image.
    """
    points = _points(fixations)[:, :2]
    centre = np.asarray(centres, dtype=np.float64)
    return np.square(points[:, None] - centre[None]).sum(axis=2).argmin(axis=1)


def map_symbols(fixations: ArrayLike, segmentation: ArrayLike) -> Symbols:
    """Class under each fixation, for semantic sequence scores (Gazeformer, CVPR 2023).

    Args:
        fixations: `(N, 2)` or `(N, 3)`; what lies off the picture takes its nearest pixel.
        segmentation: `(H, W)` integer classes.
    """
    labels = np.asarray(segmentation)
    pixels = _points(fixations)[:, :2].astype(np.int64)
    x, y = pixels.clip(0, np.array(labels.shape[::-1]) - 1).T
    return labels[y, x].astype(np.int64)


def string_edit_distances(
    predicted: Sequence[ArrayLike],
    human: Sequence[ArrayLike],
    size: tuple[int, int],
    cells: int = 5,
) -> Scores:
    """Levenshtein distance of paths as strings of grid cells.

    As published, a cell is `size // cells` wide, so that the rest of a width that does not divide
    falls in the next row's cell.

    Args:
        predicted: K paths of fixations.
        human: V paths.
        size: width and height of the picture in pixels.
        cells: columns and rows of the grid.

    Returns:
        `(K, V)` distances.
    """
    step = np.array(size) // cells

    def string(fixations: ArrayLike) -> Symbols:
        columns, rows = (_points(fixations)[:, :2].astype(np.int64) // step).T
        return columns + rows * cells

    return edit_distances([string(p) for p in predicted], [string(p) for p in human])


def time_delay_distances(
    predicted: Sequence[ArrayLike], human: Sequence[ArrayLike], k: int, *, hausdorff: bool = False
) -> Scores:
    """Distance of paths by their windows of k fixations (Wang et al., CVPR 2011).

    Each window of the predicted path takes the nearest window of the human path; their distance
    is the mean distance of their fixations.

    Args:
        predicted: K paths of fixations.
        human: V paths.
        k: fixations a window.
        hausdorff: the largest over windows instead of the mean.

    Returns:
        `(K, V)` distances in pixels; NaN where a path is shorter than k.
    """
    reduce = np.max if hausdorff else np.mean
    out = np.full((len(predicted), len(human)), np.nan)
    for i, first in enumerate(predicted):
        for j, second in enumerate(human):
            table = _window_distances(_distances(first, second), k)
            if table.size:
                out[i, j] = reduce(table.min(axis=1))
    return out


def time_delay_similarities(
    predicted: Sequence[ArrayLike], human: Sequence[ArrayLike], size: tuple[int, int]
) -> Scores:
    """Scaled time-delay embedding: mean of `exp(-distance)` over all lengths of windows.

    Args:
        predicted: K paths of fixations.
        human: V paths.
        size: width and height of the picture in pixels; the larger one is the unit.

    Returns:
        `(K, V)` similarities in [0, 1]; NaN where a path is empty.
    """
    out = np.full((len(predicted), len(human)), np.nan)
    for i, first in enumerate(predicted):
        for j, second in enumerate(human):
            table = _distances(first, second) / max(size)
            means = [
                _window_distances(table, k).min(axis=1).mean()
                for k in range(1, min(table.shape) + 1)
            ]
            if means:
                out[i, j] = np.exp(-np.array(means)).mean()
    return out


def _points(fixations: ArrayLike) -> NDArray[np.float64]:
    points = np.asarray(fixations, dtype=np.float64)
    return points if points.size else points.reshape(0, 3)


def _distances(first: ArrayLike, second: ArrayLike) -> NDArray[np.float64]:
    a, b = _points(first)[:, :2], _points(second)[:, :2]
    return np.linalg.norm(a[:, None] - b[None], axis=2)


def _window_distances(table: NDArray[np.float64], k: int) -> NDArray[np.float64]:
    """Mean along the diagonals of every k x k window."""
    rows, columns = table.shape[0] - k + 1, table.shape[1] - k + 1
    if rows < 1 or columns < 1:
        return np.empty((0, 0))
    return sum((table[n : n + rows, n : n + columns] for n in range(k)), np.zeros((1, 1))) / k
