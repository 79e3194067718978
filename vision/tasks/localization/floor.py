"""What a localizer must beat: guesses that look at no frame.

They read the classes and their usual length off the truth that they are measured on, which nobody
could do beforehand: a floor that is rather too high than too low. Scores are random, so that the
order of the guesses is.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Mapping
from typing import Any

import numpy as np

from vision.tasks.localization.metrics import Database

Spans = Mapping[str, tuple[float, float]]
"""Start and end of every video in seconds."""

Guesses = dict[str, list[dict[str, Any]]]


def whole_videos(truth: Database, spans: Spans, rng: np.random.Generator) -> Guesses:
    """Every class throughout every video."""
    labels = list(_lengths(truth))
    return {video: [_guess(*spans[video], label, rng) for label in labels] for video in truth}


def usual_lengths(truth: Database, spans: Spans, rng: np.random.Generator) -> Guesses:
    """Every class all over every video, in segments of its median length that overlap by half."""
    guesses: Guesses = {video: [] for video in truth}
    for label, lengths in _lengths(truth).items():
        length = max(float(np.median(lengths)), 0.1)
        for video, found in guesses.items():
            first, last = spans[video]
            for start in np.arange(first, max(last - length / 2, first + 1e-3), length / 2):
                found.append(_guess(start, min(start + length, last), label, rng))
    return guesses


FLOORS = {"whole video": whole_videos, "usual length": usual_lengths}


def _guess(start: float, end: float, label: str, rng: np.random.Generator) -> dict[str, Any]:
    return {"segment": [start, end], "label": label, "score": rng.random()}


def _lengths(truth: Database) -> dict[str, list[float]]:
    """Seconds of the actions of every class."""
    lengths = defaultdict(list)
    for entry in truth.values():
        for action in entry["annotations"]:
            start, end = action["segment"]
            lengths[action["label"]].append(end - start)
    return dict(lengths)
