"""From the end of a training to weights that ship: measured and catalogued."""

from __future__ import annotations

from pathlib import Path

from vision.catalogue import read_weights
from vision.release import arguments, enter, run
from vision.tasks.localization.evaluate import evaluate


def main() -> None:
    """Measure weights and write them into the catalogue."""
    parser = arguments(main.__doc__)
    parser.add_argument("--annotations", type=Path, required=True)
    parser.add_argument("--videos", type=Path, required=True)
    parser.add_argument("--threshold", type=float, default=0.3, help="default score threshold")
    given = parser.parse_args()

    weights = read_weights(given.weights)
    report = evaluate(str(given.weights), annotations=given.annotations, videos=given.videos)
    score = {
        f"mAP@.3:.1:.7 {name}": round(figures["average"], 4)
        for name, figures in report["groups"].items()
    }
    metadata = {**weights.metadata, "threshold": given.threshold}
    target = given.into / given.weights.name
    enter(target, weights.tensors, metadata, score, default=given.default)
    print(f"{target}: {score}")


if __name__ == "__main__":
    run(main)
