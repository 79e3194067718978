"""Weights and thresholds for procedures with few examples, learnt from a procedure with many.

    python -m vision.tasks.mistakes.anticipation.prior

prints `PRIOR`, `PRIOR_USUAL` and `PRIOR_THRESHOLDS` of `choice.py`: some examples of a recipe of
CaptainCook4D are made known, others are judged by them, for every number of known ones.
"""

from __future__ import annotations

import random
from collections import defaultdict
from collections.abc import Iterator, Sequence

import numpy as np

from vision.tasks.mistakes.anticipation import choice
from vision.tasks.mistakes.anticipation.counts import Order, Steps
from vision.tasks.mistakes.procedure import Example, Procedure, load_procedure

MOST_KNOWN = 7
REPEATS = 5
TOLD_APART = 3
JUDGED = 3

BOUNDS = [(None, 0.0) if name in Order.AGAINST else (0.0, None) for name in Order.FEATURES]
"""Each feature speaks for a step or against it, and is not used the other way round: features
are alike, and weights of opposite signs would fit correct executions and fail on mistakes."""


def splits(
    recipes: Sequence[Procedure], known: int, chance: random.Random
) -> Iterator[tuple[choice.Choice, list[Example]]]:
    """For each recipe what `known` of its examples teach, and others of them to judge."""
    for recipe in recipes:
        shuffled = chance.sample(recipe.examples, len(recipe.examples))
        some = recipe.model_copy(update={"examples": tuple(shuffled[:known])})
        yield choice.Choice(some), shuffled[known : known + JUDGED]


def main() -> None:
    """Print the constants."""
    whole = load_procedure("captaincook4d")
    recipes = [
        Procedure(name="-".join(kind), examples=tuple(e for e in whole.examples if e.kind == kind))
        for kind in dict.fromkeys(e.kind for e in whole.examples)
    ]
    numbers = [n for n in range(1, MOST_KNOWN + 1) for _ in range(REPEATS)]

    chance = random.Random(0)
    situations, sequences = [], []
    for known in numbers:
        for made, others in splits(recipes, known, chance):
            for example in others:
                situations.append(made.situations(example.steps))
                sequences.append(made.encode(example.steps))
    weights = choice.fit(situations, sequences, np.zeros(len(Order.FEATURES)), bounds=BOUNDS)
    choice.PRIOR.update(zip(Order.FEATURES, weights.round(2).tolist(), strict=True))
    print("PRIOR =", choice.PRIOR)

    chance = random.Random(1)
    utilities: dict[int, list[list[np.ndarray]]] = defaultdict(list)
    done: dict[int, list[Steps]] = defaultdict(list)
    for known in numbers:
        for made, others in splits(recipes, known, chance):
            few = min(known, TOLD_APART)
            for example in others:
                utilities[few].append([x @ made.weights for x in made.situations(example.steps)])
                done[few].append(made.encode(example.steps))
    usual = [choice.fit_usual(utilities[n], done[n]).round(2) for n in utilities]
    print("PRIOR_USUAL =", tuple(tuple(u.tolist()) for u in usual))
    thresholds = [
        choice.scores(utilities[n], done[n], u).threshold()
        for n, u in zip(utilities, usual, strict=True)
    ]
    print("PRIOR_THRESHOLDS =", tuple(round(t, 2) for t in thresholds))


if __name__ == "__main__":
    main()
