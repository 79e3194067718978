"""From the end of a training to weights that ship: fewer classes, measured, catalogued."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from torch import Tensor

from vision.catalogue import read_weights
from vision.release import arguments, enter, run, trial
from vision.tasks.detection.evaluate import evaluate

CLASSIFIER = "head.classification_head.cls_logits"


def keep_classes(
    tensors: dict[str, Tensor], metadata: dict[str, Any], names: set[str]
) -> tuple[dict[str, Tensor], dict[str, Any]]:
    """Weights and metadata of a detector that knows only the classes named.

    An FCOS classifier has one row a class, so the others' rows are cut out; nothing else changes.
    """
    categories = metadata["categories"]
    rows = [n for n, category in enumerate(categories) if category["name"] in names]
    kept = dict(tensors)
    for part in ("weight", "bias"):
        kept[f"{CLASSIFIER}.{part}"] = tensors[f"{CLASSIFIER}.{part}"][rows]
    return kept, {**metadata, "categories": [categories[n] for n in rows]}


def main() -> None:
    """Measure weights, drop the classes below `--least`, and write them into the catalogue."""
    parser = arguments(main.__doc__)
    parser.add_argument("--annotations", type=Path, required=True)
    parser.add_argument("--images", type=Path, required=True)
    parser.add_argument("--least", type=float, default=0.0, help="AP50 that a class must reach")
    parser.add_argument("--threshold", type=float, default=0.3, help="default score threshold")
    given = parser.parse_args()

    weights = read_weights(given.weights)
    metadata = {**weights.metadata, "threshold": given.threshold}
    target = given.into / given.weights.name

    def measure(tensors: dict[str, Tensor], metadata: dict[str, Any]) -> dict[str, Any]:
        with trial(tensors, metadata) as path:
            return evaluate(path, annotations=given.annotations, images=given.images)

    table = measure(weights.tensors, metadata)["per_class"]
    good = {name for name, values in table.items() if values["AP50"] >= given.least}
    tensors, metadata = keep_classes(weights.tensors, metadata, good)
    report = measure(tensors, metadata)
    first = metadata["categories"][0]["name"]
    score = {
        "AP": round(report["AP"], 4),
        "AP50": round(report["AP50"], 4),
        f"AP50 {first}": round(report["per_class"][first]["AP50"], 4),
    }
    enter(target, tensors, metadata, score, default=given.default)
    print(f"{target}: {len(good)} classes, {score}")


if __name__ == "__main__":
    run(main)
