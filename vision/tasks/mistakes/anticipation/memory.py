"""Anticipators that only remember: n-grams, one step, and what always came before."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence

from vision.tasks.mistakes.anticipation.base import Anticipation, Anticipator
from vision.tasks.mistakes.anticipation.calibrate import leave_out_threshold
from vision.tasks.mistakes.procedure import Procedure, merged

START = None
"""What comes before the first step."""


class NGram(Anticipator):
    """Shares of the steps that followed the longest known ending of the history.

    Args:
        procedure: the examples.
        n: length of the longest ending plus one.
        alpha: share of correct steps that may be flagged; by default the best, see `Scores`.
    """

    def __init__(self, procedure: Procedure, *, n: int = 4, alpha: float | None = None) -> None:
        self.steps, self.n = procedure.steps, n
        self.followers: dict[tuple[str | None, ...], Counter[str]] = {}
        for example in procedure.examples:
            for place, step in enumerate(example.steps):
                for ending in self._endings(example.steps[:place]):
                    self.followers.setdefault(ending, Counter())[step] += 1
        self.threshold = leave_out_threshold(
            procedure, lambda rest: NGram(rest, n=n, alpha=0), alpha
        )

    def expect(self, history: Sequence[str]) -> Anticipation:
        """The distribution over the next step, with a small share for steps never seen there."""
        for ending in self._endings(merged(history)):
            if ending in self.followers:
                counts = self.followers[ending]
                total = counts.total() + 1
                rest = 1 / len(self.steps)
                return Anticipation.from_scores(
                    {s: (counts[s] + rest) / total for s in self.steps},
                )
        return Anticipation.from_scores(dict.fromkeys(self.steps, 1))

    def _endings(self, history: Sequence[str]) -> list[tuple[str | None, ...]]:
        whole = (START, *history)
        return [whole[len(whole) - k :] for k in range(min(self.n - 1, len(whole)), -1, -1)]


class OneStep(Anticipator):
    """Flags a step that never directly followed the step before it, the start included.

    The baseline "one-step memory" of TI-PREGO, section 4.3.1.
    """

    threshold = 0.0

    def __init__(self, procedure: Procedure) -> None:
        self.followers: dict[str | None, Counter[str]] = {}
        for example in procedure.examples:
            for before, step in zip((START, *example.steps), example.steps, strict=False):
                self.followers.setdefault(before, Counter())[step] += 1

    def expect(self, history: Sequence[str]) -> Anticipation:
        """Shares of the steps that followed the last one; no prediction after an unknown one."""
        last = history[-1] if history else START
        return Anticipation.from_scores(self.followers.get(last, {}))

    def surprise(self, history: Sequence[str], step: str) -> float:
        """1 for a step that never followed the last one, else 0."""
        last = history[-1] if history else START
        return float(step not in self.followers.get(last, {}))


class Preconditions(Anticipator):
    """Flags a step when one that came before it in every example has not been done.

    A step that no example has is flagged too, and is not added to what was done; see
    "always preceded by" among the baselines of Differentiable Task Graph Learning.
    """

    threshold = 0.0

    def __init__(self, procedure: Procedure) -> None:
        self.required: dict[str, set[str]] = {}
        for example in procedure.examples:
            for place, step in enumerate(example.steps):
                if step in example.steps[:place]:
                    continue
                before = set(example.steps[:place])
                self.required[step] = self.required.get(step, before) & before

    def expect(self, history: Sequence[str]) -> Anticipation:
        """Equal shares for the steps that nothing stands against and that are still to be done."""
        open_ = [s for s in self.required if s not in history and not self.missing(history, s)]
        return Anticipation.from_scores(dict.fromkeys(open_, 1))

    def surprise(self, history: Sequence[str], step: str) -> float:
        """Number of steps missing before this one; 1 for one that is in no example."""
        return float(len(self.missing(history, step))) if step in self.required else 1.0

    def explain(self, history: Sequence[str], step: str) -> str:
        """Names the missing steps."""
        if step not in self.required:
            return f"{step!r} was never done in a correct execution"
        missing = sorted(self.missing(history, step))
        return f"before {step!r} always: {', '.join(missing)}" if missing else "nothing is missing"

    def missing(self, history: Sequence[str], step: str) -> set[str]:
        """Steps that always came before this one and have not been done."""
        return self.required.get(step, set()) - set(history)
