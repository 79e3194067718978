"""What a gate lets through, averaged over data: drawn as a heat map, and put to the test."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from typing import Literal

import cv2
import numpy as np
import torch
from torch import Tensor

from vision.errors import FoveateError


@dataclass(frozen=True)
class ImportanceFactor:
    """Mean attention over data, stretched so that its least entry is 0 and its largest 1.

    It says how much the gate lets through, not what the model needs: `deletion_curve` measures
    that. A map that is all but constant is stretched like any other, so look at `lowest` and
    `highest` first.

    Args:
        values: (L, D) in [0, 1]; all 0 where the mean attention is constant.
        lowest: least mean attention.
        highest: largest mean attention.

    Source: Density Adaptive Attention is All You Need, section 1.5.
    """

    values: Tensor
    lowest: float
    highest: float

    @classmethod
    def from_maps(cls, maps: Iterable[Tensor]) -> ImportanceFactor:
        """Average attention maps, batches (B, L, D), and stretch the average.

        Raises:
            FoveateError: there is no map, or they differ in shape.
        """
        total, number = None, 0
        for batch in maps:
            part = batch.double().sum(0)
            if total is not None and part.shape != total.shape:
                raise FoveateError(
                    f"attention maps differ in shape: {tuple(total.shape)}, {tuple(part.shape)}; "
                    "average over inputs of one size"
                )
            total = part if total is None else total + part
            number += len(batch)
        if total is None or not number:
            raise FoveateError("no attention maps to average; give at least one input")
        mean = total / number
        lowest, highest = mean.min(), mean.max()
        width = highest - lowest
        values = (mean - lowest) / width if width > 0 else torch.zeros_like(mean)
        return cls(values.float(), float(lowest), float(highest))

    @property
    def layer_share(self) -> Tensor:
        """Each row's part of the sum of all values, (L,); of a constant map equal parts."""
        rows = self.values.sum(-1)
        total = rows.sum()
        return rows / total if total > 0 else torch.full_like(rows, 1 / len(rows))

    def heat_map(self, scale: int = 8) -> np.ndarray:
        """Draw it: (L * scale, D * scale, 3) uint8 RGB, dark for 0 and bright for 1."""
        gray = (self.values * 255).round().to(torch.uint8).cpu().numpy()
        colours = cv2.cvtColor(cv2.applyColorMap(gray, cv2.COLORMAP_VIRIDIS), cv2.COLOR_BGR2RGB)
        return colours.repeat(scale, 0).repeat(scale, 1)


Order = Literal["most", "least", "random"]


def deletion_curve(
    score: Callable[[Tensor], float],
    inputs: Tensor,
    importance: Tensor,
    *,
    order: Order = "most",
    parts: Sequence[float] = (0.0, 0.1, 0.25, 0.5, 0.75, 0.9),
    seed: int = 0,
) -> list[float]:
    """Score a model while more and more entries of its inputs are replaced by their mean.

    If importance is causal, deleting the most important entries costs more than deleting as many
    at random, and the least important ones less.

    Args:
        score: inputs (B, L, D) -> a number, such as accuracy.
        inputs: (B, L, D).
        importance: (L, D), such as `ImportanceFactor.values`.
        order: which entries go first.
        parts: parts of the entries to delete, in [0, 1].
        seed: of the random order.

    Returns:
        The score for each of `parts`.

    Raises:
        FoveateError: importance has another shape than an input.
    """
    if importance.shape != inputs.shape[1:]:
        raise FoveateError(
            f"importance {tuple(importance.shape)} must have the shape of an input, "
            f"{tuple(inputs.shape[1:])}"
        )
    flat = importance.flatten()
    if order == "random":
        ranks = torch.randperm(len(flat), generator=torch.Generator().manual_seed(seed))
    else:
        ranks = flat.argsort(descending=order == "most", stable=True)
    mean = inputs.mean(0)
    scores = []
    for part in parts:
        deleted = torch.zeros(len(flat), dtype=torch.bool)
        deleted[ranks[: round(part * len(flat))]] = True
        scores.append(score(torch.where(deleted.view(importance.shape), mean, inputs)))
    return scores
