"""Whole runs over small real clips: outputs, errors, interruptions, memory."""

from __future__ import annotations

import json
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
import cv2
import numpy as np
import pytest

from tests.video.clips import (
    Boxes,
    Brightest,
    Spot,
    damage,
    decode,
    draw_spot,
    picture,
    rotate,
    write_clip,
)
from video.crops import save_crops
from video.pipeline import SourceReport, progress_bar, run
from video.sources import expand
from video.tracking import track
from vision.errors import FoveateError
from vision.results import Frame, Result

ROOT = Path(__file__).parents[2]


def run_one(path: Path | str, output: Path, **changes: Any) -> SourceReport:
    (source,) = expand([path])
    settings: dict[str, Any] = {"predictor": Brightest(), "draw": draw_spot, "task": "spots"}
    return run(source, output=output, **{**settings, **changes})


def lines(path: Path) -> list[dict[str, Any]]:
    return [json.loads(line) for line in path.read_text().splitlines()]


def frames_of(path: Path) -> list[dict[str, Any]]:
    return [line for line in lines(path) if line["type"] == "frame"]


def test_real_clip_end_to_end(sample_clip: Path, tmp_path: Path) -> None:
    report = run_one(sample_clip, tmp_path)
    assert report.painted == tmp_path / "people_cc_by.mp4"
    assert report.summary.frames == 187
    assert report.summary.skipped == 0
    head, *frames, summary = lines(report.records)
    assert head["type"] == "header"
    assert (head["width"], head["height"], head["frames"]) == (480, 270, 187)
    assert summary["type"] == "summary"
    times, images = decode(sample_clip)
    assert [f["time"] for f in frames] == times
    expected = Brightest().predict(images)
    assert [Spot(**f["result"]) for f in frames] == expected
    painted_times, painted = decode(report.painted)
    assert painted_times == pytest.approx(times, abs=1e-4)
    for image, original, spot in zip(painted, images, expected, strict=True):
        inside = image[spot.y + 2 : spot.y + 6, spot.x + 2 : spot.x + 6].astype(int)
        if inside.size:
            assert (inside[..., 1] - inside[..., 0]).mean() > 60  # green
        assert np.abs(image.astype(int) - original).mean() < 12


@pytest.mark.parametrize(
    ("selection", "indices"),
    [
        ({"stride": 3}, range(0, 40, 3)),
        ({"start": 0.5, "end": 1.0}, range(10, 20)),
        ({"stride": 15, "start": 0.25}, range(5, 40, 15)),
    ],
)
def test_selected_frames_keep_their_time(
    selection: dict[str, Any], indices: range, clip: Path, tmp_path: Path
) -> None:
    report = run_one(clip, tmp_path, **selection)
    assert [f["index"] for f in frames_of(report.records)] == list(indices)
    times = [i / 20 for i in indices]
    assert [f["time"] for f in frames_of(report.records)] == pytest.approx(times)
    assert report.painted is not None
    assert decode(report.painted)[0] == pytest.approx(times, abs=1e-4)


def test_selection_of_nothing_is_an_error(clip: Path, tmp_path: Path) -> None:
    with pytest.raises(FoveateError, match=r"no frames .*clip\.mp4"):
        run_one(clip, tmp_path, start=60.0)
    assert not (tmp_path / "clip.mp4").exists()


def test_batches_do_not_change_results(clip: Path, tmp_path: Path) -> None:
    runs = [run_one(clip, tmp_path / str(b), batch=b, video=False) for b in (1, 7, 64)]
    first, *others = [frames_of(r.records) for r in runs]
    assert all(other == first for other in others)
    assert [r.painted for r in runs] == [None] * 3
    assert not list(tmp_path.rglob("*.mp4"))


def test_odd_rotated_and_variable(clip: Path, tmp_path: Path) -> None:
    rng = np.random.default_rng(0)
    times = np.cumsum(rng.integers(10, 300, 30) / 1000).tolist()
    sources = [
        write_clip(tmp_path / "odd.mkv", 20, (63, 47), codec="ffv1", options={}, pix_fmt="bgr0"),
        rotate(clip, tmp_path / "rotated.mp4", 90),
        write_clip(tmp_path / "vfr.mkv", times=times, frames=30),
    ]
    for path, size in zip(sources, [(48, 64), (64, 48), (48, 64)], strict=True):
        report = run_one(path, tmp_path / "out")
        assert report.painted is not None
        back, images = decode(report.painted)
        assert images[0].shape[:2] == size
        assert back == pytest.approx([f["time"] for f in frames_of(report.records)], abs=1e-4)


def test_sound_is_kept_or_its_loss_is_said(sounding: Path, tmp_path: Path) -> None:
    report = run_one(sounding, tmp_path / "out")
    assert report.notes == ()
    with av.open(str(report.painted)) as container:
        assert container.streams.audio[0].codec_context.name == "aac"
    mute = write_clip(tmp_path / "mp2.ts", audio="mp2")
    report = run_one(mute, tmp_path / "out")
    assert report.notes == ("mp2 sound does not go into MP4 and is left out",)
    with av.open(str(report.painted)) as container:
        assert not container.streams.audio


def test_stream_url_with_sound(server: str, tmp_path: Path) -> None:
    report = run_one(f"{server}/sounding.mp4", tmp_path)
    assert report.summary.frames == 40
    assert report.notes == ()
    with av.open(str(report.painted)) as container:
        assert container.streams.audio[0].codec_context.name == "aac"


def test_damaged_frames_are_counted(sample_clip: Path, tmp_path: Path) -> None:
    report = run_one(damage(sample_clip, tmp_path / "broken.mp4", 0.3, 20_000), tmp_path / "out")
    assert report.summary.skipped >= 10
    assert report.summary.frames + report.summary.skipped == 187
    assert lines(report.records)[-1]["skipped"] == report.summary.skipped


def test_damaged_sound_does_not_cost_the_picture(tmp_path: Path) -> None:
    content = bytearray(write_clip(tmp_path / "clip.ts", audio="aac").read_bytes())
    rng = np.random.default_rng(0)
    for at in range(0, len(content), 188):  # packets of the transport stream
        track = int.from_bytes(content[at + 1 : at + 3]) & 0x1FFF
        if track == 0x101:  # the sound's
            content[at + 20 : at + 188] = rng.bytes(168)
    (tmp_path / "clip.ts").write_bytes(content)
    report = run_one(tmp_path / "clip.ts", tmp_path / "out")
    assert (report.summary.frames, report.summary.skipped) == (40, 0)
    assert report.painted is not None
    assert len(decode(report.painted)[0]) == 40


def test_pictures_of_a_folder(tmp_path: Path) -> None:
    folder = tmp_path / "pictures"
    for name, size in (("a.png", (64, 48)), ("b.jpg", (33, 50)), ("c.webp", (64, 48))):
        folder.mkdir(exist_ok=True)
        cv2.imwrite(str(folder / name), picture(4, *size)[:, :, ::-1])
    report = run_one(folder, tmp_path / "out")
    assert report.painted == tmp_path / "out" / "pictures"
    records = frames_of(report.records)
    assert [Path(r["file"]).name for r in records] == ["a.png", "b.jpg", "c.webp"]
    assert sorted(p.name for p in report.painted.iterdir()) == ["a.png", "b.jpg", "c.webp"]
    painted = cv2.imread(str(report.painted / "a.png"), cv2.IMREAD_COLOR_RGB)
    spot = Spot(**records[0]["result"])
    assert np.array_equal(painted, draw_spot(picture(4), spot))


def test_one_picture(tmp_path: Path) -> None:
    cv2.imwrite(str(tmp_path / "face.png"), picture(0))
    report = run_one(tmp_path / "face.png", tmp_path / "out")
    assert report.painted == tmp_path / "out" / "face.png"
    assert report.painted.is_file()
    assert report.records == tmp_path / "out" / "face.jsonl"


def test_equal_names_do_not_collide(tmp_path: Path) -> None:
    for folder in ("a", "b"):
        (tmp_path / folder).mkdir()
        write_clip(tmp_path / folder / "clip.mp4", 8 if folder == "a" else 12)
    reports = [
        run(s, predictor=Brightest(), draw=draw_spot, output=tmp_path / "out", task="spots")
        for s in expand([f"{tmp_path}/*/clip.mp4"])
    ]
    assert [r.summary.frames for r in reports] == [8, 12]
    assert len({r.painted for r in reports}) == 2
    assert [len(decode(r.painted)[0]) for r in reports if r.painted] == [8, 12]


# Care for files


def test_sources_are_never_written_over(clip: Path, tmp_path: Path) -> None:
    path = tmp_path / "clip.mp4"
    path.write_bytes(clip.read_bytes())
    with pytest.raises(FoveateError, match=r"clip\.mp4 is not foveate's to replace"):
        run_one(path, tmp_path)
    run_one(path, tmp_path, video=False)  # its records may stand beside it
    with pytest.raises(FoveateError, match=r"clip\.mp4 is not foveate's to replace"):
        run_one(path, tmp_path)
    assert path.read_bytes() == clip.read_bytes()
    cv2.imwrite(str(tmp_path / "face.png"), picture(0))
    before = (tmp_path / "face.png").read_bytes()
    with pytest.raises(FoveateError, match=r"face\.png is not foveate's to replace"):
        run_one(tmp_path / "face.png", tmp_path)
    assert (tmp_path / "face.png").read_bytes() == before


def test_only_earlier_outputs_are_written_over(clip: Path, tmp_path: Path) -> None:
    (tmp_path / "clip.mp4").write_bytes(b"somebody's")
    with pytest.raises(FoveateError, match="not foveate's to replace"):
        run_one(clip, tmp_path)
    assert (tmp_path / "clip.mp4").read_bytes() == b"somebody's"
    (tmp_path / "clip.mp4").unlink()
    (tmp_path / "clip.jsonl").write_text("my notes\n")
    with pytest.raises(FoveateError, match="not foveate's to replace"):
        run_one(clip, tmp_path)
    (tmp_path / "clip.jsonl").unlink()
    first = run_one(clip, tmp_path)
    second = run_one(clip, tmp_path, stride=2)
    assert first.painted == second.painted
    assert len(frames_of(second.records)) == 20


def test_unwritable_output(clip: Path, tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(FoveateError, match="cannot make"):
        run_one(clip, tmp_path / "file" / "out")


FULL_DISK = """
import resource, signal, sys
from pathlib import Path
from tests.video.clips import *
from tests.video.test_pipeline import run_one
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


# Resuming


def test_resume_leaves_finished_sources_alone(clip: Path, tmp_path: Path) -> None:
    class Counting(Brightest):
        seen = 0

        def predict(self, images: Sequence[Frame], **options: Any) -> list[Spot]:
            Counting.seen += len(images)
            return super().predict(images)

    first = run_one(clip, tmp_path, predictor=Counting(), resume=True)
    again = run_one(clip, tmp_path, predictor=Counting(), resume=True)
    assert Counting.seen == 40
    assert not first.resumed
    assert again.resumed
    assert again.summary == first.summary
    for other in ({"options": {"threshold": 1}}, {"weights": "tiny"}, {"stride": 2}):
        assert not run_one(clip, tmp_path, resume=True, **other).resumed
    first = run_one(clip, tmp_path)
    unfinished = first.records.read_text().splitlines()[:-1]
    first.records.write_text("\n".join(unfinished) + "\n")
    assert not run_one(clip, tmp_path, predictor=Counting(), resume=True).resumed
    assert len(frames_of(first.records)) == 40


def test_resume_paints_what_was_not_painted(clip: Path, tmp_path: Path) -> None:
    run_one(clip, tmp_path, video=False)
    report = run_one(clip, tmp_path, resume=True)
    assert not report.resumed
    assert report.painted is not None
    assert report.painted.exists()


# Errors and interruptions


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
from tests.video.test_pipeline import run_one

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


# Steps


def test_tracks_and_crops(clip: Path, tmp_path: Path) -> None:
    report = run_one(
        clip,
        tmp_path,
        predictor=Boxes(),
        draw=lambda frame, result: frame,
        steps=[track(0.3), save_crops],
    )
    objects = [f["result"]["objects"] for f in frames_of(report.records)]
    assert [o["track"] for (o,) in objects[:28]] == [None] + [0] * 27
    crops = sorted((tmp_path / "clip-crops" / "white").iterdir())
    assert len(crops) == 40
    assert crops[0].name == "000000-00.jpg"
    assert crops[1].name == "000001-00-track0.jpg"
    crop = cv2.imread(str(crops[5]))
    assert crop.min() > 150
    assert crop.shape[0] in (8, 9, 10)


def test_each_source_has_tracks_of_its_own(clip: Path, tmp_path: Path) -> None:
    steps = [track(0.3)]
    for name in ("one", "two"):
        (tmp_path / f"{name}.mp4").write_bytes(clip.read_bytes())
        report = run_one(
            tmp_path / f"{name}.mp4",
            tmp_path / "out",
            predictor=Boxes(),
            draw=lambda frame, result: frame,
            steps=steps,
        )
        objects = [f["result"]["objects"] for f in frames_of(report.records)]
        assert [o["track"] for (o,) in objects[:10]] == [None] + [0] * 9


# Progress and memory


def test_progress(clip: Path, tmp_path: Path) -> None:
    with progress_bar() as bar:
        run_one(clip, tmp_path, progress=bar, stride=2)
        (task,) = bar.tasks
        assert (task.completed, task.total) == (20, 20)


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
