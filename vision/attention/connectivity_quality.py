"""How well a choice of keys covers true attention, beside choices that need no learning."""

from collections.abc import Mapping
from math import ceil
from typing import NamedTuple

import torch
from torch import Tensor

from kernels.sparse_connectivity import keep_largest
from vision.attention.connectivity import block_means


class Quality(NamedTuple):
    """Means over pictures, heads and patch queries.

    Args:
        recall: share of the best keys, as many as were kept, that were kept.
        mass: attention that the kept keys hold.
        kept: share of keys that were kept.
    """

    recall: float
    mass: float
    kept: float


def connectivity_quality(
    attention: Tensor,
    scores: Tensor,
    grid: tuple[int, int],
    keep_rate: float,
    *,
    query_block: int = 128,
    key_block: int = 32,
    seed: int = 0,
) -> dict[str, Quality]:
    """Judge predicted scores as masks of single keys and of blocks, at one budget.

    A predictor is worth its price where it beats `"random"` and `"local"`. `"oracle"` and
    `"oracle block"` know the attention itself: more is not to be had from any choice of keys or of
    blocks.

    Args:
        attention: true attention, of any model, (B, H, N, N), the class token first.
        scores: predicted for patch queries, (B, H, N - 1, N); any order-preserving scale. For
            blocks they are averaged, so that there they must be means' worth.
        grid: rows and columns of patches; rows * columns = N - 1.
        keep_rate: share of the keys to keep. Blocks are rounded up.
        query_block: queries in a block.
        key_block: keys in a block.
        seed: of the random choice.

    Returns:
        `"oracle"`, `"predicted"`, `"local"` (nearest patches), `"random"`, and the same for
        blocks, where `"local block"` is the blocks of the nearest keys.

    Raises:
        ValueError: shapes do not fit.
    """
    tokens = attention.shape[-1]
    if scores.shape != attention[:, :, 1:].shape or grid[0] * grid[1] != tokens - 1:
        raise ValueError(
            f"attention {tuple(attention.shape)}, scores {tuple(scores.shape)} and grid {grid} "
            "do not fit: want (B, H, N, N), (B, H, N - 1, N), rows * columns = N - 1"
        )
    attention = attention[:, :, 1:]
    generator = torch.Generator().manual_seed(seed)
    choices = {
        "oracle": attention,
        "predicted": scores,
        "local": nearness(grid).to(scores).expand_as(scores),
        "random": torch.rand(scores.shape, generator=generator).to(scores),
    }
    budget = ceil(keep_rate * tokens)
    report = {
        name: judge(attention, keep_largest(choice, budget)) for name, choice in choices.items()
    }
    for name, choice in choices.items():
        mask = keep_blocks(choice, keep_rate, query_block, key_block)
        report[f"{name} block"] = judge(attention, mask)
    return report


def judge(attention: Tensor, mask: Tensor) -> Quality:
    """Recall, mass and share of a mask.

    Args:
        attention: (B, H, Nq, N).
        mask: (B, H, Nq, N) bool.
    """
    ranks = attention.sort(-1, descending=True).indices.argsort(-1)
    counts = mask.sum(-1, keepdim=True)
    hits = (mask & (ranks < counts)).sum(-1) / counts.squeeze(-1).clamp(min=1)
    mass = (attention * mask).sum(-1)
    return Quality(hits.mean().item(), mass.mean().item(), mask.float().mean().item())


def keep_blocks(scores: Tensor, keep_rate: float, query_block: int, key_block: int) -> Tensor:
    """Mask (..., Nq, N) of the blocks of keys with the largest mean scores for each block of
    queries."""
    means = block_means(block_means(scores, query_block).mT, key_block).mT
    chosen = keep_largest(means.contiguous(), ceil(keep_rate * means.shape[-1]))
    full = chosen.repeat_interleave(query_block, -2).repeat_interleave(key_block, -1)
    return full[..., : scores.shape[-2], : scores.shape[-1]]


def nearness(grid: tuple[int, int]) -> Tensor:
    """Minus the distance of patches, in patches: (N - 1, N). The class token is nearest of all."""
    rows, columns = (torch.arange(n, dtype=torch.float32) for n in grid)
    places = torch.cartesian_prod(rows, columns).view(-1, 2)
    distance = torch.cdist(places, places)
    return torch.cat([torch.ones(len(places), 1), -distance], 1)


def format_quality(report: Mapping[str, Quality]) -> str:
    """The report as lines of text."""
    head = f"{'choice':<16} recall   mass   kept"
    lines = [
        f"{name:<16} {q.recall:6.3f} {q.mass:6.3f} {q.kept:6.3f}" for name, q in report.items()
    ]
    return "\n".join([head, *lines])
