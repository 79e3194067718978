"""The map of a window's proposals, and the boundary-matching layer that samples their features.

Source: Lin et al., "BMN: Boundary-Matching Network for Temporal Action Proposal Generation",
ICCV 2019 (arXiv 1907.09702), section 3.2.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from typing import Literal

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional as F

Layout = Literal["start_end", "duration_start"]


@dataclass(frozen=True)
class ProposalMap:
    """Which cell of a map stands for which segment.

    Args:
        steps: T, time steps of the window.
        layout: `"duration_start"`: row d, column s is [s, s + d + 1), as in the paper;
            `"start_end"`: row s, column e is [s, e + 1), as in the usual PyTorch code. Weights of
            one do not fit the other.
        durations: rows of a `"duration_start"` map, which caps the length; T when None.
    """

    steps: int
    layout: Layout = "duration_start"
    durations: int | None = None

    @property
    def shape(self) -> tuple[int, int]:
        """Rows and columns."""
        if self.layout == "start_end":
            return self.steps, self.steps
        return self.durations or self.steps, self.steps

    @cached_property
    def bounds(self) -> tuple[np.ndarray, np.ndarray]:
        """Start and end (the first step after it) of every cell, `(rows, columns)` each, valid or
        not."""
        rows, columns = np.indices(self.shape)
        if self.layout == "start_end":
            return rows, columns + 1
        return columns, columns + rows + 1

    @cached_property
    def valid(self) -> np.ndarray:
        """Cells that stand for a segment within the window, `(rows, columns)` bool."""
        start, end = self.bounds
        return (end > start) & (end <= self.steps)


def sampling_points(
    cells: ProposalMap, samples: int, subsamples: int, ratio: float
) -> tuple[np.ndarray, np.ndarray]:
    """Where features are read for every valid cell, and with which weight.

    A segment is widened by `ratio` of its length on either side; `samples * subsamples` points lie
    evenly on it, both ends included; each reads its two neighbours by linear interpolation.
    Positions are cut toward zero, as published: between -1 and 0 both neighbours are step 0 and
    the weights still sum to one, while beyond the last step a point loses weight.

    Args:
        cells: the map.
        samples: N, bins a proposal.
        subsamples: points that are averaged in a bin.
        ratio: widening on either side.

    Returns:
        Steps and weights, `(valid cells, N, 2 * subsamples)` each; weight 0 beyond the window.
    """
    start, end = (bound[cells.valid].astype(np.float64) for bound in cells.bounds)
    # The start-end code counts the step after the last one as part of the proposal.
    last = end if cells.layout == "start_end" else end - 1
    margin = ratio * (last - start + 1)
    first, span = start - margin, last - start + 2 * margin
    count = samples * subsamples
    points = first[:, None] + (span / (count - 1))[:, None] * np.arange(count)
    whole = np.trunc(points)
    part = points - whole
    steps = np.stack([whole, np.ceil(points)], axis=-1)
    weights = np.stack([1 - part, part], axis=-1) / subsamples
    weights[(steps < 0) | (steps > cells.steps - 1)] = 0
    steps = steps.clip(0, cells.steps - 1).astype(np.int64)
    shape = (len(start), samples, 2 * subsamples)
    return steps.reshape(shape), weights.reshape(shape)


def dense_mask(cells: ProposalMap, samples: int, subsamples: int, ratio: float) -> Tensor:
    """The sampling as one matrix, `(T, N, rows, columns)`: what published checkpoints store."""
    steps, weights = sampling_points(cells, samples, subsamples, ratio)
    mask = np.zeros((cells.steps, samples, *cells.shape))
    rows, columns = np.nonzero(cells.valid)
    bins = np.arange(samples)[None, :, None]
    np.add.at(mask, (steps, bins, rows[:, None, None], columns[:, None, None]), weights)
    return torch.from_numpy(mask).float()


class BoundaryMatching(nn.Module):
    """Samples the features of every proposal: the product with `dense_mask`, by gathering.

    Memory grows with the number of points rather than with T times as much.

    Args:
        cells: the map.
        samples: N, bins a proposal.
        subsamples: points that are averaged in a bin.
        ratio: widening of a proposal on either side.
    """

    steps: Tensor
    weights: Tensor
    places: Tensor

    def __init__(self, cells: ProposalMap, samples: int, subsamples: int, ratio: float) -> None:
        super().__init__()
        self.cells, self.samples = cells, samples
        steps, weights = sampling_points(cells, samples, subsamples, ratio)
        self.register_buffer("steps", torch.from_numpy(steps).flatten(0, 1), persistent=False)
        self.register_buffer(
            "weights", torch.from_numpy(weights).float().flatten(0, 1), persistent=False
        )
        places = torch.from_numpy(np.flatnonzero(cells.valid))
        self.register_buffer("places", places, persistent=False)

    def forward(self, x: Tensor) -> Tensor:
        """`(B, C, T)` to `(B, C, N, rows, columns)`; cells that are no segment hold zeros."""
        batch, channels, steps = x.shape
        table = x.reshape(batch * channels, steps).T
        weights = self.weights.to(x.dtype)
        bags = F.embedding_bag(self.steps, table, per_sample_weights=weights, mode="sum")
        rows, columns = self.cells.shape
        full = x.new_zeros(rows * columns, self.samples, batch * channels)
        full = full.index_copy(0, self.places, bags.view(-1, self.samples, batch * channels))
        return full.permute(2, 1, 0).reshape(batch, channels, self.samples, rows, columns)
