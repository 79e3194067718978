"""What anticipation is: from the steps done so far to a distribution over the next one."""

from __future__ import annotations

import copy
import math
from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Self


@dataclass(frozen=True)
class Anticipation:
    """What is expected next.

    Args:
        ranked: steps with their probabilities, likeliest first; empty for "no prediction".
        rationale: why, in words, where the anticipator gives reasons.
    """

    ranked: tuple[tuple[str, float], ...]
    rationale: str | None = None

    @classmethod
    def from_scores(cls, scores: Mapping[str, float], rationale: str | None = None) -> Anticipation:
        """Normalise scores of at least 0 to probabilities; equal ones keep their order."""
        total = sum(scores.values()) or 1.0
        ranked = sorted(((s, v / total) for s, v in scores.items()), key=lambda row: -row[1])
        return cls(tuple(ranked), rationale)

    def probability(self, step: str) -> float:
        """Probability of a step; 0 for one that is not ranked."""
        return next((p for s, p in self.ranked if s == step), 0.0)


class Anticipator(ABC):
    """Knows one procedure and judges steps by those done before them, never by later ones.

    Args:
        threshold: a step is flagged when its surprise is larger.
        kind: what is being made, from general to exact, as in the examples of a procedure.
    """

    threshold: float
    kind: tuple[str, ...] = ()

    def of_kind(self, kind: Sequence[str]) -> Self:
        """The same anticipator for one kind of thing, such as `("crane", "model a08")`."""
        other = copy.copy(self)
        other.kind = tuple(kind)
        return other

    @abstractmethod
    def expect(self, history: Sequence[str]) -> Anticipation:
        """The distribution over the next step after `history` (names, oldest first)."""

    def surprise(self, history: Sequence[str], step: str) -> float:
        """How unexpected `step` is after `history`: -log of its probability unless said else."""
        p = self.expect(history).probability(step)
        return -math.log(p) if p > 0 else math.inf

    def explain(self, history: Sequence[str], step: str) -> str:
        """In one line why `step` is or is not expected after `history`."""
        likeliest = self.expect(history).ranked[:1]
        return f"{likeliest[0][0]!r} was expected" if likeliest else "nothing was expected"

    def warnings(self) -> list[str]:
        """What users should hear of how it went so far, a line each."""
        return []


@dataclass(frozen=True)
class Judgement:
    """A step held against what was expected.

    Args:
        step: what was done.
        mistake: whether it is flagged.
        surprise: how unexpected it is.
        expected: the three likeliest steps with their probabilities.
        why: the reason in one line.
    """

    step: str
    mistake: bool
    surprise: float
    expected: tuple[tuple[str, float], ...]
    why: str


def judge(anticipator: Anticipator, history: Sequence[str], step: str) -> Judgement:
    """Judge `step` by `history`, the steps done before it."""
    surprise = anticipator.surprise(history, step)
    return Judgement(
        step=step,
        mistake=surprise > anticipator.threshold,
        surprise=surprise,
        expected=anticipator.expect(history).ranked[:3],
        why=anticipator.explain(history, step),
    )
