"""The steps of a video as JSON, as a table and as a timeline."""

from __future__ import annotations

import csv
import io
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
from PIL import Image, ImageDraw

from vision.results import Frame
from vision.tasks.mistakes.draw import RED, WHITE, Colour, expectation, write
from vision.tasks.mistakes.results import Checked, CheckedStep
from vision.writing import write_whole

if TYPE_CHECKING:
    from vision.tasks.base import SourceLike

WIDTH, MARGIN, ROW, LINE = 1200, 24, 46, 24
ROUND = (1, 2, 5, 10, 30, 60, 120, 300, 600, 1800, 3600)
"""Seconds that may lie between two numbers of the axis."""
INK: Colour = (40, 40, 40)
GREY: Colour = (110, 110, 110)
PALETTE: tuple[Colour, ...] = (
    (0, 114, 178), (0, 128, 94), (146, 92, 0), (128, 72, 140), (50, 110, 150), (90, 90, 90),
)  # fmt: skip
"""Dark enough for white letters, after Okabe and Ito; red is for flags alone."""


class CheckFiles:
    """Writes `<stem>-steps.json`, `<stem>-steps.csv` and `<stem>-timeline.png`.

    Args:
        stem: path that the files' names begin with.
        info: what is known of the source.
    """

    def __init__(self, stem: Path, info: SourceLike) -> None:
        self.paths = [
            stem.with_name(f"{stem.name}-{end}")
            for end in ("steps.json", "steps.csv", "timeline.png")
        ]

    def close(self, result: Checked) -> list[Path]:
        """Write the files for the whole video, and name them."""
        picture = io.BytesIO()
        Image.fromarray(timeline(result)).save(picture, "PNG")
        contents: tuple[str | bytes, ...] = (
            f"{result.model_dump_json(indent=1)}\n",
            table(result.steps),
            picture.getvalue(),
        )
        for path, content in zip(self.paths, contents, strict=True):
            write_whole(path, content)
        return self.paths


def table(steps: Sequence[CheckedStep]) -> str:
    """Steps as CSV, a row each; the three expected ones as `name probability`."""
    text = io.StringIO()
    rows = csv.writer(text, lineterminator="\n")
    names = ("start", "end", "said", "step", "score", "mistake", "surprise")
    rows.writerow((*names, "expected_1", "expected_2", "expected_3", "why"))
    for step in steps:
        expected = [f"{e.step} {e.probability:g}" for e in step.expected]
        values = step.model_dump(include=set(names))
        values["mistake"] = int(step.mistake)
        cells = ["" if values[name] is None else values[name] for name in names]
        rows.writerow((*cells, *(expected + [""] * 3)[:3], step.why))
    return text.getvalue()


def timeline(result: Checked) -> Frame:
    """A picture of the steps over time, flagged ones in red, and below what was expected instead.

    Args:
        result: of the whole video.

    Returns:
        `(H, 1200, 3)` uint8 RGB.
    """
    flagged = result.mistakes
    height = MARGIN + LINE + ROW + 2 * LINE + 2 * LINE * max(1, len(flagged)) + LINE + MARGIN
    picture = Image.new("RGB", (WIDTH, height), WHITE)
    canvas = ImageDraw.Draw(picture)
    inner = WIDTH - 2 * MARGIN
    title = f"{result.procedure}: {len(result.steps)} steps, {len(flagged)} flagged"
    hint = "triangles: when each was known"
    write(canvas, [f"{title}; {hint}", title], (MARGIN, MARGIN), 16, inner, INK)
    write(canvas, [result.note], (MARGIN, height - MARGIN), 13, inner, GREY)
    top = MARGIN + LINE
    length = max(result.end - result.start, 1e-3)

    def across(time: float) -> float:
        return MARGIN + inner * min(max((time - result.start) / length, 0.0), 1.0)

    colours = dict.fromkeys(step.step for step in result.steps)
    names = list(colours)
    canvas.rectangle((MARGIN, top, WIDTH - MARGIN, top + ROW), outline=GREY)
    for step in result.steps:
        left, right = across(step.start), across(result.end if step.end is None else step.end)
        colour = RED if step.mistake else PALETTE[names.index(step.step) % len(PALETTE)]
        canvas.rectangle((left, top, max(right - 1, left + 1), top + ROW), fill=colour)
        write(canvas, [step.step], (left + 4, top + ROW / 2), 13, max(right - left - 8, 1))
        said = across(step.said)
        canvas.polygon(
            [(said - 5, top + ROW + 9), (said + 5, top + ROW + 9), (said, top + ROW + 1)],
            fill=RED if step.mistake else GREY,
        )
    _axis(canvas, result, across, top + ROW + 10)
    _flags(canvas, flagged, top + ROW + 2 * LINE + LINE / 2)
    return np.asarray(picture)


def _flags(canvas: ImageDraw.ImageDraw, flagged: Sequence[CheckedStep], place: float) -> None:
    """What was expected instead of each flagged step, and why, in two lines."""
    inner = WIDTH - 2 * MARGIN
    for step in flagged:
        line = f"{step.start:.1f} s  {step.step}: {expectation(step)}"
        write(canvas, [line], (MARGIN, place), 15, inner, RED)
        write(canvas, [step.why], (MARGIN + 52, place + LINE * 0.85), 13, inner - 52, INK)
        place += 2 * LINE
    if not flagged:
        write(canvas, ["no step was flagged"], (MARGIN, place), 15, inner, INK)


def _axis(
    canvas: ImageDraw.ImageDraw, result: Checked, across: Callable[[float], float], top: float
) -> None:
    """Seconds below the bar, in round numbers."""
    length = result.end - result.start
    every = next((s for s in ROUND if length / s <= 24), length / 12)
    for tick in np.arange(np.ceil(result.start / every), result.end // every + 1) * every:
        x = across(float(tick))
        canvas.line((x, top - 10, x, top - 4), fill=GREY)
        write(canvas, [f"{tick:g} s"], (x - 8, top + LINE * 0.5), 12, 60, GREY)
