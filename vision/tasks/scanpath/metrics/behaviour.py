"""What a viewer does: search, refixate, revisit, end on the target (Fang et al., ECCV 2024)."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
from numpy.typing import ArrayLike


class Behaviour(NamedTuple):
    """Figures of one path of objects, or means of them.

    Args:
        correct: whether the last object is the target.
        length: number of fixations.
        search: share of the fixations that come upon an object not seen before.
        refixation: share that stay on the object.
        revisit: share that come back to an object seen before.
    """

    correct: float
    length: float
    search: float
    refixation: float
    revisit: float


def behaviour(path: ArrayLike, target: int) -> Behaviour:
    """Behaviour of one path.

    Args:
        path: `(T,)` object ids in viewing order; an empty path has zeros.
        target: object id.
    """
    ids = np.asarray(path).ravel()
    if not len(ids):
        return Behaviour(0.0, 0.0, 0.0, 0.0, 0.0)
    runs = 1 + np.count_nonzero(np.diff(ids))
    seen = len(np.unique(ids))
    parts = np.array([seen, len(ids) - runs, runs - seen]) / len(ids)
    return Behaviour(float(ids[-1] == target), float(len(ids)), *parts.tolist())


def mean_behaviour(trials: Sequence[Sequence[ArrayLike]], targets: Sequence[int]) -> Behaviour:
    """Mean over the paths of a trial, then over trials; a trial without paths is left out.

    Args:
        trials: for each trial its paths.
        targets: for each trial its target.
    """
    means = [
        np.mean([behaviour(path, target) for path in paths], axis=0)
        for paths, target in zip(trials, targets, strict=True)
        if len(paths)
    ]
    return Behaviour(*np.mean(means, axis=0).tolist())


def behaviour_delta(predicted: Behaviour, human: Behaviour, *, official: bool = False) -> float:
    """Mean relative difference of five figures; lower is better.

    Args:
        predicted: means of the model.
        human: means of the viewers.
        official: divide by the human mean even where it is 0, which gives infinity. By default
            the difference to 0 is taken as it is.
    """
    ours, theirs = np.array(predicted), np.array(human)
    if not official:
        return float((np.abs(ours - theirs) / np.where(theirs == 0, 1, theirs)).mean())
    with np.errstate(divide="ignore", invalid="ignore"):
        return float(np.nansum(np.abs(ours - theirs) / theirs) / len(theirs))


def step_similarity(probabilities: ArrayLike, path: ArrayLike) -> float:
    """Mean probability given to the object that was looked at, step by step.

    Args:
        probabilities: `(T, C)` of each step, given the human path before it.
        path: `(T,)` the objects looked at.
    """
    table, ids = np.asarray(probabilities), np.asarray(path)
    return float(table[np.arange(len(ids)), ids].mean())


def bits_per_fixation(log_probabilities: ArrayLike, prior: ArrayLike = 0.0) -> float:
    """Mean information gain a fixation over a prior, in bits.

    Args:
        log_probabilities: `(T,)` natural logarithms of what the model gave to each fixation.
        prior: `(T,)` of what a prior gave, such as the centre bias; 0 for the plain likelihood.
    """
    return float(np.mean(np.asarray(log_probabilities) - np.asarray(prior)) / np.log(2))
