"""How fast video goes through: each stage of the pipeline alone, and all of them together."""

from __future__ import annotations

import tempfile
import time
from collections.abc import Callable, Sequence
from itertools import islice
from math import inf, nextafter
from pathlib import Path
from typing import Any

from rich.console import Console
from rich.table import Table

from video.pipeline import Draw, run
from video.reader import open_reader
from video.sinks import VideoSink
from video.sources import Source, expand
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
    with open_reader(source) as reader:
        info, sample = reader.info, list(islice(reader, frames))
    end = None if len(sample) < frames else nextafter(sample[-1].time, inf)
    groups = [sample[i : i + batch] for i in range(0, len(sample), batch)]

    def infer() -> list[Any]:
        return [r for group in groups for r in predictor.predict([f.image for f in group])]

    results = infer()  # warms up, too

    with tempfile.TemporaryDirectory() as folder:

        def decode() -> None:
            with open_reader(source) as reader:
                for _ in islice(reader, len(sample)):
                    pass

        def encode() -> None:
            with VideoSink(Path(folder, "encode.mp4"), info) as sink:
                for frame, result in zip(sample, results, strict=True):
                    sink.write(frame, draw(frame.image, result))

        def whole() -> None:
            run(
                source,
                predictor=predictor,
                draw=draw,
                output=Path(folder),
                task="bench",
                end=end,
                batch=batch,
            )

        stages = {"decode": decode, "inference": infer, "encode": encode, "whole": whole}
        rounds = [{name: _seconds(stage) for name, stage in stages.items()} for _ in range(repeats)]
    seconds = {name: sorted(r[name] for r in rounds)[repeats // 2] for name in stages}
    slowest = max(seconds[name] for name in stages if name != "whole")
    return [
        {
            "stage": name,
            "frames": len(sample),
            "seconds": round(taken, 3),
            "fps": round(len(sample) / taken, 1),
            "share": round(slowest / taken, 2),
        }
        for name, taken in seconds.items()
    ]


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
