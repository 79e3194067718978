"""What DropPos is made of beside networks: masks, position embeddings, soft targets."""

from __future__ import annotations

from typing import NamedTuple

import torch
from torch import Tensor


class Masking(NamedTuple):
    """A random choice of tokens, each row its own.

    Attributes:
        keep: (B, kept) indices of the tokens kept, in the order of their noise.
        restore: (B, L) for every token its place among the kept followed by the removed.
        removed: (B, L) bool, True where a token is not kept.
    """

    keep: Tensor
    restore: Tensor
    removed: Tensor


def random_masking(noise: Tensor, ratio: float) -> Masking:
    """Keep the tokens with the least noise.

    Args:
        noise: (B, L), independent of anything.
        ratio: share to remove. `int(L * (1 - ratio))` are kept, computed in floating point as
            published: of 10 tokens at ratio 0.9 none is.

    Source: MAE, section 3; DropPos, section 3.1.
    """
    length = noise.shape[1]
    order = noise.argsort(dim=1)
    restore = order.argsort(dim=1)
    kept = int(length * (1 - ratio))
    return Masking(order[:, :kept], restore, restore >= kept)


def take(tokens: Tensor, indices: Tensor) -> Tensor:
    """Tokens (B, L, C) at indices (B, K): (B, K, C)."""
    return tokens.gather(1, indices.unsqueeze(-1).expand(-1, -1, tokens.shape[-1]))


def sincos_position_embedding(grid: tuple[int, int], dim: int) -> Tensor:
    """Fixed sine-cosine embedding of every cell, float64.

    The first half of the channels encodes the column, the second the row; each half is sines,
    then cosines.

    Args:
        grid: rows and columns.
        dim: channels, a multiple of 4.

    Returns:
        (rows * columns, dim), cells in raster order.

    Raises:
        ValueError: `dim` is not a multiple of 4.

    Source: MoCo v3, appendix; MAE.
    """
    if dim % 4:
        raise ValueError(f"a sine-cosine embedding needs a multiple of 4 channels, not {dim}")
    rate = 10000.0 ** -(torch.arange(dim // 4, dtype=torch.float64) / (dim / 4))
    row, column = cells(grid).double().unbind(1)
    angles = [place[:, None] * rate for place in (column, row)]
    return torch.cat([part for angle in angles for part in (angle.sin(), angle.cos())], dim=1)


def smoothing_map(grid: tuple[int, int], sigma: float, *, official: bool = False) -> Tensor:
    """Soft targets: how much a prediction of cell j is worth where cell i is true.

    Args:
        grid: rows and columns.
        sigma: width in cells of exp(-distance² / sigma²); 0 for one-hot targets.
        official: divide every column by its sum, as the published code does, so that rows do not
            sum to one.

    Returns:
        (L, L) float32, cells in raster order.

    Source: DropPos, section 3.2.
    """
    place = cells(grid).float()
    squared = (place[:, None] - place[None]).square().sum(-1)
    if sigma == 0:
        return (squared == 0).float()
    weight = torch.exp(-squared / sigma**2)
    # The weights are symmetric: a row's sum is the column's as well.
    total = weight.sum(-1)
    return weight / (total if official else total[:, None])


def cells(grid: tuple[int, int]) -> Tensor:
    """Row and column of every cell in raster order: (L, 2) int64."""
    rows, columns = grid
    return torch.cartesian_prod(torch.arange(rows), torch.arange(columns)).reshape(-1, 2)
