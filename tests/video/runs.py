"""Runs over one source, and what they wrote."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from tests.video.clips import Brightest, draw_spot
from video.pipeline import SourceReport, run
from video.sources import expand


def run_one(path: Path | str, output: Path, **changes: Any) -> SourceReport:
    (source,) = expand([path])
    settings: dict[str, Any] = {"predictor": Brightest(), "draw": draw_spot, "task": "spots"}
    return run(source, output=output, **{**settings, **changes})


def lines(path: Path) -> list[dict[str, Any]]:
    return [json.loads(line) for line in path.read_text().splitlines()]


def frames_of(path: Path) -> list[dict[str, Any]]:
    return [line for line in lines(path) if line["type"] == "frame"]
