"""From the end of a training to weights that ship: measured and catalogued."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from vision.catalogue import read_weights
from vision.errors import FoveateError
from vision.pretraining import STUDIES
from vision.release import arguments, enter, run, trial

SCORES = {
    "classification": ("top1", "top5"),
    "droppos": ("accuracy", "accuracy assigned", "chance"),
}
"""Task of the weights -> figures of its evaluation that go into the catalogue."""


def release(
    trained: Path,
    *,
    images: Path,
    into: Path,
    name: str | None = None,
    history: Sequence[str] = (),
    default: bool = False,
) -> dict[str, float]:
    """Measure weights of a classifier or a pretext and write them into a catalogue.

    Args:
        trained: what `foveate train classification`, `sparsifiner` or `droppos` wrote.
        images: held-out pictures to measure on.
        into: folder of the catalogue.
        name: that they ship under; the file's own when None.
        history: how they came about, kept in the file.
        default: whether their task uses them when the user names none.

    Returns:
        The score.

    Raises:
        FoveateError: weights of another task, or a file that is too large.
    """
    weights = read_weights(trained)
    task = weights.metadata["task"]
    if task not in SCORES:
        raise FoveateError(f"{trained} is for {task}; want {' or '.join(SCORES)}")
    target = into / f"{name or trained.stem}.safetensors"
    metadata = {**weights.metadata, "history": [*history]}
    (study,) = (study for study in STUDIES if study.name == task)
    with trial(weights.tensors, metadata) as path:
        report = study.load("evaluate")(path, images=images)
    score = {part: round(report[part], 4) for part in SCORES[task] if report[part] is not None}
    enter(target, weights.tensors, metadata, score, default=default)
    return score


def main() -> None:
    """Measure what a training wrote and enter it into the catalogue."""
    parser = arguments(main.__doc__)
    parser.add_argument("--images", type=Path, required=True, help="held-out pictures")
    parser.add_argument("--name", help="that they ship under")
    parser.add_argument("--history", action="append", default=[], help="a line on their making")
    given = vars(parser.parse_args())
    trained = given.pop("weights")
    print(f"{given['name'] or trained.stem}: {release(trained, **given)}")


if __name__ == "__main__":
    run(main)
