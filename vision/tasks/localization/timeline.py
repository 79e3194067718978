"""Actions as coloured spans on a time axis."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import cv2
import numpy as np

from vision.results import Frame

Colour = tuple[int, int, int]

COLOURS: tuple[Colour, ...] = (
    (0, 114, 178),
    (230, 159, 0),
    (0, 158, 115),
    (213, 94, 0),
    (204, 121, 167),
    (86, 180, 233),
    (240, 228, 66),
    (153, 153, 153),
)
"""Okabe and Ito's colours, which most colour-blind people can tell apart."""

FONT = cv2.FONT_HERSHEY_SIMPLEX
WIDTH, LEFT, LANE, GAP, AXIS, KEY = 1200, 110, 32, 10, 34, 26
"""Pixels: of the picture, left of the lanes, of a lane, between rows, of the axis, and of a row of
the key."""


@dataclass(frozen=True)
class Span:
    """A part of a lane: seconds, index of the class, and what is written on it."""

    start: float
    end: float
    kind: int
    text: str = ""


def colour(kind: int) -> Colour:
    """Colour of a class by its index; after the eighth, the same ones darker."""
    red, green, blue = COLOURS[kind % len(COLOURS)]
    share = 0.6 ** (kind // len(COLOURS))
    return int(red * share), int(green * share), int(blue * share)


def ink(background: Colour) -> Colour:
    """Black or white, whichever has the larger contrast with a colour (WCAG 2.2)."""
    red, green, blue = ((c / 255) ** 2.2 for c in background)
    luminance = 0.2126 * red + 0.7152 * green + 0.0722 * blue
    return (0, 0, 0) if (luminance + 0.05) ** 2 > 0.05 * 1.05 else (255, 255, 255)


def paint_lane(lane: Frame, spans: Sequence[Span], start: float, end: float) -> None:
    """Paint spans into a lane `(H, W, 3)` that stands for the time from start to end.

    Args:
        lane: painted in place.
        spans: later ones lie above earlier ones.
        start: seconds at its left edge.
        end: seconds at its right edge.
    """
    height, width = lane.shape[:2]
    scale = width / max(end - start, 1e-6)
    for span in spans:
        left = round((span.start - start) * scale)
        right = max(left + 1, round((span.end - start) * scale))
        left, right = max(0, left), min(width, right)
        if right <= left:
            continue
        shade = colour(span.kind)
        lane[:, left:right] = shade
        lane[:, left : left + 1] = 255
        (wide, high), _ = cv2.getTextSize(span.text, FONT, 0.45, 1)
        if span.text and wide + 6 < right - left:
            place = (left + 4, (height + high) // 2)
            cv2.putText(lane, span.text, place, FONT, 0.45, ink(shade), 1, cv2.LINE_AA)


def stack(spans: Sequence[Span]) -> list[list[Span]]:
    """Distribute spans over as few lanes as keep those that overlap apart; at least one lane."""
    lanes: list[list[Span]] = [[]]
    for span in sorted(spans, key=lambda s: (s.start, s.end)):
        free = next((lane for lane in lanes if not lane or lane[-1].end <= span.start), None)
        if free is None:
            lanes.append(free := [])
        free.append(span)
    return lanes


def paint_timeline(
    rows: Sequence[tuple[str, Sequence[Span]]], start: float, end: float, labels: Sequence[str]
) -> Frame:
    """A picture with one row above the other over a time axis, and a key of the colours.

    Args:
        rows: name and spans of each, from the top; spans that overlap lie below one another.
        start: seconds at the left.
        end: seconds at the right.
        labels: classes by their index; those that come up are in the key.

    Returns:
        `(H, W, 3)` uint8 RGB.
    """
    end = max(end, start + 1e-3)
    stacks = [(name, stack(spans)) for name, spans in rows]
    bottom = GAP + sum(len(lanes) * LANE + GAP for _, lanes in stacks)
    picture = np.full((bottom + AXIS, WIDTH, 3), 255, np.uint8)
    right, top = WIDTH - 20, GAP
    for name, lanes in stacks:
        height = len(lanes) * LANE
        place = (8, top + height // 2 + 5)
        cv2.putText(picture, name, place, FONT, 0.5, (0, 0, 0), 1, cv2.LINE_AA)
        picture[top : top + height, LEFT:right] = 236
        for lane in lanes:
            paint_lane(picture[top + 1 : top + LANE - 1, LEFT:right], lane, start, end)
            top += LANE
        top += GAP
    step = tick_step(end - start)
    for tick in np.arange(np.ceil(start / step), np.floor(end / step) + 1) * step:
        x = LEFT + round((tick - start) / (end - start) * (right - LEFT))
        cv2.line(picture, (x, bottom - GAP // 2), (x, bottom), (0, 0, 0), 1)
        text = f"{tick:g} s"
        (wide, _), _ = cv2.getTextSize(text, FONT, 0.42, 1)
        place = (min(x - wide // 2, WIDTH - wide - 2), bottom + 18)
        cv2.putText(picture, text, place, FONT, 0.42, (0, 0, 0), 1, cv2.LINE_AA)
    kinds = sorted({span.kind for _, spans in rows for span in spans})
    return np.concatenate([picture, *_key([(kind, labels[kind]) for kind in kinds])])


def _key(entries: Sequence[tuple[int, str]]) -> list[Frame]:
    """Rows of coloured squares, each with its class beside it."""
    rows: list[Frame] = []
    x = WIDTH
    for kind, label in entries:
        (wide, _), _ = cv2.getTextSize(label, FONT, 0.45, 1)
        if x + wide + 40 > WIDTH:
            rows.append(np.full((KEY, WIDTH, 3), 255, np.uint8))
            x = LEFT
        rows[-1][4:18, x : x + 14] = colour(kind)
        cv2.putText(rows[-1], label, (x + 20, 16), FONT, 0.45, (0, 0, 0), 1, cv2.LINE_AA)
        x += wide + 44
    return rows


def tick_step(seconds: float) -> float:
    """Seconds between ticks, so that there are about ten: 1, 2 or 5 times a power of ten."""
    rough = max(seconds, 1e-3) / 10
    power = 10.0 ** np.floor(np.log10(rough))
    return float(next(m * power for m in (1, 2, 5, 10) if m * power >= rough * (1 - 1e-9)))
