"""Attention over chosen blocks of keys, on any device."""

import torch
from torch import Tensor
from torch.nn.functional import pad


def block_attention(
    query: Tensor,
    key: Tensor,
    value: Tensor,
    index: Tensor,
    scale: float,
    query_block: int,
    key_block: int,
    weight: Tensor | None = None,
    backend: str | None = None,
) -> Tensor:
    """Attend from every block of queries to all keys of the blocks chosen for it.

    Whole blocks are gathered and computed by routed attention: a block of tokens is a region.

    Args:
        query: (B, H, Nq, d).
        key: (B, H, Nk, d).
        value: (B, H, Nk, d).
        index: chosen key blocks, (B, H, ceil(Nq / query_block), k) int64, each once.
        scale: factor on the dot products.
        query_block: consecutive queries that share their keys; the last block may be short.
        key_block: consecutive keys in a block; the last block may be short. A block of queries
            must be given at least one block of keys.
        weight: factors on the chosen blocks' keys and values, of the shape of `index`.
        backend: of `kernels.bi_level_routing.routed_attention`.

    Returns:
        (B, H, Nq, d).

    Raises:
        ValueError: shapes do not fit, or the backend is unknown or cannot run.
        IndexError: `index` names a block that does not exist.
    """
    batch, heads, queries, width = query.shape
    keys = key.shape[2]
    full_queries = -(-queries // query_block) * query_block
    full_keys = -(-keys // key_block) * key_block
    real: Tensor | None = None
    if full_queries != queries:  # padding by nothing would copy
        query = pad(query, [0, 0, 0, full_queries - queries])
    if full_keys != keys:
        key = pad(key, [0, 0, 0, full_keys - keys])
        value = pad(value, [0, 0, 0, full_keys - keys])
        real = torch.arange(full_keys, device=key.device).lt(keys).view(1, -1, key_block)
        real = real.expand(batch * heads, -1, -1)
    # Heads choose for themselves: each is a picture of its own to routed attention.
    q = query.reshape(batch * heads, full_queries // query_block, query_block, width)
    k = key.reshape(batch * heads, full_keys // key_block, key_block, width)
    v = value.reshape(batch * heads, full_keys // key_block, key_block, width)
    factors: Tensor | None = None if weight is None else weight.flatten(0, 1)
    out = torch.ops.foveate.routed_attention(
        q, k, v, index.flatten(0, 1), 1, scale, factors, real, backend
    )
    return out.reshape(batch, heads, full_queries, width)[:, :, :queries]
