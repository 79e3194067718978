"""How well positions are found, beside what costs nothing to reach."""

from __future__ import annotations

import numpy as np
import torch
from scipy.optimize import linear_sum_assignment
from torch import Tensor

from vision.pretraining.positions import cells
from vision.pretraining.pretext import DropPosOutput


class PositionMetrics:
    """Sums over held-out pictures, of the visible patches without position.

    Args:
        grid: rows and columns.
    """

    def __init__(self, grid: tuple[int, int]) -> None:
        place = cells(grid).double()
        self.distance = torch.cdist(place, place)
        self.place = cells(grid)
        self.sums: dict[str, float] = {}
        self.seen = torch.zeros(len(place), dtype=torch.float64)

    def update(self, output: DropPosOutput) -> None:
        """Add a batch."""
        dropped = output.positions.removed.cpu()
        logits = output.logits.detach().float().cpu()
        truth = output.patches.keep.cpu()
        weight = output.weight.detach().double().cpu()[dropped]
        assigned = torch.stack([assign(*row) for row in zip(logits, truth, dropped, strict=True)])[
            dropped
        ]
        logits, truth = logits[dropped], truth[dropped]
        guess = logits.argmax(-1)
        best = logits.topk(min(5, logits.shape[-1])).indices
        self.seen += torch.bincount(truth, minlength=len(self.seen))
        self._add("tokens", torch.ones(len(truth)))
        self._add("weight", weight)
        self._add("accuracy", guess == truth)
        self._add("accuracy weighted", (guess == truth) * weight)
        self._add("accuracy assigned", assigned == truth)
        self._add("top5", (best == truth[:, None]).any(-1))
        self._add("row", self.place[guess, 0] == self.place[truth, 0])
        self._add("column", self.place[guess, 1] == self.place[truth, 1])
        self._add("distance", self.distance[guess, truth])

    def _add(self, name: str, values: Tensor) -> None:
        self.sums[name] = self.sums.get(name, 0.0) + float(values.double().sum())

    def compute(self) -> dict[str, float]:
        """The figures, shares in [0, 1] and distances in cells.

        `accuracy` counts every token the same and `accuracy weighted` as the loss does;
        `accuracy assigned` gives every token of a picture a free cell of its own, the most
        probable way (Hungarian algorithm). `chance` is a blind guess; `constant` are the accuracy
        and the distance of always naming the best single cell.
        """
        total = self.sums.get("tokens", 0.0)
        if not total:
            raise ValueError("no token lost its position")
        figures = {
            name: value / total
            for name, value in self.sums.items()
            if name not in ("tokens", "weight", "accuracy weighted")
        }
        weight = self.sums["weight"]
        figures["accuracy weighted"] = (
            self.sums["accuracy weighted"] / weight if weight else float("nan")
        )
        figures["chance"] = 1 / len(self.seen)
        figures["constant accuracy"] = float(self.seen.max()) / total
        figures["constant distance"] = float((self.distance @ self.seen).min()) / total
        return figures


def assign(logits: Tensor, truth: Tensor, dropped: Tensor) -> Tensor:
    """The most probable way to give every patch without position a free cell of its own.

    Args:
        logits: (V, L) scores of one picture's visible patches.
        truth: (V,) true cells.
        dropped: (V,) bool, which of them lost their position; the others hold their cells.

    Returns:
        (V,) cells.
    """
    free = np.setdiff1d(np.arange(logits.shape[-1]), truth[~dropped].numpy())
    cost = -logits[dropped].log_softmax(-1)[:, torch.from_numpy(free)].numpy()
    cell = truth.clone()
    cell[dropped] = torch.from_numpy(free[linear_sum_assignment(cost)[1]])
    return cell
