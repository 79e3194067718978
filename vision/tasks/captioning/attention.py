"""Soft attention over regions, frames or grid cells."""

from __future__ import annotations

from typing import Literal

import torch
from torch import Tensor, nn

AttentionKind = Literal["additive", "dot"]

HIDDEN = -1e8
"""Score of what is hidden: low enough to get no weight, and finite, so that a picture with
nothing to attend to gets equal weights instead of NaN."""


def hide(scores: Tensor, hidden: Tensor, fill: float = HIDDEN) -> Tensor:
    """Overwrite scores where `hidden`, leaving their gradients alone.

    The published code writes through `.data`, which autograd does not see. It makes a difference
    only where everything is hidden and the weights are equal.
    """
    hiding = scores.clone()
    with torch.no_grad():
        hiding.masked_fill_(hidden, fill)
    return hiding


class SoftAttention(nn.Module):
    """Attention of one query over many keys.

    Source: `v · tanh(K + W h) + c` of Bahdanau et al. 2015 (`additive`), or `K · W h / T` (`dot`),
    as in Ma et al. 2020, section 3.

    Args:
        query: width of the query.
        width: width of the keys.
        kind: how a key is compared with the query.
        temperature: of the dot product; additive attention has none.
    """

    def __init__(
        self, query: int, width: int, kind: AttentionKind, temperature: float = 1.0
    ) -> None:
        super().__init__()
        self.query = nn.Linear(query, width)
        self.score = nn.Linear(width, 1) if kind == "additive" else None
        self.temperature = temperature

    def scores(
        self, query: Tensor, keys: Tensor, hidden: Tensor | None = None, fill: float = HIDDEN
    ) -> Tensor:
        """How well each key fits, before the softmax.

        Args:
            query: `(B, Q)`.
            keys: `(B, N, A)`.
            hidden: `(B, N)` bool, keys that must not be chosen.
            fill: score that these get.

        Returns:
            `(B, N)`.
        """
        asked = self.query(query)
        if self.score is None:
            scores = torch.bmm(keys, asked[:, :, None]).squeeze(2) / self.temperature
        else:
            scores = self.score(torch.tanh(keys + asked[:, None])).squeeze(2)
        return scores if hidden is None else hide(scores, hidden, fill)

    def forward(
        self,
        query: Tensor,
        keys: Tensor,
        values: Tensor | None = None,
        hidden: Tensor | None = None,
        fill: float = HIDDEN,
    ) -> tuple[Tensor, Tensor]:
        """Attend.

        Args:
            query: `(B, Q)`.
            keys: `(B, N, A)`.
            values: `(B, N, C)`; the keys when None.
            hidden: `(B, N)` bool, keys that must not be chosen.
            fill: score that these get.

        Returns:
            The mean of the values `(B, C)` under the attention, and the scores `(B, N)` whose
            softmax it is.
        """
        scores = self.scores(query, keys, hidden, fill)
        weights = scores.softmax(1)[:, None]
        return torch.bmm(weights, keys if values is None else values).squeeze(1), scores
