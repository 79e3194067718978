"""A procedure from videos of correct executions."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from vision.errors import FoveateError
from vision.tasks.mistakes.clips import frame_scores, recognised_steps
from vision.tasks.mistakes.predict import MistakeChecker
from vision.tasks.mistakes.procedure import Example, Procedure


def recognise(
    name: str,
    videos: Sequence[Path],
    kind: tuple[str, ...],
    weights: str | None,
    device: str | None,
) -> Procedure:
    """A procedure of the steps that are recognised in each video.

    Args:
        name: what users will call it.
        videos: files; their names become the examples' ids.
        kind: what was made in all of them.
        weights: recogniser by name or path; the default one when None.
        device: where to run.

    Raises:
        FoveateError: a video that cannot be read, or in which no step is recognised.
    """
    checker = MistakeChecker.from_weights(weights, device=device)
    examples = []
    for path in videos:
        looks, _ = checker.encoder.look_at(path)
        found = recognised_steps(checker, frame_scores(checker.model, checker.encoder, looks))
        if not found:
            raise FoveateError(f"no step was recognised in {path}")
        steps = tuple(checker.config.classes[step] for step in found)
        examples.append(Example(steps=steps, id=path.stem, kind=kind))
    note = f"steps recognised by {checker.name}: {checker.note}"
    return Procedure(name=name, note=note, examples=tuple(examples))
