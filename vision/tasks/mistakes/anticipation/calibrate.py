"""Thresholds from correct executions alone: split-conformal, and where to set its level."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from vision.errors import FoveateError
from vision.tasks.mistakes.anticipation.base import Anticipator
from vision.tasks.mistakes.procedure import Procedure

MOST = 50.0
"""Surprise, in nats, at what is given no chance at all."""


@dataclass(frozen=True)
class Scores:
    """Surprise at steps of executions that an anticipator has not seen.

    Args:
        correct: (N,) of the steps that were done.
        early: (M,) of steps that were done only later, had they been done at once.
        weight: (M,) of each of them: one for every place in a sequence.
    """

    correct: np.ndarray
    early: np.ndarray
    weight: np.ndarray

    def threshold(self, alpha: float | None = None) -> float:
        """The threshold at level `alpha`; by default at the level that tells the two apart best."""
        return conformal_threshold(self.correct, self.best_alpha() if alpha is None else alpha)

    def best_alpha(self) -> float:
        """Share of correct steps flagged where Youden's J of early against correct is largest,
        or the smallest at which it is within a standard error of that (Breiman et al. 1984).

        A step done too early is the mistake that can be made up without having seen any: this is
        what sets the level of the threshold where no mistakes are given.
        """
        if not len(self.early):
            return 0.0
        limits = np.unique(self.correct)
        order = np.argsort(self.early)
        total = self.weight.sum()
        up_to = np.concatenate([[0.0], np.cumsum(self.weight[order])])
        flagged = 1 - up_to[np.searchsorted(self.early[order], limits, side="right")] / total
        false = 1 - np.searchsorted(np.sort(self.correct), limits, side="right") / len(self.correct)
        youden = flagged - false
        best = youden.argmax()
        hit, miss = flagged[best], false[best]
        error = math.sqrt(hit * (1 - hit) / total + miss * (1 - miss) / len(self.correct))
        return float(false[np.flatnonzero(youden >= youden[best] - error)[-1]])


def conformal_threshold(scores: Sequence[float] | np.ndarray, alpha: float) -> float:
    """Split-conformal quantile: a new correct step exceeds it with probability of at most `alpha`.

    Args:
        scores: surprise at correct steps that were not learnt from.
        alpha: from 0 to 1.

    Returns:
        The `ceil((n + 1) (1 - alpha))`-th smallest score; the largest where that is more than n.

    Raises:
        FoveateError: `alpha` is no share, or there are no scores.
    """
    if not 0 <= alpha <= 1:
        raise FoveateError(f"alpha must lie between 0 and 1, not {alpha}")
    if not len(scores):
        raise FoveateError("a threshold needs examples to learn from: there are none")
    rank = math.ceil((len(scores) + 1) * (1 - alpha))
    return float(np.sort(scores)[min(max(rank, 1), len(scores)) - 1])


def score(judged: Iterable[tuple[Sequence[Any], Sequence[Any]]]) -> Scores:
    """Surprise at the steps of executions that were not learnt from.

    Args:
        judged: executions, each with a mapping or array of the surprise at any step, for every
            place in it.
    """
    correct: list[float] = []
    early: list[float] = []
    weight: list[float] = []
    for steps, places in judged:
        for place, (step, surprise) in enumerate(zip(steps, places, strict=True)):
            correct.append(float(surprise[step]))
            seen = {*steps[:place], step}
            later = [s for s in dict.fromkeys(steps[place + 1 :]) if s not in seen]
            early += [float(surprise[s]) for s in later]
            weight += [1 / len(later) for _ in later]
    return Scores(np.array(correct), np.array(early), np.array(weight))


def leave_out_threshold(
    procedure: Procedure,
    fit: Callable[[Procedure], Anticipator],
    alpha: float | None,
    folds: int | None = None,
) -> float:
    """A threshold from the surprise at each example of an anticipator made from the others.

    Args:
        procedure: the examples.
        fit: makes an anticipator from the examples that are left.
        alpha: see `Scores.threshold`; for 0 nothing is measured, and only the impossible flagged.
        folds: parts left out in turn; as many as there are examples when None.
    """
    examples = procedure.examples
    if alpha == 0 or len(examples) < 2:
        return MOST
    folds = min(folds or len(examples), len(examples))
    judged = []
    for fold in range(folds):
        rest = tuple(e for i, e in enumerate(examples) if i % folds != fold)
        anticipator = fit(procedure.model_copy(update={"examples": rest}))
        for example in examples[fold::folds]:
            view = anticipator.of_kind(example.kind)
            judged.append((example.steps, [_Surprise(view, h) for h in prefixes(example.steps)]))
    return score(judged).threshold(alpha)


def prefixes(steps: Sequence[str]) -> list[Sequence[str]]:
    """The histories before each of the steps."""
    return [steps[:place] for place in range(len(steps))]


class _Surprise(dict[str, float]):
    """Surprise at any step after a history, asked for once a step."""

    def __init__(self, anticipator: Anticipator, history: Sequence[str]) -> None:
        super().__init__()
        expected = dict(anticipator.expect(history).ranked)
        self.update({s: -math.log(p) for s, p in expected.items() if p > 0})

    def __missing__(self, step: str) -> float:
        return MOST
