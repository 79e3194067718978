"""Runs that fail, are interrupted, or have to do with little memory or disk."""

from __future__ import annotations

import signal
import subprocess
import sys
import threading
import time
import traceback
import tracemalloc
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import av
import pytest

from tests.video.clips import (
    Brightest,
    Spot,
    decode,
    write_clip,
)
from tests.video.runs import frames_of, lines, run_one
from vision.results import Frame, Result

ROOT = Path(__file__).parents[2]


class Failing(Brightest):
    def predict(self, images: Sequence[Frame], **options: Any) -> list[Spot]:
        if images[0][28, :30].max() < 200:  # the square has moved on
            raise ZeroDivisionError("in predict")
        return super().predict(images)


def fail_to_draw(frame: Frame, result: Result) -> Frame:
    raise ZeroDivisionError("in draw")


@pytest.mark.parametrize(
    ("changes", "where"),
    [({"predictor": Failing()}, "predict"), ({"draw": fail_to_draw}, "fail_to_draw")],
)
def test_bugs_surface_once_with_their_traceback(
    changes: dict[str, Any], where: str, clip: Path, tmp_path: Path
) -> None:
    before = set(threading.enumerate())
    with pytest.raises(ZeroDivisionError) as caught:
        run_one(clip, tmp_path, batch=4, **changes)
    assert where in "".join(traceback.format_tb(caught.tb))
    assert caught.value.__context__ is None
    assert set(threading.enumerate()) == before
    kept = frames_of(tmp_path / "clip.jsonl")
    assert lines(tmp_path / "clip.jsonl")[-1]["type"] != "summary"
    if where == "predict":
        assert kept
        assert len(decode(tmp_path / "clip.mp4")[0]) == len(kept)


class Interrupting(Brightest):
    calls = 0

    def predict(self, images: Sequence[Frame], **options: Any) -> list[Spot]:
        self.calls += 1
        if self.calls == 4:
            signal.raise_signal(signal.SIGINT)
        return super().predict(images)


def test_interrupt_leaves_valid_outputs(sounding: Path, tmp_path: Path) -> None:
    before = set(threading.enumerate())
    with pytest.raises(KeyboardInterrupt):
        run_one(sounding, tmp_path, predictor=Interrupting(), batch=4)
    assert set(threading.enumerate()) == before
    kept = frames_of(tmp_path / "sounding.jsonl")
    assert len(kept) == 12
    times, _ = decode(tmp_path / "sounding.mp4")
    assert times == pytest.approx([f["time"] for f in kept], abs=1e-4)


SLOWLY = """
import sys, time
from pathlib import Path
from tests.video.clips import *
from tests.video.runs import run_one

class Slow(Brightest):
    def predict(self, images, **options):
        time.sleep(0.005 * len(images))
        return super().predict(images)

run_one(sys.argv[1], Path(sys.argv[2]), predictor=Slow())
"""


@pytest.mark.parametrize("still", [False, True])
@pytest.mark.parametrize("how", [signal.SIGKILL, signal.SIGINT])
def test_killed_process_leaves_all_but_the_last_two_seconds(
    how: signal.Signals, still: bool, tmp_path: Path
) -> None:
    path = write_clip(tmp_path / "long.mp4", 600, still=still, audio="aac")
    records = tmp_path / "out" / "long.jsonl"
    child = subprocess.Popen(
        [sys.executable, "-c", SLOWLY, str(path), str(tmp_path / "out")],
        cwd=ROOT,
        stderr=subprocess.DEVNULL,
    )
    try:
        deadline = time.monotonic() + 180
        while not records.exists() or records.read_bytes().count(b"\n") < 150:
            assert time.monotonic() < deadline
            time.sleep(0.01)
    finally:
        child.send_signal(how)
        child.wait(60)
    kept = frames_of(records)  # every line is whole
    times, _ = decode(tmp_path / "out" / "long.mp4")
    assert 140 <= len(kept) < 600
    assert kept[-1]["time"] - times[-1] < 2
    assert times == pytest.approx([f["time"] for f in kept[: len(times)]], abs=1e-4)
    with av.open(str(tmp_path / "out" / "long.mp4")) as container:
        assert list(container.decode(audio=0))[-1].time > times[-1] - 1.1


FULL_DISK = """
import resource, signal, sys
from pathlib import Path
from tests.video.clips import *
from tests.video.runs import run_one
from vision.errors import FoveateError
resource.setrlimit(resource.RLIMIT_FSIZE, (20_000, 20_000))
signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
try:
    run_one(sys.argv[1], Path(sys.argv[2]))
except FoveateError as error:
    print(error)
"""


def test_disk_that_fills_up(tmp_path: Path) -> None:
    """The first 20 kB fit: what was written before stays whole."""
    path = write_clip(tmp_path / "long.mp4", 300, (128, 96))
    output = tmp_path / "out"
    done = python(FULL_DISK, str(path), str(output))
    assert done.stdout.strip().startswith(f"cannot write {output}")
    assert len(done.stdout.splitlines()) == 1
    assert len(frames_of(output / "long.jsonl")) > 20
    assert len(decode(output / "long.mp4")[0]) > 20


def python(code: str, *arguments: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-c", code, *arguments],
        cwd=ROOT,
        capture_output=True,
        text=True,
        timeout=300,
        check=True,
    )


def test_memory_is_flat(tmp_path: Path) -> None:
    """2,000 frames of 27 kB each: 55 MB if they were kept."""
    path = write_clip(tmp_path / "long.mp4", 2000, (128, 72))
    frame = 128 * 72 * 3
    live: list[int] = []

    class Watching(Brightest):
        def predict(self, images: Sequence[Frame], **options: Any) -> list[Spot]:
            live.append(int(Path("/proc/self/statm").read_text().split()[1]) * 4096)
            return super().predict(images)

    tracemalloc.start()
    try:
        report = run_one(path, tmp_path / "out", predictor=Watching(), batch=4)
        _, peak = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert report.summary.frames == 2000
    assert peak < 150 * frame  # read-ahead, batches under way, and what the records need
    assert max(live[250:]) - live[250] < 20e6  # nor does FFmpeg hold on to frames
