"""Actions painted on the frames of their video."""

from __future__ import annotations

import cv2
import numpy as np

from vision.results import Frame
from vision.tasks.localization.results import Actions
from vision.tasks.localization.timeline import Span, colour, ink, paint_lane


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
    size = max(0.4, height / 600)
    bar = round(34 * size)
    lane = max(4, bar // 3)
    top = height - bar - lane
    picture[top:] = picture[top:] // 4
    left = round(8 * size)
    # The surest of each class: where runs at several thresholds overlap, one label is enough.
    now = [a for a in result.actions if a.start <= time < a.end]
    for label in dict.fromkeys(a.label for a in sorted(now, key=lambda a: -a.score)):
        score = max(a.score for a in now if a.label == label)
        text = f"{label} {score:.2f}"
        (wide, high), _ = cv2.getTextSize(text, cv2.FONT_HERSHEY_SIMPLEX, size, 1)
        shade = colour(result.labels.index(label))
        right, bottom = left + wide + round(10 * size), top + bar - 2
        cv2.rectangle(picture, (left, top + 2), (right, bottom), shade, cv2.FILLED)
        place = (left + round(5 * size), top + (bar + high) // 2)
        cv2.putText(
            picture, text, place, cv2.FONT_HERSHEY_SIMPLEX, size, ink(shade), 1, cv2.LINE_AA
        )
        left = right + round(6 * size)
    spans = [Span(a.start, a.end, result.labels.index(a.label)) for a in result.actions]
    paint_lane(picture[height - lane :], spans, result.start, result.end)
    cursor = round((time - result.start) / max(result.end - result.start, 1e-6) * (width - 1))
    cv2.line(picture, (cursor, height - lane), (cursor, height - 1), (255, 255, 255), 2)
    return picture
