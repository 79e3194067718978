"""Actions painted on the frames of their video."""

from __future__ import annotations

from collections.abc import Sequence

import cv2
import numpy as np

from vision.results import Frame
from vision.tasks.localization.results import Actions
from vision.tasks.localization.timeline import FONT, Span, colour, ink, paint_lane


def draw(frame: Frame, result: Actions, time: float) -> Frame:
    """Paint what happens at a time: a bar of labels, and the whole video's timeline below it.

    Args:
        frame: `(H, W, 3)` uint8 RGB; left as it is.
        result: of the whole video.
        time: of the frame, in seconds of the video's clock.

    Returns:
        A painted copy.
    """
    picture = np.ascontiguousarray(frame).copy()
    height, width = picture.shape[:2]
    size = max(0.4, min(height, width) / 600)
    bar = round(34 * size)
    lane = max(4, bar // 3)
    top = max(0, height - bar - lane)
    picture[top:] = picture[top:] // 4
    ranked = sorted(result.actions, key=lambda a: -a.score)
    # The surest of each class: where runs at several thresholds overlap, one label is enough.
    now: dict[str, float] = {}
    for action in ranked:
        if action.start <= time < action.end:
            now.setdefault(action.label, action.score)
    labels = [(result.labels.index(label), f"{label} {score:.2f}") for label, score in now.items()]
    _paint_labels(picture[top : top + bar], labels, size)
    spans = [Span(a.start, a.end, result.labels.index(a.label)) for a in reversed(ranked)]
    paint_lane(picture[height - lane :], spans, result.start, result.end)
    cursor = round((time - result.start) / max(result.end - result.start, 1e-6) * (width - 1))
    cv2.line(picture, (cursor, height - lane), (cursor, height - 1), (255, 255, 255), 2)
    return picture


def _paint_labels(bar: Frame, labels: Sequence[tuple[int, str]], size: float) -> None:
    """Paint classes and texts into a bar, side by side."""
    left, height = round(8 * size), len(bar)
    for kind, text in labels:
        (wide, high), _ = cv2.getTextSize(text, FONT, size, 1)
        shade = colour(kind)
        right = left + wide + round(10 * size)
        cv2.rectangle(bar, (left, 2), (right, height - 2), shade, cv2.FILLED)
        place = (left + round(5 * size), (height + high) // 2)
        cv2.putText(bar, text, place, FONT, size, ink(shade), 1, cv2.LINE_AA)
        left = right + round(6 * size)
