"""Captions painted on their frame as subtitles, words in the colours of their boxes."""

from __future__ import annotations

from dataclasses import dataclass

import cv2
import numpy as np
import supervision as sv

from vision.results import Frame
from vision.tasks.captioning.results import Caption, Phrase
from vision.tasks.detection.draw import PALETTE

SMALLEST = 96
"""Sides in pixels below which text could not be read, so that there is none."""

FONT = cv2.FONT_HERSHEY_SIMPLEX
INK = (245, 245, 245)

SHADE = 0.3
"""What is left of the light of the picture behind the text."""


def draw(frame: Frame, result: Caption) -> Frame:
    """Paint the boxes of a caption's phrases, and the caption over a dark band at the bottom.

    Args:
        frame: `(H, W, 3)` uint8 RGB; left as it is.
        result: caption of the frame.

    Returns:
        A painted copy. Frames too small for text come back with boxes alone.
    """
    picture = _boxes(frame, result.phrases)
    if result.caption and min(frame.shape[:2]) >= SMALLEST:
        _subtitle(picture, result)
    return picture


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
    """How large text is: OpenCV's scale, and what follows from it."""

    scale: float

    @classmethod
    def fitting(cls, words: list[str], width: int, height: int) -> tuple[_Text, list[list[str]]]:
        """The largest text whose lines take a third of the height at most, and these lines.

        There is room for 40 letters in a line, or for the longest word.
        """
        letter = cv2.getTextSize("n", FONT, 1.0, 1)[0][0]
        text = cls(min(width / (40 * letter), height / (8 * 32)))
        while text.scale > 0.1:
            lines = text.wrap(words, width - text.line)
            widest = max(text.width(" ".join(line)) for line in lines)
            if widest <= width - text.line and len(lines) * text.line <= height / 3:
                break
            text = cls(0.9 * text.scale)
        return text, text.wrap(words, width - text.line)

    @property
    def thickness(self) -> int:
        """Width of a letter's strokes in pixels."""
        return max(1, round(self.scale * 1.6))

    @property
    def line(self) -> int:
        """Height of a line in pixels."""
        return max(8, round(32 * self.scale))

    def width(self, words: str) -> int:
        """Width of words in pixels."""
        return int(cv2.getTextSize(words, FONT, self.scale, self.thickness)[0][0])

    def wrap(self, words: list[str], width: int) -> list[list[str]]:
        """Words in lines no wider than `width` pixels, a longer word alone in its line."""
        lines: list[list[str]] = [[]]
        for word in words:
            if lines[-1] and self.width(" ".join([*lines[-1], word])) > width:
                lines.append([])
            lines[-1].append(word)
        return lines


def _subtitle(picture: Frame, result: Caption) -> None:
    """Write the caption at the bottom, in place, words in the colours of their phrases."""
    height, width = picture.shape[:2]
    text, lines = _Text.fitting(result.caption.split(), width, height)
    top = height - len(lines) * text.line - text.line // 2
    picture[top:] = picture[top:] * SHADE
    tints = list(zip(result.phrases, colours(result.phrases), strict=True))
    y = top + text.line
    start = 0
    for line in lines:
        x = (width - text.width(" ".join(line))) // 2
        for word in line:
            colour = INK
            for phrase, tint in tints:
                if phrase.box and phrase.start <= start < phrase.end:
                    colour = _legible(tint)
            cv2.putText(
                picture, word, (x, y), FONT, text.scale, colour, text.thickness, cv2.LINE_AA
            )
            x += text.width(f"{word} ")
            start += len(word) + 1
        y += text.line


def _legible(colour: tuple[int, int, int]) -> tuple[int, int, int]:
    """A colour made bright enough for the dark band."""
    red, green, blue = (round(c + (255 - c) * 0.35) for c in colour)
    return red, green, blue
