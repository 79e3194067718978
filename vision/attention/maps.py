"""What an attention looked at, for drawing and inspection."""

from typing import NamedTuple

from torch import Tensor


class AttentionMaps(NamedTuple):
    """Routing and attention of one module, for P query regions of L tokens each.

    Full attention is the case of a single region that holds the whole map.

    Args:
        regions: those that each region attends to, best first, (B, P, k) int64. Regions are
            numbered row by row.
        weight: softmax over the k routing scores, (B, P, k).
        attention: probabilities (B, P, heads, L, k * Lk); key j * Lk + t is token t of the region
            `regions[..., j]`.
        grid: rows and columns of regions; rows * columns = P.
        region: height and width of a region in tokens of the map; L = height * width. Regions at
            the bottom and the right may reach beyond the map.
    """

    regions: Tensor
    weight: Tensor
    attention: Tensor
    grid: tuple[int, int]
    region: tuple[int, int]
