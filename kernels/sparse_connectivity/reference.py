"""Attention over chosen keys in plain torch: the definition every fast form is tested against."""

import torch
from torch import Tensor


def keep_largest(scores: Tensor, budget: int) -> Tensor:
    """Define `kernels.sparse_connectivity.keep_largest`."""
    least = scores.topk(budget, dim=-1).values[..., -1:]
    above, equal = scores > least, scores == least
    room = budget - above.sum(-1, keepdim=True)
    return above | (equal & (equal.cumsum(-1) <= room))


def sparse_attention(
    query: Tensor,
    key: Tensor,
    value: Tensor,
    mask: Tensor,
    scale: float,
    bias: Tensor | None = None,
) -> Tensor:
    """Define `kernels.sparse_connectivity.sparse_attention`; differentiable as it stands."""
    return masked_softmax(_logits(query, key, scale, bias), mask) @ value


def masked_softmax(logits: Tensor, mask: Tensor) -> Tensor:
    """Softmax over the places where `mask` is true; a row without any is zero, its gradient too."""
    lowest = torch.finfo(logits.dtype).min
    return logits.masked_fill(~mask, lowest).softmax(-1).masked_fill(~mask, 0.0)


def block_attention(
    query: Tensor,
    key: Tensor,
    value: Tensor,
    index: Tensor,
    scale: float,
    query_block: int,
    key_block: int,
    weight: Tensor | None = None,
) -> Tensor:
    """Define `kernels.sparse_connectivity.block_attention` by a mask over all pairs."""
    weight = torch.ones_like(index, dtype=query.dtype) if weight is None else weight
    blocks = query.new_zeros(*index.shape[:-1], -(-key.shape[-2] // key_block))
    chosen = blocks.scatter(-1, index, 1.0)
    factors = blocks.scatter(-1, index, weight)
    mask, factors = (_per_token(x, query, key, query_block, key_block) for x in (chosen, factors))
    return (masked_softmax(_logits(query, key, scale, None) * factors, mask > 0) * factors) @ value


def _logits(query: Tensor, key: Tensor, scale: float, bias: Tensor | None) -> Tensor:
    logits = (query * scale) @ key.transpose(-2, -1)
    return logits if bias is None else logits + bias


def _per_token(x: Tensor, query: Tensor, key: Tensor, query_block: int, key_block: int) -> Tensor:
    """Values a pair of blocks -> values a pair of tokens (B, H, Nq, Nk)."""
    x = x.repeat_interleave(query_block, -2).repeat_interleave(key_block, -1)
    return x[..., : query.shape[-2], : key.shape[-2]]
