"""Place codes of the published OAT: a fitted table of rows and columns, and 3-D sinusoids."""

from __future__ import annotations

from typing import Literal

import torch
from torch import Tensor, nn
from torch.nn import functional as F

Rule = Literal["original", "exp1", "exp2", "linear"]
GRID = (3, 11, 2)
"""Rows, columns and flags of the sinusoidal table, the larger of the authors' own shelves."""
WIDE_ROWS = (0.0, 1.6, 3.2)
"""Row positions with `wide_rows`: rows are as far apart as their pixels say."""


class LearnedPlaces(nn.Module):
    """Place code from one table for row, column and target flag (ECCV 2024, section 3.2).

    Args:
        table: `(K, D)` code of each index; see `fit_places`. Four rows of zeros follow it.
        width: length of the code; the three parts together are cut to it.
    """

    def __init__(self, table: Tensor, width: int) -> None:
        super().__init__()
        self.width = width
        self.register_buffer("table", F.pad(table, (0, 0, 0, 4)), persistent=False)
        self.table: Tensor

    def forward(self, coordinates: Tensor) -> Tensor:
        """Code `(..., width)` of coordinates `(..., 3)`: row, column, flag, truncated to integers.

        Raises:
            IndexError: a coordinate beyond the table.
        """
        return self.table[coordinates.long()].flatten(-2)[..., : self.width]


class SinusoidPlaces(nn.Module):
    """Place code from a three-dimensional sinusoid over row, column and target flag.

    Args:
        width: length of the code.
        rule: how inverse frequencies follow from the channel.
        alpha: exponent or factor of the rules other than `"original"`.
        wide_rows: rows at 0, 1.6 and 3.2 rather than 0, 1 and 2.
    """

    def __init__(
        self, width: int, rule: Rule = "original", alpha: float = 0.9, *, wide_rows: bool = False
    ) -> None:
        super().__init__()
        channels = -(-width // 6) * 2
        channels += channels % 2
        steps = torch.arange(0, channels, 2).float()
        frequencies = {
            "original": 10000 ** (-steps / channels),
            "exp1": steps**alpha / channels,
            "exp2": (steps / channels) ** alpha,
            "linear": steps * alpha / channels,
        }[rule]
        axes = [torch.arange(n).float() for n in GRID]
        if wide_rows:
            axes[0] = torch.tensor(WIDE_ROWS)
        codes = []
        for axis, places in enumerate(axes):
            angles = places[:, None] * frequencies
            code = torch.stack((angles.sin(), angles.cos()), -1).flatten(-2)
            shape = [1, 1, 1, channels]
            shape[axis] = len(places)
            codes.append(code.view(shape).expand(*GRID, channels))
        self.register_buffer("table", torch.cat(codes, -1)[..., :width].clone(), persistent=False)
        self.table: Tensor

    def forward(self, coordinates: Tensor) -> Tensor:
        """Code `(..., width)` of coordinates `(..., 3)`; zero where the row is beyond the grid."""
        row, column, flag = coordinates.long().unbind(-1)
        outside = row >= GRID[0]
        code = self.table[row.clamp(max=GRID[0] - 1), column, flag]
        return code.masked_fill(outside[..., None], 0.0)


def place_loss(table: Tensor, sigma: float) -> Tensor:
    """How far a table is from cosines that fall off as a Gaussian, and from equal norms.

    Args:
        table: `(K, D)`.
        sigma: width of the Gaussian, in rows.
    """
    count = len(table)
    norms = table.norm(dim=1)
    cosines = table @ table.T / (norms[:, None] * norms)
    index = torch.arange(count, device=table.device, dtype=table.dtype)
    target = (-((index[:, None] - index) ** 2) / (2 * sigma**2)).exp()
    fit = ((cosines - target) ** 2).sum()
    spread = ((norms - norms.mean()) ** 2).mean()
    return (fit + spread) / (count * (count - 1))


def fit_places(
    start: Tensor, sigma: float = 2.0, steps: int = 10_000, lr: float = 0.01
) -> tuple[Tensor, list[float]]:
    """Fit a place table with Adam.

    Args:
        start: `(K, D)` first values; published tables began at a standard normal, D = 86.
        sigma: width of the Gaussian, in rows.
        steps: of Adam.
        lr: its rate.

    Returns:
        The table, and the loss before each step.
    """
    table = start.clone().requires_grad_()
    adam = torch.optim.Adam([table], lr=lr)
    curve = []
    for _ in range(steps):
        loss = place_loss(table, sigma)
        curve.append(loss.item())
        adam.zero_grad()
        loss.backward()
        adam.step()
    return table.detach(), curve
