"""The benchmark measures every stage, and the pipeline keeps pace with the slowest."""

from __future__ import annotations

import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest

from tests.video.clips import Brightest, Spot, draw_spot
from video.bench import bench_video, print_bench
from video.sources import expand
from vision.results import Frame


class Waiting(Brightest):
    """Takes 4 ms a frame without a core, as a predictor on a GPU does."""

    def predict(self, images: Sequence[Frame], **options: Any) -> list[Spot]:
        time.sleep(0.004 * len(images))
        return [Spot(x=0, y=0) for _ in images]


def test_stages_overlap(sample_clip: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (source,) = expand([sample_clip])
    records = bench_video(source, Waiting(), draw_spot, frames=96, repeats=3)
    by_stage = {record["stage"]: record for record in records}
    assert list(by_stage) == ["decode", "inference", "encode", "whole"]
    assert {record["frames"] for record in records} == {96}
    assert min(record["share"] for record in records[:3]) == 1
    alone = sum(by_stage[name]["seconds"] for name in ("decode", "inference", "encode"))
    assert by_stage["whole"]["seconds"] < alone
    print_bench(records)
    shown = capsys.readouterr().out
    assert all(name in shown for name in by_stage)
