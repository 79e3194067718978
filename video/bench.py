"""How fast video goes through: each stage of the pipeline alone, and all of them together."""

from __future__ import annotations

import tempfile
import time
from collections.abc import Callable, Mapping, Sequence
from itertools import islice
from math import inf, nextafter
from pathlib import Path
from statistics import median_high
from typing import Any

from rich.console import Console
from rich.table import Table

from video.frames import Selection
from video.pipeline import run
from video.reader import open_reader
from video.sinks import VideoSink
from video.sources import Source, expand
from video.work import Draw
from vision.errors import FoveateError
from vision.tasks import get_task
from vision.tasks.base import FramePredictor

SAMPLE = Path(__file__).parents[1] / "tests" / "data" / "people_cc_by.mp4"

Records = list[dict[str, Any]]


def bench_video(
    source: Source,
    predictor: FramePredictor,
    draw: Draw,
    *,
    batch: int = 8,
    frames: int = 256,
    repeats: int = 3,
) -> Records:
    """Measure decoding, inference and encoding alone, then the whole pipeline.

    The stages run in turn, `repeats` times, and the median counts, so that a machine that slows
    down meets all of them.

    Args:
        source: a video.
        predictor: of a frame task.
        draw: paints its results; counted with encoding, as both run in the writing thread.
        batch: frames that go to the predictor at once.
        frames: most frames of the source to measure with, all held in memory at once.
        repeats: times that each is measured.

    Returns:
        One record each for `decode`, `inference`, `encode` and `whole`: `stage`, `frames`,
        `seconds`, `fps`, and `share`, its speed as a share of that of the slowest stage alone.
    """
    with tempfile.TemporaryDirectory() as folder:
        stages = _Stages(source, predictor, draw, batch, frames, Path(folder))
        timed = {
            "decode": stages.decode,
            "inference": stages.infer,
            "encode": stages.encode,
            "whole": stages.whole,
        }
        seconds = _medians(timed, repeats)
    count = len(stages.sample)
    slowest = max(taken for name, taken in seconds.items() if name != "whole")
    return [
        {
            "stage": name,
            "frames": count,
            "seconds": round(taken, 3),
            "fps": round(count / taken, 1),
            "share": round(slowest / taken, 2),
        }
        for name, taken in seconds.items()
    ]


class _Stages:
    """The stages of the pipeline over the first frames of a source, each to be run alone."""

    def __init__(
        self,
        source: Source,
        predictor: FramePredictor,
        draw: Draw,
        batch: int,
        frames: int,
        folder: Path,
    ) -> None:
        self.source, self.predictor, self.draw = source, predictor, draw
        self.batch, self.folder = batch, folder
        with open_reader(source) as reader:
            self.info, self.sample = reader.info, list(islice(reader, frames))
        whole = len(self.sample) < frames
        self.end = None if whole else nextafter(self.sample[-1].time, inf)
        self.results = self.infer()  # warms up, too

    def decode(self) -> None:
        """Read as many frames as the sample has."""
        with open_reader(self.source) as reader:
            for _ in islice(reader, len(self.sample)):
                pass

    def infer(self) -> list[Any]:
        """Predict on the sample."""
        starts = range(0, len(self.sample), self.batch)
        groups = ([f.image for f in self.sample[i : i + self.batch]] for i in starts)
        return [result for group in groups for result in self.predictor.predict(group)]

    def encode(self) -> None:
        """Paint and write the sample."""
        with VideoSink(self.folder / "encode.mp4", self.info) as sink:
            for frame, result in zip(self.sample, self.results, strict=True):
                sink.write(frame, self.draw(frame.image, result))

    def whole(self) -> None:
        """Run the pipeline over what the sample was taken from."""
        run(
            self.source,
            predictor=self.predictor,
            draw=self.draw,
            output=self.folder,
            task="bench",
            selection=Selection(end=self.end),
            batch=self.batch,
        )


def _medians(stages: Mapping[str, Callable[[], object]], repeats: int) -> dict[str, float]:
    """Median seconds of each stage, all measured in turn."""
    rounds = [{name: _seconds(stage) for name, stage in stages.items()} for _ in range(repeats)]
    return {name: median_high(taken[name] for taken in rounds) for name in stages}


def bench_detect(quick: bool = False) -> tuple[Records, Callable[[Records], None]]:
    """Measure the default detector on the sample clip.

    Args:
        quick: whether to measure a few frames once.

    Returns:
        The records of `bench_video`, and `print_bench` to show them.
    """
    if not SAMPLE.is_file():
        raise FoveateError(
            f"the sample clip {SAMPLE} is missing; run this in a checkout of foveate"
        )
    task = get_task("detection")
    predictor = task.load("predictor").from_weights()
    (source,) = expand([SAMPLE])
    size = {"frames": 32, "repeats": 1} if quick else {}
    return bench_video(source, predictor, task.load("draw"), **size), print_bench


def print_bench(records: Sequence[dict[str, Any]]) -> None:
    """Show the records of `bench_video` as a table."""
    table = Table("stage", "frames", "seconds", "frames/s", "of slowest stage")
    for record in records:
        table.add_row(
            record["stage"],
            str(record["frames"]),
            f"{record['seconds']:.2f}",
            f"{record['fps']:.1f}",
            f"{record['share']:.2f}",
        )
    Console().print(table)


def _seconds(stage: Callable[[], object]) -> float:
    began = time.perf_counter()
    stage()
    return time.perf_counter() - began
