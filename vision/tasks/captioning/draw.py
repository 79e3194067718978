"""Captions painted under their frame, words in the colours of their boxes."""

from __future__ import annotations

from dataclasses import dataclass

import cv2
import numpy as np
import supervision as sv

from vision.results import Frame
from vision.tasks.captioning.results import Caption, Phrase
from vision.tasks.detection.draw import PALETTE

SMALLEST = 96
"""Sides in pixels below which a strip of text could not be read, so that there is none."""

LINES = 3
"""Lines of the strip: enough for the longest caption, so that all frames of a video are alike."""

FONT = cv2.FONT_HERSHEY_SIMPLEX
PAPER, INK = (24, 24, 24), (235, 235, 235)


def draw(frame: Frame, result: Caption) -> Frame:
    """Paint the boxes of a caption's phrases, and the caption on a strip under the picture.

    Args:
        frame: `(H, W, 3)` uint8 RGB; left as it is.
        result: caption of the frame.

    Returns:
        A picture of the same size: the painted one, a little smaller, over the strip. Frames too
        small for text come back with boxes alone.
    """
    height, width = frame.shape[:2]
    painted = _boxes(frame, result.phrases)
    if min(height, width) < SMALLEST:
        return painted
    text = _Text.fitting(width, height)
    room = height - text.height
    scale = room / height
    small = cv2.resize(painted, (max(1, round(width * scale)), room), interpolation=cv2.INTER_AREA)
    page = np.full_like(frame, PAPER)
    left = (width - small.shape[1]) // 2
    page[:room, left : left + small.shape[1]] = small
    _write(page, room, text, result)
    return page


def colours(phrases: list[Phrase]) -> list[tuple[int, int, int]]:
    """A colour (RGB) for each phrase; phrases of one region share it."""
    numbers: dict[int | None, int] = {}
    for phrase in phrases:
        numbers.setdefault(phrase.region, len(numbers))
    return [PALETTE.by_idx(numbers[phrase.region]).as_rgb() for phrase in phrases]


def _boxes(frame: Frame, phrases: list[Phrase]) -> Frame:
    shown = {p.region: (p, c) for p, c in zip(phrases, colours(phrases), strict=True) if p.box}
    if not shown:
        return frame.copy()
    detections = sv.Detections(
        xyxy=np.array([p.box for p, _ in shown.values()], np.float32),
        class_id=np.arange(len(shown)),
    )
    palette = sv.ColorPalette([sv.Color(*colour) for _, colour in shown.values()])
    size = max(frame.shape[:2])
    boxes = sv.BoxAnnotator(color=palette, thickness=max(1, round(size / 250)))
    picture = boxes.annotate(np.ascontiguousarray(frame[:, :, ::-1]), detections)
    return np.ascontiguousarray(picture[:, :, ::-1])


@dataclass(frozen=True)
class _Text:
    """How large text is: OpenCV's scale and its thickness."""

    scale: float

    @classmethod
    def fitting(cls, width: int, height: int) -> _Text:
        """Text of which 40 letters fill the width, and the lines at most a third of the height."""
        letter = cv2.getTextSize("n", FONT, 1.0, 1)[0][0]
        return cls(min(width / (40 * letter), height / (3 * LINES * 32)))

    @property
    def thickness(self) -> int:
        """Width of a letter's strokes in pixels."""
        return max(1, round(self.scale * 1.6))

    @property
    def line(self) -> int:
        """Height of a line in pixels."""
        return max(8, round(32 * self.scale))

    @property
    def height(self) -> int:
        """Height of the strip in pixels."""
        return LINES * self.line + self.line // 2

    def width(self, words: str) -> int:
        """Width of words in pixels."""
        return int(cv2.getTextSize(words, FONT, self.scale, self.thickness)[0][0])

    def wrap(self, words: list[str], width: int) -> list[list[str]]:
        """Words in lines no wider than `width` pixels."""
        lines: list[list[str]] = [[]]
        for word in words:
            if lines[-1] and self.width(" ".join([*lines[-1], word])) > width:
                lines.append([])
            lines[-1].append(word)
        return lines


def _write(page: Frame, top: int, text: _Text, result: Caption) -> None:
    """Write the caption in the middle of the strip, words in the colours of their phrases."""
    room = page.shape[1] - text.line
    words = result.caption.split()
    strip = page.shape[0] - top
    while len(lines := text.wrap(words, room)) > LINES and text.scale > 0.1:
        text = _Text(0.9 * text.scale)
    tints = list(zip(result.phrases, colours(result.phrases), strict=True))
    y = top + (strip - len(lines) * text.line) // 2 + round(0.75 * text.line)
    start = 0
    for line in lines:
        x = (page.shape[1] - text.width(" ".join(line))) // 2
        for word in line:
            colour = INK
            for phrase, tint in tints:
                if phrase.box and phrase.start <= start < phrase.end:
                    colour = _legible(tint)
            cv2.putText(page, word, (x, y), FONT, text.scale, colour, text.thickness, cv2.LINE_AA)
            x += text.width(f"{word} ")
            start += len(word) + 1
        y += text.line


def _legible(colour: tuple[int, int, int]) -> tuple[int, int, int]:
    """A colour made bright enough for the dark strip."""
    red, green, blue = (round(c + (255 - c) * 0.35) for c in colour)
    return red, green, blue
