"""The default anticipator: a discrete choice among steps, learnt from the examples alone.

What the examples say about order (`counts.py`) becomes features of each possible next step. Their
weights are those of a conditional logit (McFadden 1974) fitted by leaving each example out of the
counts in turn. A step is the more surprising, the likelier the best alternative is, beyond what is
usual where the next step is as open.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Iterator, Sequence

import numpy as np
from scipy.optimize import minimize

from vision.tasks.mistakes.anticipation.base import Anticipation, Anticipator
from vision.tasks.mistakes.anticipation.calibrate import Scores, score
from vision.tasks.mistakes.anticipation.counts import Counts, Order, Steps
from vision.tasks.mistakes.procedure import Procedure

FOLDS = 5
"""Parts of the examples; the scores of each come from weights fitted on the others."""

PENALTY = 1.0
"""Of squared differences from the prior's weights, in units of a feature's spread."""

ENOUGH_TO_LEARN, ENOUGH_TO_CALIBRATE = 60, 300
"""Steps in the examples from which weights, and a threshold, are learnt from them."""

KEPT = 32
"""Kinds whose tables are kept."""

PRIOR = {
    "next": 0.24,
    "present": 2.05,
    "done": 0.0,
    "repeat": 2.13,
    "early": 0.0,
    "skipped": -2.6,
    "share_skipped": 0.0,
    "others_first": 0.0,
    "overtaken": 0.0,
    "late": 0.04,
    "near": 1.21,
    "place": 0.53,
    "hazard": 0.0,
}
"""Weights learnt from the correct recordings of CaptainCook4D, where few examples are given."""

PRIOR_USUAL = ((0.71, 0.68), (0.49, 0.46), (0.64, 0.29))
"""Coefficients of `openness` on CaptainCook4D with 1, 2 and more examples of a recipe."""

PRIOR_THRESHOLDS = (0.91, 1.64, 1.72)
"""Best thresholds there; both are used where the examples have too few steps."""


class Choice(Anticipator):
    """Chooses the next step by how the examples were ordered.

    Args:
        procedure: the examples.
        alpha: share of correct steps that may be flagged; by default the share at which steps in
            their place and steps too early are told apart best, in the examples.
    """

    def __init__(self, procedure: Procedure, *, alpha: float | None = None) -> None:
        self.steps = procedure.steps
        self.index = {step: i for i, step in enumerate(procedure.steps)}
        self.examples = procedure.examples
        self.sequences = [self.encode(e.steps) for e in procedure.examples]
        self._counts: dict[str | None, Counts] = {}
        self._orders: dict[tuple[str, ...], Order] = {}
        self.weights = np.array([PRIOR[name] for name in Order.FEATURES])
        few = min(len(self.examples), len(PRIOR_THRESHOLDS)) - 1
        self.usual = np.array(PRIOR_USUAL[few])
        self.threshold = PRIOR_THRESHOLDS[few]
        steps = sum(map(len, self.sequences))
        learn = steps >= ENOUGH_TO_LEARN
        if len(self.examples) > 1 and (learn or alpha is not None):
            utilities = self._left_out_utilities(learn=learn)
            if steps >= ENOUGH_TO_CALIBRATE:
                self.usual = fit_usual(utilities, self.sequences)
            if steps >= ENOUGH_TO_CALIBRATE or alpha is not None:
                self.threshold = scores(utilities, self.sequences, self.usual).threshold(alpha)

    def expect(self, history: Sequence[str]) -> Anticipation:
        """The distribution over the next step; steps unknown to the procedure are passed over."""
        utilities = self._utilities(history)
        chances = np.exp(utilities - utilities.max())
        return Anticipation.from_scores(dict(zip(self.steps, chances.tolist(), strict=True)))

    def surprise(self, history: Sequence[str], step: str) -> float:
        """Log of how much likelier the likeliest step is, less what is usual at such a place.

        Infinite for an unknown step.
        """
        if step not in self.index:
            return math.inf
        first = not self.encode(history)
        return float(surprises(self._utilities(history), self.usual, first)[self.index[step]])

    def explain(self, history: Sequence[str], step: str) -> str:
        """Names the step that most of all should have come before."""
        if step not in self.index:
            return f"{step!r} is no step of this procedure"
        order, target, done = self._order(self.kind), self.index[step], self.encode(history)
        if not order.seen[target]:
            return f"{step!r} was never done in a correct execution"
        missing = order.required[:, target].copy()
        missing[list(done)] = 0
        first = int(missing.argmax())
        if missing[first] >= 0.5:
            share = round(100 * float(missing[first]))
            return f"{self.steps[first]!r} comes before {step!r} ({share} %) and was not done"
        if target in done and order.twice[target] < math.log(0.5):
            return f"{step!r} was already done"
        return super().explain(history, step)

    def encode(self, steps: Sequence[str]) -> Steps:
        """Steps by their index; unknown ones are left out."""
        return tuple(self.index[s] for s in steps if s in self.index)

    def situations(self, steps: Sequence[str]) -> list[np.ndarray]:
        """(S, F) features of every step at each place of an execution."""
        order, coded = self._order(self.kind), self.encode(steps)
        return [order.features(coded[:place]) for place in range(len(coded))]

    def _levels(self, kind: Sequence[str]) -> list[Counts]:
        """Counts of all examples, then of those that share each kind."""
        for tag in (None, *kind):
            if tag not in self._counts:
                pairs = zip(self.examples, self.sequences, strict=True)
                chosen = [s for e, s in pairs if tag is None or tag in e.kind]
                self._counts[tag] = Counts(len(self.steps), chosen)
        levels = [self._counts[tag] for tag in (None, *kind)]
        return [c for i, c in enumerate(levels) if not i or c.n != levels[i - 1].n]

    def _order(self, kind: tuple[str, ...]) -> Order:
        if kind not in self._orders:
            if len(self._orders) >= KEPT:
                del self._orders[next(iter(self._orders))]
            self._orders[kind] = Order(self._levels(kind))
        return self._orders[kind]

    def _utilities(self, history: Sequence[str]) -> np.ndarray:
        """(S,) utility of every step as the next one."""
        utilities: np.ndarray = self._order(self.kind).features(self.encode(history)) @ self.weights
        return utilities

    def _left_out_utilities(self, *, learn: bool) -> list[list[np.ndarray]]:
        """For each example the utilities at every place, by counts and weights of other examples.

        With `learn` the weights are fitted, and kept; else they are those there are.
        """
        situations = list(self._left_out())
        prior = self.weights
        if not learn:
            return [[x @ prior for x in places] for places in situations]
        self.weights = fit(situations, self.sequences, prior)
        utilities: list[list[np.ndarray]] = [[] for _ in situations]
        for fold in range(min(FOLDS, len(situations))):
            rest = [i for i in range(len(situations)) if i % FOLDS != fold]
            chosen = [self.sequences[i] for i in rest]
            weights = fit([situations[i] for i in rest], chosen, prior, start=self.weights)
            for i in range(fold, len(situations), FOLDS):
                utilities[i] = [x @ weights for x in situations[i]]
        return utilities

    def _left_out(self) -> Iterator[list[np.ndarray]]:
        """For each example the features at every place, by the counts of the other examples."""
        for example, sequence in zip(self.examples, self.sequences, strict=True):
            order = Order([c.without(sequence) for c in self._levels(example.kind)])
            yield [order.features(sequence[:place]) for place in range(len(sequence))]


def openness(utilities: np.ndarray, first: bool) -> np.ndarray:
    """(2,) how open the next step is: -log of the likeliest one's probability, and if it is the
    first, which is often a matter of taste."""
    return np.array([np.log(np.exp(utilities - utilities.max()).sum()), first])


def surprises(utilities: np.ndarray, usual: np.ndarray, first: bool) -> np.ndarray:
    """(S,) log of how much likelier the likeliest step is than each, less what is usual.

    Args:
        utilities: (S,) of the steps.
        usual: (2,) coefficients of `openness`, see `fit_usual`.
        first: whether this is the first step.
    """
    gaps: np.ndarray = utilities.max() - utilities
    return gaps - openness(utilities, first) @ usual


def scores(
    utilities: Sequence[Sequence[np.ndarray]], sequences: Sequence[Steps], usual: np.ndarray
) -> Scores:
    """Surprise at the steps of left out sequences, from (S,) utilities at every place of each."""
    return score(
        (steps, [surprises(u, usual, not place) for place, u in enumerate(places)])
        for steps, places in zip(sequences, utilities, strict=True)
    )


def fit_usual(utilities: Iterable[Sequence[np.ndarray]], sequences: Iterable[Steps]) -> np.ndarray:
    """How surprise at correct steps grows with `openness`: (2,) coefficients by least squares.

    Where much may come next, correct steps are often not the likeliest: what is measured of a
    place makes scores comparable between places, as in locally adaptive conformal prediction
    (Papadopoulos et al. 2008; Lei et al. 2018).

    Args:
        utilities: for each left out sequence the (S,) utilities at every place.
        sequences: what was done there.
    """
    rows = [
        (*openness(u, not place), 1.0, u.max() - u[step])
        for places, steps in zip(utilities, sequences, strict=True)
        for place, (u, step) in enumerate(zip(places, steps, strict=True))
    ]
    table = np.array(rows)
    coefficients: np.ndarray = np.linalg.lstsq(table[:, :3], table[:, 3], rcond=None)[0]
    return coefficients[:2]


def fit(
    situations: Sequence[Sequence[np.ndarray]],
    sequences: Sequence[Steps],
    prior: np.ndarray,
    start: np.ndarray | None = None,
    bounds: Sequence[tuple[float | None, float | None]] | None = None,
) -> np.ndarray:
    """Weights of a conditional logit, drawn towards those of `prior`.

    Args:
        situations: for each sequence the (S, F) features at every place; S may differ.
        sequences: what was chosen there.
        prior: (F,) weights where the sequences say nothing.
        start: (F,) weights to begin with; the prior's when None.
        bounds: smallest and largest value of each weight; none when None.
    """
    places = [features for sequence in situations for features in sequence]
    x = np.concatenate(places)
    sizes = np.array([len(features) for features in places])
    first = np.concatenate([[0], np.cumsum(sizes)[:-1]])
    chosen = first + [step for sequence in sequences for step in sequence]
    scale = x.std(0) + 1e-6

    def loss(weights: np.ndarray) -> tuple[float, np.ndarray]:
        utilities = x @ weights
        utilities -= np.repeat(np.maximum.reduceat(utilities, first), sizes)
        chances = np.exp(utilities)
        totals = np.add.reduceat(chances, first)
        chances /= np.repeat(totals, sizes)
        off = (weights - prior) * scale
        value = (np.log(totals) - utilities[chosen]).sum() + PENALTY / 2 * off @ off
        gradient = chances @ x - x[chosen].sum(0) + PENALTY * off * scale
        return value, gradient

    begin = prior if start is None else start
    return minimize(loss, begin, jac=True, method="L-BFGS-B", bounds=bounds).x
