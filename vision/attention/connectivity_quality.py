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
    block_scores: Tensor | None = None,
    seed: int = 0,
) -> dict[str, Quality]:
    """Judge predicted scores as masks of single keys and of blocks, at one budget.

    A predictor is worth its price where it beats `"random"` and `"local"`. `"oracle"` and
    `"oracle block"` know the attention itself: more is not to be had from any choice of keys or of
    blocks.

    Args:
        attention: true attention, of any model, (B, H, N, N), the class token first.
        scores: predicted for patch queries, (B, H, N - 1, N); any order-preserving scale.
        grid: rows and columns of patches; rows * columns = N - 1.
        keep_rate: share of the keys to keep. Blocks are rounded up.
        query_block: queries in a block.
        key_block: keys in a block.
        block_scores: predicted for blocks, (B, H, query blocks, key blocks), as of
            `ConnectivityPredictor.score_blocks`; the means of `scores` when None.
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
        means = mean_blocks(choice, query_block, key_block)
        if name == "predicted" and block_scores is not None:
            means = block_scores
        mask = keep_blocks(means, keep_rate, query_block, key_block)
        shape = (slice(scores.shape[-2]), slice(scores.shape[-1]))
        report[f"{name} block"] = judge(attention, mask[..., *shape])
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


def mean_blocks(scores: Tensor, query_block: int, key_block: int) -> Tensor:
    """Means of scores (..., Nq, N) over blocks of queries and keys."""
    return block_means(block_means(scores, query_block).mT, key_block).mT


def keep_blocks(scores: Tensor, keep_rate: float, query_block: int, key_block: int) -> Tensor:
    """Mask of the pairs in those blocks of keys that have the largest scores for each block of
    queries; scores (..., query blocks, key blocks)."""
    chosen = keep_largest(scores.contiguous(), ceil(keep_rate * scores.shape[-1]))
    return chosen.repeat_interleave(query_block, -2).repeat_interleave(key_block, -1)


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
