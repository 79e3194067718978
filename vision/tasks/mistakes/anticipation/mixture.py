"""A mixture of three simple predictors with fixed weights: a yardstick for the default."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Sequence

from vision.tasks.mistakes.anticipation.base import Anticipation, Anticipator
from vision.tasks.mistakes.anticipation.calibrate import leave_out_threshold
from vision.tasks.mistakes.procedure import Example, Procedure

REMAINING, BIGRAM, PRECONDITION = 0.45, 0.35, 0.2
"""Shares of the three predictors."""

SAME, ALIKE, OTHER = 4.0, 1.0, 0.1
"""Weights of examples of exactly this kind, of a kind that has something in common, of others."""

FLOOR = 1e-3
"""Spread evenly over all steps, so that none is impossible."""


class Mixture(Anticipator):
    """Remaining steps, what followed the last step, and steps whose preconditions are met.

    Args:
        procedure: the examples.
        alpha: share of correct steps that may be flagged; by default the best, see `Scores`.
    """

    def __init__(self, procedure: Procedure, *, alpha: float | None = None) -> None:
        self.steps, self.examples = procedure.steps, procedure.examples
        self.threshold = leave_out_threshold(procedure, lambda rest: Mixture(rest, alpha=0), alpha)

    def expect(self, history: Sequence[str]) -> Anticipation:
        """The distribution over the next step."""
        done, last = set(history), history[-1] if history else None
        remaining: dict[str, float] = defaultdict(float)
        following: dict[str, float] = defaultdict(float)
        present: dict[str, float] = defaultdict(float)
        before: dict[str, dict[str, float]] = defaultdict(lambda: defaultdict(float))
        for example in self.examples:
            names = set(example.steps)
            overlap = len(done & names) / len(done) if done else 1.0
            weight = self._weight(example) * (0.2 + overlap)
            for step in names - done:
                remaining[step] += weight / len(names - done)
            for previous, step in zip((None, *example.steps), example.steps, strict=False):
                if previous == last:
                    following[step] += weight
            for place, step in enumerate(example.steps):
                present[step] += weight
                for earlier in set(example.steps[:place]) - done:
                    before[step][earlier] += weight
        allowed = {
            step: present[step] - max(before[step].values(), default=0.0)
            for step in present
            if step not in done
        }
        shares = ((REMAINING, remaining), (BIGRAM, following), (PRECONDITION, allowed))
        scores = dict.fromkeys(self.steps, FLOOR / len(self.steps))
        for share, votes in shares:
            total = sum(votes.values())
            for step, vote in votes.items():
                scores[step] += share * vote / total if total else 0.0
        return Anticipation.from_scores(scores)

    def _weight(self, example: Example) -> float:
        if not self.kind or example.kind[-1:] == tuple(self.kind[-1:]):
            return SAME
        return ALIKE if set(self.kind) & set(example.kind) else OTHER
