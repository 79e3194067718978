"""From the ends of trainings to weights that ship: averaged, measured, catalogued."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import torch
from torch import Tensor

from vision.catalogue import Weights, read_weights
from vision.errors import FoveateError
from vision.release import arguments, enter, run, trial
from vision.tasks.captioning.evaluate import evaluate


def average(weights: Sequence[Weights]) -> dict[str, Tensor]:
    """Mean of the weights of trainings that began alike (a model soup, Wortsman et al. 2022).

    Raises:
        FoveateError: they have not the same words or tensors.
    """
    first = weights[0]
    for other in weights[1:]:
        if other.metadata["words"] != first.metadata["words"]:
            raise FoveateError(f"{other.name} and {first.name} have not the same words")
        if other.tensors.keys() != first.tensors.keys():
            raise FoveateError(f"{other.name} and {first.name} are not of one architecture")
    return {name: torch.stack([w.tensors[name] for w in weights]).mean(0) for name in first.tensors}


def main() -> None:
    """Average trained captioners, measure the result, and write it into the catalogue."""
    parser = arguments(main.__doc__)
    parser.add_argument("more", type=Path, nargs="*", help="weights of other trainings")
    parser.add_argument("--annotations", type=Path, required=True)
    parser.add_argument("--images", type=Path, required=True)
    given = parser.parse_args()

    trained = [read_weights(path) for path in (given.weights, *given.more)]
    seeds = [w.metadata["recipe"]["seed"] for w in trained]
    metadata = {**trained[0].metadata, "seeds": seeds}
    target = given.into / given.weights.name
    tensors = average(trained)
    with trial(tensors, metadata) as path:
        report = evaluate(path, annotations=given.annotations, images=given.images)
    scores = report["captions"]["captioner"]["scores"]
    score = {
        "CIDEr": round(scores["CIDEr"], 4),
        "B@4": round(scores["B@4"], 4),
        "F1_loc per sentence": round(report["grounding"]["returned"]["loc"]["f1_per_sent"], 4),
    }
    enter(target, tensors, metadata, score, default=given.default)
    print(f"{target}: {score}")


if __name__ == "__main__":
    run(main)
