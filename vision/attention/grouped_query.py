"""Grouped-query attention, and the form of it that stood beside Gaussian adaptive attention."""

from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn


class GroupedQueryAttention(nn.Module):
    """Self-attention of tokens whose query heads share keys and values in groups.

    Query head h attends to key head h // (num_heads / kv_heads).

    Args:
        dim: channels C.
        num_heads: query heads; C must be a multiple.
        kv_heads: key and value heads, which divide `num_heads`.
        causal: a token attends to itself and earlier ones.
        norm: a LayerNorm before the last projection, as published.
        sum_groups: add the queries of a group up before the softmax, as published: there are then
            only `kv_heads` maps, and outputs of `kv_heads * C / num_heads` channels to project.
        scale_twice: divide the scores by the square root of a head's width twice, as published.
        **factory: `device` and `dtype`.

    Raises:
        ValueError: the numbers of heads and channels do not fit.

    Source: Ainslie et al., GQA (2023); Density Adaptive Attention is All You Need, its code.
    """

    def __init__(
        self,
        dim: int,
        num_heads: int = 8,
        kv_heads: int = 2,
        *,
        causal: bool = False,
        norm: bool = False,
        sum_groups: bool = False,
        scale_twice: bool = False,
        **factory: Any,
    ) -> None:
        super().__init__()
        if dim % num_heads or num_heads % kv_heads:
            raise ValueError(
                f"dim {dim} must be a multiple of num_heads {num_heads}, and that one of "
                f"kv_heads {kv_heads}"
            )
        width = dim // num_heads
        out = kv_heads * width if sum_groups else dim
        self.num_heads = num_heads
        self.kv_heads = kv_heads
        self.causal = causal
        self.sum_groups = sum_groups
        self.scale = 1.0 / width if scale_twice else width**-0.5
        self.q_proj = nn.Linear(dim, dim, **factory)
        self.k_proj = nn.Linear(dim, kv_heads * width, **factory)
        self.v_proj = nn.Linear(dim, kv_heads * width, **factory)
        self.norm = nn.LayerNorm(out, **factory) if norm else nn.Identity()
        self.out_proj = nn.Linear(out, dim, **factory)

    def forward(self, x: Tensor) -> Tensor:
        """Attend over (B, N, C)."""
        query, key, value = self._project(x)
        out = F.scaled_dot_product_attention(
            query,
            key,
            value,
            is_causal=self.causal,
            scale=self.scale,
            enable_gqa=not self.sum_groups,
        )
        return self.out_proj(self.norm(out.transpose(1, 2).flatten(2)))

    def attention(self, x: Tensor) -> Tensor:
        """Probabilities of `forward`: (B, heads, N, N), as many heads as there are maps."""
        query, key, _ = self._project(x)
        key = key.repeat_interleave(query.shape[1] // key.shape[1], 1)
        scores = self.scale * query @ key.mT
        if self.causal:
            later = torch.ones_like(scores, dtype=torch.bool).triu(1)
            scores = scores.masked_fill(later, -torch.inf)
        return scores.softmax(-1)

    def _project(self, x: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """Queries, keys and values, (B, heads, N, C / num_heads) each."""
        query, key, value = (
            projection(x).unflatten(-1, (heads, -1)).transpose(1, 2)
            for projection, heads in (
                (self.q_proj, self.num_heads),
                (self.k_proj, self.kv_heads),
                (self.v_proj, self.kv_heads),
            )
        )
        if self.sum_groups:
            query = query.unflatten(1, (self.kv_heads, -1)).sum(2)
        return query, key, value
