"""From the end of a training to weights that ship: measured and catalogued."""

from __future__ import annotations

import argparse
from pathlib import Path

from vision.catalogue import add_to_catalogue, read_weights, write_weights
from vision.tasks.localization.evaluate import evaluate


def main() -> None:
    """Measure weights and write them into the catalogue."""
    parser = argparse.ArgumentParser(description=main.__doc__)
    parser.add_argument("weights", type=Path, help="what `foveate train localization` wrote")
    parser.add_argument("--annotations", type=Path, required=True)
    parser.add_argument("--videos", type=Path, required=True)
    parser.add_argument("--threshold", type=float, default=0.3, help="default score threshold")
    parser.add_argument("--default", action="store_true", help="what `foveate localize` uses")
    parser.add_argument("--into", type=Path, default=Path("weights"))
    given = parser.parse_args()

    weights = read_weights(given.weights)
    report = evaluate(str(given.weights), annotations=given.annotations, videos=given.videos)
    score = {
        f"mAP@.3:.1:.7 {name}": round(figures["average"], 4)
        for name, figures in report["groups"].items()
    }
    metadata = {**weights.metadata, "threshold": given.threshold, "score": score}
    target = given.into / given.weights.name
    write_weights(target, weights.tensors, metadata)
    add_to_catalogue(target, default=given.default)
    print(f"{target}: {score}")


if __name__ == "__main__":
    main()
