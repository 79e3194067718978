"""Videos of correct executions as lists of steps."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from vision.errors import FoveateError
from vision.tasks.mistakes.aggregate import aggregate, window_frames
from vision.tasks.mistakes.clips import frame_scores, steps_of
from vision.tasks.mistakes.predict import MistakeChecker


def recognise(videos: Sequence[Path], weights: str | None, device: str | None) -> list[list[str]]:
    """The steps of each video, by name.

    Args:
        videos: files.
        weights: recogniser by name or path; the default one when None.
        device: where to run.

    Raises:
        FoveateError: a video that cannot be read, or in which no step is recognised.
    """
    checker = MistakeChecker.from_weights(weights, device=device)
    config = checker.config
    background = [config.classes.index(name) for name in config.background]
    length = window_frames(config.window, checker.encoder.rate)
    sequences = []
    for path in videos:
        looks, _ = checker.encoder.look_at(path)
        labels = frame_scores(checker.model, checker.encoder, looks).argmax(1)
        found = steps_of(aggregate(labels, length, config.windows), background)
        if not found:
            raise FoveateError(f"no step was recognised in {path}")
        sequences.append([config.classes[step] for step in found])
    return sequences
