"""Maps into regions and back: the layout in which bi-level routing works."""

import torch
import torch.nn.functional as F
from torch import Tensor


def pad_to(x: Tensor, height: int, width: int) -> Tensor:
    """Pad (B, H, W, C) with zeros at the bottom and the right to (B, height, width, C)."""
    bottom, right = height - x.shape[1], width - x.shape[2]
    return F.pad(x, (0, 0, 0, right, 0, bottom)) if bottom or right else x


def split_regions(x: Tensor, height: int, width: int) -> Tensor:
    """Split a map into regions of `height` x `width`, which must divide it.

    Args:
        x: (B, H, W, C).
        height: of a region.
        width: of a region.

    Returns:
        Tokens (B, P, L, C) with P regions in row-major order and L = height * width.
    """
    batch, rows, columns, dim = x.shape[0], x.shape[1] // height, x.shape[2] // width, x.shape[3]
    x = x.reshape(batch, rows, height, columns, width, dim).transpose(2, 3)
    return x.reshape(batch, rows * columns, height * width, dim)


def merge_regions(x: Tensor, rows: int, columns: int, height: int, width: int) -> Tensor:
    """Undo `split_regions`: (B, rows * columns, height * width, C) -> (B, H, W, C)."""
    batch, dim = x.shape[0], x.shape[3]
    x = x.reshape(batch, rows, columns, height, width, dim).transpose(2, 3)
    return x.reshape(batch, rows * height, columns * width, dim)


def real_tokens(x: Tensor, height: int, width: int, padded: tuple[int, int]) -> Tensor | None:
    """Tell tokens of the map from padding.

    Args:
        x: the map before padding, (B, H, W, C).
        height: of a region.
        width: of a region.
        padded: height and width of the padded map.

    Returns:
        (1, P, L) bool, True for tokens of the map; None when there is no padding.
    """
    if x.shape[1] == padded[0] and x.shape[2] == padded[1]:
        return None
    real = torch.ones(1, x.shape[1], x.shape[2], 1, dtype=torch.bool, device=x.device)
    return split_regions(pad_to(real, padded[0], padded[1]), height, width).squeeze(-1)
