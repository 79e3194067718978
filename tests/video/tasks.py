"""A small task of each kind, with all that a declaration may have."""

from __future__ import annotations

import csv
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any, Self

from tests.video.clips import Brightest, Spot
from vision.errors import FoveateError
from vision.results import Frame, Result
from vision.tasks.base import Option, SourceLike, Task


class Flash(Result):
    """The square passed the middle."""

    time: float


class Flashes(Result):
    """All times that it did, and how many frames were seen."""

    times: list[float]
    frames: int


class Spotter(Brightest):
    """The frame task's predictor. Weights of the name "none" are missing."""

    @classmethod
    def from_weights(
        cls, weights: str | None = None, *, device: str | None = None, half: bool = False
    ) -> Self:
        if weights == "none":
            raise FoveateError("no weights 'none'")
        return cls()

    def predict(self, images: Sequence[Frame], *, shift: int = 0) -> list[Spot]:
        return [Spot(x=spot.x + shift, y=spot.y) for spot in super().predict(images)]


class FlashFinder:
    """The stream task's predictor: says when the square passes the middle."""

    @classmethod
    def from_weights(
        cls, weights: str | None = None, *, device: str | None = None, half: bool = False
    ) -> Self:
        return cls()

    def begin(self, *, middle: int = 29, job: Path | None = None) -> None:
        self.middle = middle
        self.times: list[float] = []
        self.frames = 0

    def update(self, frames: Sequence[Frame], times: Sequence[float]) -> list[Flash]:
        self.frames += len(frames)
        spots = zip(Brightest().predict(frames), times, strict=True)
        found = [time for spot, time in spots if abs(spot.x - self.middle) <= 1]
        self.times += found
        return [Flash(time=time) for time in found]

    def finish(self) -> Flashes:
        return Flashes(times=self.times, frames=self.frames)


class SpotTable:
    """A CSV with a row a frame."""

    def __init__(self, stem: Path, info: SourceLike, *, unit: str = "px") -> None:
        self.paths = [stem.with_name(f"{stem.name}-spots.csv")]
        self.rows: list[list[Any]] = [["name", "time", f"x ({unit})", info.width, info.fps]]

    def add(self, frame: Frame, time: float, name: str, result: Spot) -> None:
        self.rows.append([name, time, result.x, frame.shape[1], ""])

    def close(self, result: None) -> list[Path]:
        with self.paths[0].open("w", newline="") as file:
            csv.writer(file).writerows(self.rows)
        return self.paths


class FlashList:
    """A text with a line a flash."""

    def __init__(self, stem: Path, info: SourceLike) -> None:
        self.paths = [stem.with_name(f"{stem.name}-flashes.txt")]

    def close(self, result: Flashes) -> list[Path]:
        self.paths[0].write_text("".join(f"{time:g}\n" for time in result.times))
        return self.paths


def draw_flash(frame: Frame, result: Flashes, time: float) -> Frame:
    """Paint the frame green while the square passes the middle."""
    painted = frame.copy()
    if any(abs(time - at) < 1e-3 for at in result.times):
        painted[:] = (0, 255, 0)
    return painted


def count_spots(results: Iterable[Spot]) -> list[dict[str, int]]:
    """How many frames were brightest on the right."""
    return [{"on the right": sum(spot.x > 32 for spot in results)}]


def list_flashes(results: Iterable[Flashes]) -> list[dict[str, float]]:
    """A row a flash."""
    (result,) = results
    return [{"flash at": time} for time in result.times]


def alone(
    output: Path, weights: str | None, device: str | None, *, middle: int, job: Path | None
) -> None:
    """Write down what was asked for."""
    if job is None:
        raise FoveateError("--middle needs a SOURCE or --job")
    output.mkdir(parents=True, exist_ok=True)
    (output / "alone.txt").write_text(f"{job.read_text()} {middle} {weights} {device}")


SPOTS = Task(
    name="spots",
    verb="spot",
    summary="Find the brightest place",
    kind="frame",
    result="tests.video.clips:Spot",
    predictor="tests.video.tasks:Spotter",
    draw="tests.video.clips:draw_spot",
    digest="tests.video.tasks:count_spots",
    evaluate="",
    report="",
    train="",
    demo="",
    options=(Option("shift", int, 0, "Pixels to add"),),
    every=0.5,
    files="tests.video.tasks:SpotTable",
    file_options=(Option("unit", str, "px", "Of the table"),),
)

FLASHES = Task(
    name="flashes",
    verb="flash",
    summary="Say when the square passes the middle",
    kind="stream",
    result="tests.video.tasks:Flashes",
    event="tests.video.tasks:Flash",
    predictor="tests.video.tasks:FlashFinder",
    draw="tests.video.tasks:draw_flash",
    digest="tests.video.tasks:list_flashes",
    evaluate="",
    report="",
    train="",
    demo="",
    options=(
        Option("middle", int, 29, "Where the middle is"),
        Option("job", Path, None, "A text to copy, instead of a source"),
    ),
    files="tests.video.tasks:FlashList",
    alone="tests.video.tasks:alone",
)
