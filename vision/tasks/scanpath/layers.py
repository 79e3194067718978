"""Attention over objects and over past fixations, with keys and values that can be kept."""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn import functional as F

KeyValue = tuple[Tensor, Tensor]
"""Keys and values, `(B, heads, L, C / heads)` each."""


class Attention(nn.Module):
    """Multi-head attention whose keys and values are made apart from its queries."""

    def __init__(self, width: int, heads: int, dropout: float) -> None:
        super().__init__()
        self.heads, self.dropout = heads, dropout
        self.query = nn.Linear(width, width)
        self.keyvalue = nn.Linear(width, 2 * width)
        self.out = nn.Linear(width, width)

    def remember(self, x: Tensor) -> KeyValue:
        """Keys and values of tokens `(B, L, C)`."""
        key, value = self.keyvalue(x).unflatten(-1, (2, self.heads, -1)).movedim(2, 0)
        return key.transpose(1, 2), value.transpose(1, 2)

    def forward(self, x: Tensor, memory: KeyValue, bias: Tensor | None = None) -> Tensor:
        """Attend from `(B, T, C)`; `bias` `(B, heads or 1, T, L)` is added to the scores."""
        query = self.query(x).unflatten(-1, (self.heads, -1)).transpose(1, 2)
        dropout = self.dropout if self.training else 0.0
        mixed = F.scaled_dot_product_attention(query, *memory, attn_mask=bias, dropout_p=dropout)
        attended: Tensor = self.out(mixed.transpose(1, 2).flatten(-2))
        return attended


def feed_forward(width: int, dropout: float) -> nn.Sequential:
    """The part of a block that looks at each token alone."""
    return nn.Sequential(
        nn.Linear(width, 2 * width), nn.GELU(), nn.Dropout(dropout), nn.Linear(2 * width, width)
    )


class EncoderBlock(nn.Module):
    """Self-attention among objects, less between those that lie far apart."""

    def __init__(self, width: int, heads: int, dropout: float) -> None:
        super().__init__()
        self.norms = nn.ModuleList(nn.LayerNorm(width) for _ in range(2))
        self.attention = Attention(width, heads, dropout)
        self.slopes = nn.Parameter(torch.linspace(0, 6, heads))
        self.feed = feed_forward(width, dropout)
        self.drop = nn.Dropout(dropout)

    def forward(self, x: Tensor, distance: Tensor, mask: Tensor) -> Tensor:
        """Mix tokens `(B, N, C)`.

        Args:
            x: tokens.
            distance: `(B, N, N)` between centres.
            mask: `(B, N)`, true for real objects.
        """
        bias = -self.slopes[:, None, None] * distance[:, None]
        bias = bias.masked_fill(~mask[:, None, None], float("-inf"))
        own = self.norms[0](x)
        x = x + self.drop(self.attention(own, self.attention.remember(own), bias.to(x.dtype)))
        return x + self.drop(self.feed(self.norms[1](x)))


class DecoderBlock(nn.Module):
    """Attention to past fixations, then to objects."""

    def __init__(self, width: int, heads: int, dropout: float) -> None:
        super().__init__()
        self.norms = nn.ModuleList(nn.LayerNorm(width) for _ in range(3))
        self.past = Attention(width, heads, dropout)
        self.objects = Attention(width, heads, dropout)
        self.feed = feed_forward(width, dropout)
        self.drop = nn.Dropout(dropout)

    def forward(
        self, x: Tensor, objects: KeyValue, mask: Tensor, kept: KeyValue | None
    ) -> tuple[Tensor, KeyValue]:
        """Take further steps of P paths in each of B pictures.

        Args:
            x: `(B, P, T, C)`, the steps to take.
            objects: of the pictures.
            mask: `(B, N)`, true for real objects.
            kept: keys and values of earlier steps, as returned before; None at the beginning.

        Returns:
            The tokens, and keys and values of all steps so far.
        """
        batch, paths, steps, _ = x.shape
        flat = x.flatten(0, 1)
        own = self.norms[0](flat)
        key, value = self.past.remember(own)
        if kept is not None:
            key, value = torch.cat((kept[0], key), 2), torch.cat((kept[1], value), 2)
        total = key.shape[2]
        open_ = torch.ones(steps, total, dtype=torch.bool, device=x.device)
        later = torch.zeros(steps, total).to(x).masked_fill(~open_.tril(total - steps), -torch.inf)
        flat = flat + self.drop(self.past(own, (key, value), later[None, None]))
        asked = self.norms[1](flat).view(batch, paths * steps, -1)
        hidden = torch.zeros(mask.shape).to(x).masked_fill(~mask, -torch.inf)[:, None, None]
        seen = self.objects(asked, objects, hidden).view_as(flat)
        flat = flat + self.drop(seen)
        flat = flat + self.drop(self.feed(self.norms[2](flat)))
        return flat.view_as(x), (key, value)
