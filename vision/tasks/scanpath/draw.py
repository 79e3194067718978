"""Scanpaths painted on their frame: numbered circles as large as looks are long, and arrows."""

from __future__ import annotations

from itertools import pairwise

import cv2
import numpy as np

from vision.results import Frame
from vision.tasks.scanpath.results import Fixation, Scanpath, Scanpaths

COLOURS = ((0, 114, 178), (230, 159, 0), (0, 158, 115), (213, 94, 0), (204, 121, 167))
"""Okabe and Ito's, RGB: most colour-blind people can tell them apart."""

USUAL = 0.25
"""Seconds of a fixation with a circle of middle size."""


def draw(frame: Frame, result: Scanpaths) -> Frame:
    """Paint the first path, with the others faint behind it.

    Args:
        frame: `(H, W, 3)` uint8 RGB; left as it is.
        result: paths in pixels of the frame.

    Returns:
        A painted copy.
    """
    picture = frame.copy()
    unit = max(frame.shape[:2]) / 400
    for number, path in list(enumerate(result.paths))[:0:-1]:
        colour = COLOURS[number % len(COLOURS)]
        points = np.array([(f.x, f.y) for f in path.fixations]).round().astype(np.int32)
        layer = picture.copy()
        cv2.polylines(layer, [points], False, colour, max(1, round(unit)), cv2.LINE_AA)
        for x, y in points.tolist():
            cv2.circle(layer, (x, y), max(2, round(2.5 * unit)), colour, -1, cv2.LINE_AA)
        picture = cv2.addWeighted(layer, 0.45, picture, 0.55, 0)
    paint_target(picture, result)
    if result.paths:
        paint_path(picture, result.paths[0])
    return picture


def paint_target(picture: Frame, result: Scanpaths) -> None:
    """Outline, in place, the objects that are looked for."""
    width = max(1, round(max(picture.shape[:2]) / 300))
    boxes = [seen.box for seen in result.objects if seen.target]
    if boxes:  # patches of one target share an outline
        mask = np.zeros(picture.shape[:2], np.uint8)
        for box in boxes:
            x1, y1, x2, y2 = (round(value) for value in box)
            mask[max(0, y1) : y2, max(0, x1) : x2] = 1
        outlines, _ = cv2.findContours(mask, cv2.RETR_EXTERNAL, cv2.CHAIN_APPROX_SIMPLE)
        cv2.drawContours(picture, outlines, -1, (255, 255, 255), width + 2)
        cv2.drawContours(picture, outlines, -1, (213, 94, 0), width)


def paint_path(picture: Frame, path: Scanpath, *, now: float | None = None) -> None:
    """Paint a path in place.

    Args:
        picture: `(H, W, 3)` uint8 RGB.
        path: in pixels of the picture.
        now: paint what has begun by this time only, in seconds (of steps of 0.25 s where the
            path has no times), and the current fixation as large as it has grown.
    """
    unit = max(picture.shape[:2]) / 400
    shown = [
        (f, start, duration)
        for f, (start, duration) in zip(path.fixations, times(path), strict=True)
        if now is None or start <= now
    ]
    centres = [(round(f.x), round(f.y)) for f, _, _ in shown]
    sizes = [
        radius(duration if now is None else min(duration, now - start + 0.05), unit)
        for _, start, duration in shown
    ]
    for n, (a, b) in enumerate(pairwise(centres)):
        way = np.subtract(b, a).astype(float)
        length = float(np.hypot(*way))
        if length <= sizes[n] + sizes[n + 1]:
            continue
        start = tuple(int(v) for v in np.add(a, way / length * sizes[n]).round())
        end = tuple(int(v) for v in np.subtract(b, way / length * sizes[n + 1]).round())
        tip = min(0.4, 7 * unit / max(1.0, length - sizes[n] - sizes[n + 1]))
        for colour, width in (((0, 0, 0), 3), ((255, 255, 255), 1.4)):
            thickness = max(1, round(width * unit))
            cv2.arrowedLine(picture, start, end, colour, thickness, cv2.LINE_AA, tipLength=tip)
    layer = picture.copy()
    for centre, size in zip(centres, sizes, strict=True):
        cv2.circle(layer, centre, size, COLOURS[0], -1, cv2.LINE_AA)
    cv2.addWeighted(layer, 0.65, picture, 0.35, 0, dst=picture)
    for number, (centre, size) in enumerate(zip(centres, sizes, strict=True), 1):
        cv2.circle(picture, centre, size, (255, 255, 255), max(1, round(unit)), cv2.LINE_AA)
        _number(picture, str(number), centre, unit)


def times(path: Scanpath) -> list[tuple[float, float]]:
    """Start and duration in seconds of each fixation; a usual one where there are none."""

    def spent(f: Fixation) -> float:
        return USUAL if f.duration is None else f.duration

    starts = np.cumsum([0.0, *(spent(f) for f in path.fixations)])
    return [(float(s), spent(f)) for s, f in zip(starts[:-1], path.fixations, strict=True)]


def radius(duration: float, unit: float) -> int:
    """Of the circle of a fixation, in pixels: its area grows with the duration."""
    return max(2, round(unit * 9 * float(np.sqrt(np.clip(duration / USUAL, 0.1, 6)))))


def _number(picture: Frame, text: str, centre: tuple[int, int], unit: float) -> None:
    scale, thick = 0.36 * unit, max(1, round(unit))
    (width, height), _ = cv2.getTextSize(text, cv2.FONT_HERSHEY_SIMPLEX, scale, thick)
    place = (centre[0] - width // 2, centre[1] + height // 2)
    white = (255, 255, 255)
    cv2.putText(picture, text, place, cv2.FONT_HERSHEY_SIMPLEX, scale, white, thick, cv2.LINE_AA)
