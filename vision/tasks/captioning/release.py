"""From the ends of trainings to weights that ship: averaged, measured, catalogued."""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from pathlib import Path

import torch
from torch import Tensor

from vision.catalogue import Weights, add_to_catalogue, read_weights, write_weights
from vision.errors import FoveateError
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
    parser = argparse.ArgumentParser(description=main.__doc__)
    parser.add_argument("weights", type=Path, nargs="+", help="what `foveate train` wrote")
    parser.add_argument("--annotations", type=Path, required=True)
    parser.add_argument("--images", type=Path, required=True)
    parser.add_argument("--default", action="store_true", help="what `foveate caption` uses")
    parser.add_argument("--into", type=Path, default=Path("weights"))
    given = parser.parse_args()

    trained = [read_weights(path) for path in given.weights]
    seeds = [w.metadata["recipe"]["seed"] for w in trained]
    metadata = {**trained[0].metadata, "seeds": seeds}
    target = given.into / given.weights[0].name
    tensors = average(trained)
    write_weights(target, tensors, metadata)
    report = evaluate(str(target), annotations=given.annotations, images=given.images)
    scores = report["captions"]["captioner"]["scores"]
    metadata["score"] = {
        "CIDEr": round(scores["CIDEr"], 4),
        "B@4": round(scores["B@4"], 4),
        "F1_loc per sentence": round(report["grounding"]["returned"]["loc"]["f1_per_sent"], 4),
    }
    write_weights(target, tensors, metadata)
    add_to_catalogue(target, default=given.default)
    print(f"{target}: {metadata['score']}")


if __name__ == "__main__":
    main()
