"""From the end of a training to weights that ship: measured from pixels, then catalogued."""

from __future__ import annotations

from pathlib import Path

from vision.catalogue import read_weights
from vision.release import arguments, enter, run
from vision.tasks.mistakes.anticipation import DEFAULT
from vision.tasks.mistakes.evaluate import evaluate


def main() -> None:
    """Measure a recogniser on the test clips of its annotations and enter it into the catalogue."""
    parser = arguments(main.__doc__)
    parser.add_argument("--annotations", type=Path, required=True)
    parser.add_argument("--videos", type=Path, required=True)
    parser.add_argument("--set", default="clips", help="what the figures are of, for their names")
    given = parser.parse_args()

    weights = read_weights(given.weights)
    report = evaluate(str(given.weights), data=str(given.annotations), videos=given.videos)
    figures = {
        "mistake F1": report["rows"][DEFAULT]["f1"],
        "frame mAP": report["recognition"]["mAP"],
    }
    score = {f"{name} {given.set}": round(value, 4) for name, value in figures.items()}
    target = given.into / given.weights.name
    enter(target, weights.tensors, weights.metadata, score, default=given.default)
    print(f"{target}: {score}")


if __name__ == "__main__":
    run(main)
