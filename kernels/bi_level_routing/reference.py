"""Bi-level routing in plain torch: the definition that every fast form is tested against."""

import torch
from torch import Tensor


def region_descriptors(x: Tensor) -> Tensor:
    """Describe each region by the mean of its tokens.

    Args:
        x: tokens (B, P, L, C), region-major.

    Returns:
        Descriptors (B, P, C).

    Source: BiFormer, section 3.2 (region-to-region routing).
    """
    return x.mean(dim=-2)


def route(query: Tensor, key: Tensor, topk: int, scale: float = 1.0) -> tuple[Tensor, Tensor]:
    """Choose for each query region the key regions that it resembles most.

    Args:
        query: region descriptors (B, Pq, C); (B, heads, Pq, C) routes every head by itself.
        key: region descriptors (B, Pk, C), or (B, heads, Pk, C).
        topk: how many regions to choose, at most Pk.
        scale: factor on the dot product.

    Returns:
        index: chosen key regions (B, [heads,] Pq, topk) int64, best first.
        logits: their scaled dot products, same shape. Ties are broken arbitrarily.

    Source: BiFormer, section 3.2, equations 3 and 4.
    """
    logits, index = torch.topk((query * scale) @ key.transpose(-2, -1), topk, dim=-1)
    return index, logits


def routed_attention(
    query: Tensor,
    key: Tensor,
    value: Tensor,
    index: Tensor,
    heads: int,
    scale: float,
    weight: Tensor | None = None,
    key_mask: Tensor | None = None,
) -> Tensor:
    """Define `kernels.bi_level_routing.routed_attention`; differentiable as it stands."""
    attention = _attention(query, key, index, heads, scale, weight, key_mask)
    values = _gather(value, index, heads, weight)
    out = attention @ values  # (B, heads, Pq, Lq, C)
    return out.permute(0, 2, 3, 1, 4).flatten(-2)


def routed_attention_map(
    query: Tensor,
    key: Tensor,
    index: Tensor,
    heads: int,
    scale: float,
    weight: Tensor | None = None,
    key_mask: Tensor | None = None,
) -> Tensor:
    """Return the attention probabilities that `routed_attention` applies, for drawing.

    Args: as for `routed_attention`.

    Returns:
        Probabilities (B, Pq, heads, Lq, k * Lk). Key j * Lk + t of query region p is token t of
        the region `index[..., p, j]`.
    """
    return _attention(query, key, index, heads, scale, weight, key_mask).transpose(1, 2)


def _attention(
    query: Tensor,
    key: Tensor,
    index: Tensor,
    heads: int,
    scale: float,
    weight: Tensor | None,
    key_mask: Tensor | None,
) -> Tensor:
    """Softmax over the routed tokens: (B, heads, Pq, Lq, k * Lk)."""
    queries = query.unflatten(-1, (heads, -1)).permute(0, 3, 1, 2, 4)
    keys = _gather(key, index, heads, weight)
    scores = (queries * scale) @ keys.transpose(-2, -1)
    if key_mask is None:
        return scores.softmax(dim=-1)
    attend = _gather(key_mask.unsqueeze(-1).expand(-1, -1, -1, heads), index, heads, None)
    hidden = ~attend.transpose(-2, -1)
    # A finite lowest score and a second fill: a row without any key is zero, its gradient too.
    lowest = torch.finfo(scores.dtype).min
    return scores.masked_fill(hidden, lowest).softmax(dim=-1).masked_fill(hidden, 0.0)


def _gather(x: Tensor, index: Tensor, heads: int, weight: Tensor | None) -> Tensor:
    """Tokens (B, P, L, heads * d) of the chosen regions, head by head: (B, heads, Pq, k * L, d)."""
    batch, device = x.shape[0], x.device
    x = x.unflatten(-1, (heads, -1)).permute(0, 3, 1, 2, 4)
    index = _per_head(index)
    rows = torch.arange(batch, device=device)[:, None, None, None]
    columns = torch.arange(heads, device=device)[:, None, None]
    chosen = x[rows, columns, index]  # (B, heads, Pq, k, L, d)
    if weight is not None:
        chosen = chosen * _per_head(weight).to(x.dtype)[..., None, None]
    return chosen.flatten(-3, -2)


def _per_head(x: Tensor) -> Tensor:
    """Give a graph that all heads share a head axis of length one: (B, 1 or heads, Pq, k)."""
    return x.unsqueeze(1) if x.dim() == 3 else x
