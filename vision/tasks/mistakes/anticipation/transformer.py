"""A small causal transformer over steps, trained on the examples."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor, nn

from vision.tasks.mistakes.anticipation.base import Anticipation, Anticipator
from vision.tasks.mistakes.anticipation.calibrate import leave_out_threshold
from vision.tasks.mistakes.procedure import Example, Procedure

WIDTH, HEADS, LAYERS, DROPOUT = 48, 4, 2, 0.2
LONGEST = 64
"""Steps that are looked back on."""

FOLDS = 3
IGNORED = -100


class SmallTransformer(Anticipator):
    """Predicts the next step from a token for each kind and the steps so far.

    Args:
        procedure: the examples.
        alpha: share of correct steps that may be flagged; by default the best, see `Scores`. The
            examples are left out in three parts, each time with a new training.
        epochs: over all examples at once.
        seed: of the beginning.
    """

    def __init__(
        self,
        procedure: Procedure,
        *,
        alpha: float | None = None,
        epochs: int = 150,
        seed: int = 0,
    ) -> None:
        self.steps = procedure.steps
        kinds = dict.fromkeys(k for e in procedure.examples for k in e.kind)
        self.tokens = {name: i for i, name in enumerate((*self.steps, None, *kinds))}
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(seed)
            self.network = _Network(len(self.tokens), len(self.steps))
            self._train(procedure.examples, epochs)
        self.threshold = leave_out_threshold(
            procedure,
            lambda rest: SmallTransformer(rest, alpha=0, epochs=epochs, seed=seed),
            alpha,
            folds=FOLDS,
        )

    def expect(self, history: Sequence[str]) -> Anticipation:
        """The distribution over the next step; unknown steps are passed over."""
        ids = self._ids(history, self.kind)
        with torch.inference_mode():
            chances = self.network(torch.tensor([ids]))[0, -1].softmax(0)
        return Anticipation.from_scores(dict(zip(self.steps, chances.tolist(), strict=True)))

    def _ids(self, steps: Sequence[str], kind: Sequence[str]) -> list[int]:
        """Tokens of the kinds that are known, of the beginning, and of the steps."""
        known = [self.tokens[s] for s in steps if s in self.tokens][-LONGEST:]
        return [*(self.tokens[k] for k in kind if k in self.tokens), self.tokens[None], *known]

    def _train(self, examples: Sequence[Example], epochs: int) -> None:
        rows = []
        for example in examples:
            steps = example.steps[:LONGEST]
            ids = self._ids(steps[:-1], example.kind)
            target = [self.tokens[s] for s in steps]
            rows.append((ids, [IGNORED] * (len(ids) - len(target)) + target))
        width = max(len(ids) for ids, _ in rows)
        inputs = torch.tensor([i + [0] * (width - len(i)) for i, _ in rows])
        targets = torch.tensor([t + [IGNORED] * (width - len(t)) for _, t in rows])
        optimizer = torch.optim.AdamW(self.network.parameters(), lr=3e-3, weight_decay=0.05)
        self.network.train()
        for _ in range(epochs):
            logits = self.network(inputs)
            loss = nn.functional.cross_entropy(
                logits.flatten(0, 1), targets.flatten(), ignore_index=IGNORED, label_smoothing=0.1
            )
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
        self.network.eval()


class _Network(nn.Module):
    def __init__(self, tokens: int, steps: int) -> None:
        super().__init__()
        self.embed = nn.Embedding(tokens, WIDTH)
        self.place = nn.Embedding(2 * LONGEST, WIDTH)
        layer = nn.TransformerEncoderLayer(
            WIDTH, HEADS, 2 * WIDTH, DROPOUT, batch_first=True, norm_first=True
        )
        self.layers = nn.TransformerEncoder(layer, LAYERS, enable_nested_tensor=False)
        self.head = nn.Linear(WIDTH, steps)

    def forward(self, ids: Tensor) -> Tensor:
        """(B, T) token ids to (B, T, S) logits of the next step."""
        length = ids.shape[1]
        x = self.embed(ids) + self.place(torch.arange(length))
        mask = nn.Transformer.generate_square_subsequent_mask(length)
        return self.head(self.layers(x, mask=mask, is_causal=True))
