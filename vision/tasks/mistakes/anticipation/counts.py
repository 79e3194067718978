"""How often steps were done, before which others and after which, with back-off over kinds."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence

import numpy as np

POSITIONS = 16
"""Places in a sequence that are told apart; later ones count as the last of them."""

NEAR = 3
"""A step is near those done up to so many places before it."""

PRIOR_COUNT = 2.0
"""Weight of what more general examples say, as a number of observations."""

Steps = Sequence[int]
"""A sequence of steps by their index."""


class Counts:
    """Counts over sequences of `size` steps S. A step done twice is placed where it is first.

    Attributes:
        n: sequences.
        has: (S,) sequences that have the step.
        twice: (S,) sequences that have it more than once.
        after: (S + 1, S) `[a, b]`, b directly after a; the last row is the start.
        before: (S, S) `[a, b]`, sequences where a comes before b.
        near: (S, S) `[a, b]`, how often b came up to `NEAR` places after a.
        at: (POSITIONS, S) sequences where the step is at that place.
    """

    def __init__(self, size: int, sequences: Iterable[Steps] = ()) -> None:
        self.n = 0.0
        self.has = np.zeros(size, np.float32)
        self.twice = np.zeros(size, np.float32)
        self.after = np.zeros((size + 1, size), np.float32)
        self.before = np.zeros((size, size), np.float32)
        self.near = np.zeros((size, size), np.float32)
        self.at = np.zeros((POSITIONS, size), np.float32)
        for steps in sequences:
            self._add(steps, 1)

    def without(self, steps: Steps) -> Counts:
        """The counts as they were without this sequence."""
        other = Counts(0)
        other.__dict__ = {k: v if k == "n" else v.copy() for k, v in self.__dict__.items()}
        other._add(steps, -1)
        return other

    def _add(self, steps: Steps, weight: int) -> None:
        self.n += weight
        previous = len(self.has)
        first: dict[int, int] = {}
        for place, step in enumerate(steps):
            self.after[previous, step] += weight
            for other in set(steps[max(0, place - NEAR) : place]) - {step}:
                self.near[other, step] += weight
            first.setdefault(step, place)
            previous = step
        order = list(first)
        for i, step in enumerate(order):
            self.has[step] += weight
            self.twice[step] += weight * (steps.count(step) > 1)
            self.at[min(first[step], POSITIONS - 1), step] += weight
            self.before[step, order[i + 1 :]] += weight


Part = Callable[[Counts], np.ndarray]


def backed_off(
    levels: Sequence[Counts], part: Part, whole: Part, prior: np.ndarray | float
) -> np.ndarray:
    """A share `part / whole` of the last level, drawn towards that of the levels before it.

    Args:
        levels: counts from general to exact.
        part: array of counts of a level.
        whole: array that they are a part of.
        prior: the share where nothing was counted.

    Returns:
        Posterior means under a prior of `PRIOR_COUNT` observations a level (hierarchical
        Dirichlet smoothing; MacKay and Peto 1995).
    """
    share = prior
    for level in levels:
        share = (part(level) + PRIOR_COUNT * share) / (whole(level) + PRIOR_COUNT)
    return np.asarray(share)


class Order:
    """What backed-off counts say of the next step, as features.

    Args:
        levels: counts from general to exact.
    """

    FEATURES = (
        "next",
        "present",
        "done",
        "repeat",
        "early",
        "skipped",
        "share_skipped",
        "others_first",
        "overtaken",
        "late",
        "near",
        "place",
        "hazard",
    )

    AGAINST = ("done", "skipped", "share_skipped", "others_first", "overtaken")

    def __init__(self, levels: Sequence[Counts]) -> None:
        size = len(levels[0].has)
        self.seen = levels[0].has > 0
        self.after = np.log(
            backed_off(levels, lambda c: c.after, lambda c: c.after.sum(1, keepdims=True), 1 / size)
        )
        self.has = backed_off(levels, lambda c: c.has, lambda c: np.array(c.n), 1 / size)
        self.twice = np.log(backed_off(levels, lambda c: c.twice, lambda c: c.has, 0.05))
        self.near = backed_off(
            levels, lambda c: c.near, lambda c: c.has[:, None], np.float32(1) * self.has[None]
        )
        by_place = backed_off(levels, lambda c: np.cumsum(c.at, 0), lambda c: c.has[None], 0.5)
        self.by_place = np.log(by_place)
        self.hazard = np.log(
            backed_off(
                levels, lambda c: c.at, lambda c: c.n - (np.cumsum(c.at, 0) - c.at), 1 / size
            )
        )
        required = backed_off(levels, lambda c: c.before, lambda c: c.has[None], 0.0)
        order = backed_off(levels, lambda c: c.before, lambda c: c.before + c.before.T, 0.5)
        np.fill_diagonal(order, 0)
        self.required = required
        self.log_free = np.log(1 - np.minimum(required, 0.99))
        self.order = order
        self.log_kept = np.log(1 - np.minimum(order.T, 0.98))
        self.expected = order * self.has[:, None]
        self.sums = tuple(x.sum(0) for x in (self.log_free, self.required, self.expected))

    def features(self, history: Steps) -> np.ndarray:
        """Features of every step as the next one.

        Args:
            history: steps done, oldest first.

        Returns:
            (S, F) array, its columns named by `FEATURES`.
        """
        done = sorted(set(history))
        was_done = np.zeros(len(self.has), bool)
        was_done[done] = True
        place = min(len(history), POSITIONS - 1)
        free, required, others = (
            total - table[done].sum(0)
            for total, table in zip(
                self.sums, (self.log_free, self.required, self.expected), strict=True
            )
        )
        nothing = np.zeros(len(self.has))
        columns = {
            "next": self.after[history[-1] if history else -1],
            "present": np.log(self.has),
            "done": was_done,
            "repeat": was_done * self.twice,
            "early": free,
            "skipped": np.log1p(np.maximum(required, 0)),
            "share_skipped": required / (1 + self.sums[1]),
            "others_first": others,
            "overtaken": self.order[:, done].max(1) if done else nothing,
            "late": self.log_kept[done].sum(0),
            "near": np.log(self.near[list(history[-NEAR:])].mean(0) if history else self.has),
            "place": self.by_place[place],
            "hazard": self.hazard[place],
        }
        return np.stack([columns[name] for name in self.FEATURES], 1).astype(float)
