"""What a declaration makes of the pipeline and the command line, by a small task of each kind."""

from __future__ import annotations

import csv
import json
from collections.abc import Callable, Sequence
from dataclasses import fields
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest
import typer
from hypothesis import given
from hypothesis import strategies as st
from jsonschema import Draft202012Validator
from typer.testing import CliRunner, Result

from tests.video import tasks
from tests.video.clips import Spot, damage, decode, draw_spot, picture, write_clip
from tests.video.runs import frames_of, lines
from tests.video.tasks import FLASHES, SPOTS
from video.batch import Failure, Job, run_local
from video.cli import lists, verbs
from video.frames import Selection, TimedFrame
from video.pipeline import SourceReport, run
from video.sources import expand
from vision.errors import FoveateError
from vision.results import Frame
from vision.tasks import TASKS
from vision.tasks.base import Task

SELECTION = {field.name for field in fields(Selection)}


def run_task(task: Task, path: Path | str, output: Path, **settings: Any) -> SourceReport:
    (source,) = expand([path])
    given = settings.pop("given", {})
    chosen = {name: settings.pop(name) for name in SELECTION & settings.keys()}
    settings["selection"] = Selection(**chosen)
    return Job(task, output, given=given, settings=settings).run(source)


def foveate(*arguments: Any) -> Result:
    """Run a command of an app that has the two tasks."""
    app = typer.Typer(pretty_exceptions_enable=False)
    for task in (SPOTS, FLASHES):
        app.command(task.verb)(verbs.command(task))
    return CliRunner().invoke(app, [str(a) for a in arguments])


# Frames that are looked at


def test_results_hold_until_the_next_frame_looked_at(clip: Path, tmp_path: Path) -> None:
    report = run_task(SPOTS, clip, tmp_path, every=0.5)
    records = frames_of(report.records)
    assert [r["index"] for r in records] == [0, 10, 20, 30]
    assert report.summary.frames == 4
    assert lines(report.records)[0]["every"] == 0.5
    assert report.painted is not None
    times, painted = decode(report.painted)
    _, originals = decode(clip)
    assert times == pytest.approx([i / 20 for i in range(40)], abs=1e-4)
    for i, (image, original) in enumerate(zip(painted, originals, strict=True)):
        held = draw_spot(original, Spot(**records[i // 10]["result"])).astype(int)
        assert np.abs(image.astype(int) - held).mean() < 6


def test_every_and_batches_and_stride(clip: Path, tmp_path: Path) -> None:
    for batch in (1, 3, 64):
        report = run_task(SPOTS, clip, tmp_path / str(batch), every=0.3, stride=2, batch=batch)
        assert [r["index"] for r in frames_of(report.records)] == [0, 6, 12, 18, 24, 30, 36]
        assert report.painted is not None
        assert len(decode(report.painted)[0]) == 20


@pytest.mark.parametrize("every", [None, 0, 0.0])
def test_all_frames_are_looked_at_unless_told_otherwise(
    every: float | None, clip: Path, tmp_path: Path
) -> None:
    assert run_task(SPOTS, clip, tmp_path, every=every, video=False).summary.frames == 40


@given(
    gaps=st.lists(st.floats(0.001, 3), min_size=1, max_size=60),
    every=st.floats(0.01, 5),
    start=st.floats(0, 1e4),
)
def test_a_frame_is_looked_at_in_every_interval_that_has_one(
    gaps: list[float], every: float, start: float
) -> None:
    times = [start + t for t in np.cumsum([0.0, *gaps])]
    frames = [TimedFrame(i, t, picture(0)) for i, t in enumerate(times)]
    looks = [look for _, look in Selection(every=every).mark(frames)]
    intervals = np.floor((np.array(times) - start + 1e-6) / every).astype(int)
    first = [i == 0 or n != intervals[i - 1] for i, n in enumerate(intervals)]
    assert looks[0]
    assert np.mean([a == b for a, b in zip(looks, first, strict=True)]) > 0.95


@pytest.mark.parametrize("every", [-1.0, np.inf, np.nan])
def test_what_is_no_interval_is_said(every: float, clip: Path, tmp_path: Path) -> None:
    with pytest.raises(FoveateError, match="is no interval"):
        run_task(SPOTS, clip, tmp_path, every=every)


def test_all_pictures_are_looked_at(tmp_path: Path) -> None:
    folder = pictures(tmp_path)
    assert run_task(SPOTS, folder, tmp_path / "out", every=10.0).summary.frames == 3


def pictures(root: Path) -> Path:
    """A folder with three pictures, two of one stem."""
    (root / "pictures").mkdir()
    for i, name in enumerate(("cat.png", "cat.jpg", "dog.png")):
        cv2.imwrite(str(root / "pictures" / name), picture(i)[:, :, ::-1])
    return root / "pictures"


# Files beside the records


@pytest.mark.parametrize("video", [False, True])
def test_a_stream_task_looks_at_all_frames(video: bool, clip: Path, tmp_path: Path) -> None:
    report = run_task(FLASHES, clip, tmp_path, every=0.5, video=video)
    assert report.summary.frames == 40
    assert lines(report.records)[0]["every"] is None


def test_files_of_a_frame_task(clip: Path, tmp_path: Path) -> None:
    report = run_task(
        SPOTS, clip, tmp_path, every=0.5, given={"unit": "pixels", "shift": 2}, video=False
    )
    assert report.files == (tmp_path / "clip-spots.csv",)
    head, *rows = csv.reader(report.files[0].open())
    assert head == ["name", "time", "x (pixels)", "64", "20.0"]
    assert [row[0] for row in rows] == ["000000", "000010", "000020", "000030"]
    assert [float(row[1]) for row in rows] == [0, 0.5, 1, 1.5]
    assert [int(row[2]) for row in rows] == [r["result"]["x"] for r in frames_of(report.records)]
    assert lines(report.records)[0]["options"] == {"shift": 2, "unit": "pixels"}


def test_files_tell_pictures_apart(tmp_path: Path) -> None:
    report = run_task(SPOTS, pictures(tmp_path), tmp_path / "out")
    _, *rows = csv.reader(report.files[0].open())
    assert [row[0] for row in rows] == ["cat.jpg", "cat.png", "dog"]
    one = run_task(SPOTS, tmp_path / "pictures" / "dog.png", tmp_path / "out")
    assert [row[0] for row in csv.reader(one.files[0].open())][1:] == ["dog"]


def test_files_of_a_stream_task(clip: Path, tmp_path: Path) -> None:
    report = run_task(FLASHES, clip, tmp_path)
    assert report.files == (tmp_path / "clip-flashes.txt",)
    assert report.files[0].read_text() == "0.7\n0.75\n"


@pytest.mark.parametrize(
    ("task", "name"), [(SPOTS, "clip-spots.csv"), (FLASHES, "clip-flashes.txt")]
)
def test_somebody_elses_files_are_refused_before_a_frame_is_read(
    task: Task, name: str, clip: Path, tmp_path: Path
) -> None:
    (tmp_path / name).write_text("somebody's")
    with pytest.raises(FoveateError, match=f"{name} is not foveate's to replace"):
        run_task(task, clip, tmp_path, video=False)
    assert list(tmp_path.iterdir()) == [tmp_path / name]
    assert (tmp_path / name).read_text() == "somebody's"
    (tmp_path / name).unlink()
    for _ in range(2):  # its own it replaces
        assert run_task(task, clip, tmp_path, video=False).files == (tmp_path / name,)


def test_files_come_only_from_whole_runs(clip: Path, tmp_path: Path) -> None:
    class Failing(tasks.Spotter):
        def predict(self, images: Sequence[Frame], *, shift: int = 0) -> list[Spot]:
            raise ZeroDivisionError

    (source,) = expand([clip])
    with pytest.raises(ZeroDivisionError):
        run(
            source, predictor=Failing(), draw=draw_spot, output=tmp_path, task="spots",
            files=tasks.SpotTable,
        )  # fmt: skip
    assert not (tmp_path / "clip-spots.csv").exists()


# Stream tasks


def test_a_stream_task_paints_in_a_second_reading(sounding: Path, tmp_path: Path) -> None:
    report = run_task(FLASHES, sounding, tmp_path)
    assert report.painted == tmp_path / "sounding.mp4"
    times, images = decode(report.painted)
    assert times == pytest.approx([i / 20 for i in range(40)], abs=1e-4)
    green = [i for i, image in enumerate(images) if image[..., 1].mean() > 200]
    assert green == [14, 15]
    kinds = [line["type"] for line in lines(report.records)]
    assert kinds == ["header", "event", "event", "summary"]
    assert report.notes == ()


def test_a_stream_tasks_options_reach_begin(clip: Path, tmp_path: Path) -> None:
    report = run_task(FLASHES, clip, tmp_path, given={"middle": 11}, video=False)
    times, images = decode(clip)
    finder = tasks.FlashFinder()
    finder.begin(middle=11)
    finder.update(images, times)
    assert report.summary.result == finder.finish()
    assert 0.2 < finder.times[0] < 0.4
    assert report.painted is None
    assert not (tmp_path / "clip.mp4").exists()


def test_the_part_that_was_asked_for_is_painted(clip: Path, tmp_path: Path) -> None:
    report = run_task(FLASHES, clip, tmp_path, start=0.5, end=1.0)
    assert report.painted is not None
    times, images = decode(report.painted)
    assert times == pytest.approx([i / 20 for i in range(10, 20)], abs=1e-4)
    assert [i for i, image in enumerate(images) if image[..., 1].mean() > 200] == [4, 5]


def test_a_stream_task_on_pictures(tmp_path: Path) -> None:
    report = run_task(FLASHES, pictures(tmp_path), tmp_path / "out")
    assert report.painted is not None
    assert sorted(p.name for p in report.painted.iterdir()) == ["cat.jpg", "cat.png", "dog.png"]


def test_a_stream_task_refuses_one_picture(tmp_path: Path) -> None:
    with pytest.raises(FoveateError, match=r"dog\.png is one picture; flashes needs a video"):
        run_task(FLASHES, pictures(tmp_path) / "dog.png", tmp_path / "out")
    assert not (tmp_path / "out").exists()


def test_one_predictor_for_many_sources(clip: Path, tmp_path: Path) -> None:
    """A source that breaks off in the middle leaves nothing behind for the next."""
    paths = [clip, tmp_path / "bad.mp4", write_clip(tmp_path / "other.mp4", 12)]
    damage(clip, tmp_path / "bad.mp4", 0, 5000)
    job = Job(FLASHES, tmp_path / "out")
    first, failed, last = run_local(job, expand(paths))
    assert isinstance(first, SourceReport)
    assert isinstance(failed, Failure)
    assert isinstance(last, SourceReport)
    assert "bad.mp4" in failed.reason
    assert first.summary.result == tasks.Flashes(times=[0.7, 0.75], frames=40)
    assert last.summary.result == tasks.Flashes(times=[], frames=12)


def test_an_interrupted_command_says_how_to_go_on(
    clip: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def interrupt(*_: Any, **__: Any) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr(tasks.Spotter, "predict", interrupt)
    done = foveate("spot", clip, "-o", tmp_path / "out")
    assert done.exit_code == 130
    assert "interrupted" in done.stderr
    assert "--resume" in done.stderr
    assert len(done.stderr.splitlines()) == 1


def test_damaged_and_cut_files(sample_clip: Path, tmp_path: Path) -> None:
    broken = damage(sample_clip, tmp_path / "broken.mp4", 0.3, 20_000)
    report = run_task(FLASHES, broken, tmp_path / "out")
    assert report.summary.frames + report.summary.skipped == 187
    assert report.painted is not None
    assert len(decode(report.painted)[0]) == report.summary.frames
    whole = sample_clip.read_bytes()
    (tmp_path / "cut.mp4").write_bytes(whole[: len(whole) // 8])
    report = run_task(FLASHES, tmp_path / "cut.mp4", tmp_path / "out")
    assert report.missing > 100
    assert report.summary.result.frames == report.summary.frames
    assert len(report.notes) == len(set(report.notes))


def test_live_sources_give_events_as_they_come(server: str, tmp_path: Path) -> None:
    told: list[tuple[Any, int]] = []
    (source,) = expand([f"{server}/clip.mp4"])
    job = Job(FLASHES, tmp_path, settings={"batch": 1})

    def tell(event: Any) -> None:
        told.append((event, len(lines(tmp_path / "clip.jsonl"))))

    (report,) = run_local(job, [source], tell=tell)
    assert told == [(tasks.Flash(time=0.7), 2), (tasks.Flash(time=0.75), 3)]
    assert isinstance(report, SourceReport)
    assert report.painted is None
    assert not (tmp_path / "clip.mp4").exists()
    assert report.summary.result == tasks.Flashes(times=[0.7, 0.75], frames=40)


@pytest.mark.parametrize(("task", "changes"), [(SPOTS, {"unit": "m"}), (FLASHES, {"middle": 3})])
def test_resume(task: Task, changes: dict[str, Any], clip: Path, tmp_path: Path) -> None:
    first = run_task(task, clip, tmp_path)
    again = run_task(task, clip, tmp_path, resume=True)
    assert again.resumed
    assert again.summary.model_dump() == first.summary.model_dump(mode="json")
    assert not run_task(task, clip, tmp_path, resume=True, given=changes).resumed
    assert first.painted is not None
    first.painted.unlink()
    assert not run_task(task, clip, tmp_path, resume=True, given=changes).resumed


def test_resume_knows_every(clip: Path, tmp_path: Path) -> None:
    run_task(SPOTS, clip, tmp_path, every=0.5)
    assert run_task(SPOTS, clip, tmp_path, every=0.5, resume=True).resumed
    assert not run_task(SPOTS, clip, tmp_path, every=1.0, resume=True).resumed


# The command line


def test_every_file_is_named(clip: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    done = foveate("spot", clip, "-o", "out", "--unit", "m")
    assert done.exit_code == 0, done.output
    for name in ("clip.mp4", "clip.jsonl", "clip-spots.csv"):
        assert f"out/{name}" in done.stdout
        assert (tmp_path / "out" / name).is_file()
    header, *_, summary = lines(tmp_path / "out" / "clip.jsonl")
    assert (header["every"], summary["frames"]) == (0.5, 4)
    done = foveate("spot", clip, "-o", "out", "--every", 0, "--no-video")
    assert lines(tmp_path / "out" / "clip.jsonl")[-1]["frames"] == 40


def test_a_stream_command(clip: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    done = foveate("flash", clip, "-o", "out", "--middle", 11)
    assert done.exit_code == 0, done.output
    for name in ("clip.mp4", "clip.jsonl", "clip-flashes.txt"):
        assert f"out/{name}" in done.stdout
    assert "flash at" in done.stdout
    assert "--every" not in foveate("flash", "--help").stdout
    assert '{"time"' not in done.stdout


def test_events_of_live_sources_are_printed(server: str, tmp_path: Path) -> None:
    done = foveate("flash", f"{server}/clip.mp4", "-o", tmp_path)
    assert done.exit_code == 0, done.output
    told = [line for line in done.stdout.splitlines() if line.startswith("{")]
    assert [json.loads(line) for line in told] == [{"time": 0.7}, {"time": 0.75}]


def test_a_command_without_a_source(tmp_path: Path) -> None:
    (tmp_path / "job.txt").write_text("stir")
    done = foveate("flash", "--job", tmp_path / "job.txt", "-o", tmp_path / "out", "--middle", 3)
    assert done.exit_code == 0, done.output
    assert (tmp_path / "out" / "alone.txt").read_text() == "stir 3 None None"


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["flash"], "nothing to flash; give a SOURCE"),
        (["flash", "--middle", "3"], "--middle needs a SOURCE or --job"),
        (["spot", "x.mp4"], "no such file"),
    ],
)
def test_mistakes_are_users_errors(arguments: list[str], words: str) -> None:
    done = foveate(*arguments)
    assert isinstance(done.exception, FoveateError)
    assert words in str(done.exception)


def test_a_source_is_required_where_nothing_works_without(clip: Path, tmp_path: Path) -> None:
    done = foveate("spot")
    assert done.exit_code == 2
    assert "SOURCE" in done.stderr
    with pytest.raises(FoveateError, match="no weights 'none'"):
        list(run_local(Job(SPOTS, tmp_path, weights="none"), expand([clip])))


def test_what_failed_is_listed_in_the_end(clip: Path, tmp_path: Path) -> None:
    (tmp_path / "bad.mp4").write_text("no video")
    done = foveate("flash", tmp_path / "bad.mp4", clip, "-o", tmp_path / "out", "--no-video")
    assert done.exit_code == 2
    assert done.stderr.count("\n") == 1
    assert "bad.mp4" in done.stderr
    assert done.output.rstrip().endswith(done.stderr.rstrip())


@pytest.fixture
def print_schema(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> Callable[[Task], dict[str, Any]]:
    def show(task: Task) -> dict[str, Any]:
        monkeypatch.setitem(TASKS, task.name, "")
        monkeypatch.setattr(lists, "get_task", lambda name: task)
        lists.schema(task.name)
        document: dict[str, Any] = json.loads(capsys.readouterr().out)
        return document

    return show


@pytest.mark.parametrize("task", [SPOTS, FLASHES])
def test_lines_fit_the_schema(
    task: Task, print_schema: Callable[[Task], dict[str, Any]], clip: Path, tmp_path: Path
) -> None:
    document = print_schema(task)
    validator = Draft202012Validator(document)
    report = run_task(task, clip, tmp_path, video=False)
    for line in lines(report.records):
        validator.validate(line)
    middle = "event" if task.kind == "stream" else "frame"
    assert {line["type"] for line in lines(report.records)} == {"header", middle, "summary"}
    assert set(document["discriminator"]["mapping"]) == {"header", middle, "summary"}
