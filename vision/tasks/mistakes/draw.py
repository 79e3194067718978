"""The step that is being done, painted on a frame, in red when it is flagged."""

from __future__ import annotations

from collections.abc import Sequence
from functools import cache
from pathlib import Path

import numpy as np
from PIL import Image, ImageDraw, ImageFont

from vision.results import Frame
from vision.tasks.mistakes.results import Checked, CheckedStep

Colour = tuple[int, int, int]

WHITE: Colour = (255, 255, 255)
RED: Colour = (190, 30, 30)
DARK: Colour = (34, 34, 34)
BAR = 0.13
"""Height of a line of the bar, as a part of the frame's; never less than `LEAST` pixels."""
LEAST = 14


def step_at(result: Checked, time: float) -> CheckedStep | None:
    """The step that is being done at that time; None between steps."""
    for step in result.steps:
        if step.start <= time < (result.end if step.end is None else step.end):
            return step
    last = result.steps[-1] if result.steps else None
    return last if last is not None and last.end == time == result.end else None


def draw(frame: Frame, result: Checked, time: float) -> Frame:
    """Paint a bar with the step of that time and, when it is flagged, what was expected.

    Args:
        frame: `(H, W, 3)` uint8 RGB; left as it is.
        result: of the whole video.
        time: of the frame, in seconds.

    Returns:
        A painted copy. The flag shows from the beginning of the step; `said` in the records is
        when it was raised.
    """
    step = step_at(result, time)
    flagged = step is not None and step.mistake
    height, width = frame.shape[:2]
    line = min(height, max(LEAST, round(min(height * BAR, width / 12))))
    lines: list[tuple[str, ...]] = [(step.step,)] if step else [("-",)]
    if step is not None and flagged:
        likely = [t for e in step.expected[:1] for t in (f"expected {e.step}", f"{e.step}?")]
        lines = [(f"MISTAKE  {step.step}", step.step), (expectation(step), *likely)]
    picture = Image.fromarray(frame)
    canvas = ImageDraw.Draw(picture, "RGBA")
    top = max(0, height - line * len(lines))
    canvas.rectangle((0, top, width, height), fill=(*(RED if flagged else DARK), 215))
    for n, texts in enumerate(lines):
        place = (line * 0.3, top + line * (n + 0.5))
        write(canvas, texts, place, line * 0.72, width - line * 0.6)
    if flagged:
        edge = max(1, height // 90)
        canvas.rectangle((0, 0, width - 1, height - 1), outline=RED, width=edge)
    return np.asarray(picture).copy()


def expectation(step: CheckedStep) -> str:
    """What was expected instead, in a few words."""
    likely = ", ".join(f"{e.step} {100 * e.probability:.0f} %" for e in step.expected)
    return f"expected {likely}" if likely else "nothing was expected"


def write(
    canvas: ImageDraw.ImageDraw,
    texts: Sequence[str],
    place: tuple[float, float],
    size: float,
    width: float,
    colour: Colour = WHITE,
) -> None:
    """Write the first of some texts that fits, or as much of the last as does.

    Args:
        canvas: to write on.
        texts: a line each, the longest first.
        place: x of its beginning and y of its middle, in pixels.
        size: of the letters in pixels; they may become a quarter smaller.
        width: most pixels that it may take.
        colour: RGB.
    """
    for text in texts:
        font = _font(round(size))
        needed = font.getlength(text)
        if needed > width:
            font = _font(round(max(min(8.0, size), size * max(0.75, width / needed))))
        if font.getlength(text) <= width:
            break
    while len(text) > 1 and font.getlength(text) > width:
        text = text[:-2].rstrip() + "…"
    canvas.text(place, text, font=font, fill=colour, anchor="lm")


@cache
def _font(size: int) -> ImageFont.FreeTypeFont:
    """DejaVu Sans, which has most alphabets; Pillow's own font has no letter with an accent."""
    import matplotlib

    return ImageFont.truetype(
        Path(matplotlib.get_data_path()) / "fonts" / "ttf" / "DejaVuSans.ttf", size
    )
