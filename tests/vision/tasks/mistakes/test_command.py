"""`foveate check` on a rendered clip, as a user runs it; and the shipped recogniser."""

import json
from pathlib import Path

import av
import pytest
from typer.testing import CliRunner

from demos.check import EXAMPLE
from tests.conftest import DATA
from video.cli import app
from vision.catalogue import catalogue, default_name
from vision.tasks.mistakes.evaluate import evaluate


@pytest.fixture(scope="module")
def checked(tmp_path_factory) -> Path:
    output = tmp_path_factory.mktemp("out")
    command = ["check", str(EXAMPLE), "--procedure", "synthetic-assembly", "--kind", "truck"]
    done = CliRunner().invoke(app, [*command, "-o", str(output), "--device", "cpu"])
    assert done.exit_code == 0, done.output
    assert "MISTAKE" in done.output
    return output


def test_the_mistake_is_flagged_with_what_was_expected(checked):
    lines = [json.loads(x) for x in (checked / f"{EXAMPLE.stem}.jsonl").read_text().splitlines()]
    assert [line["type"] for line in (lines[0], lines[-1])] == ["header", "summary"]
    events = [line["result"] for line in lines if line["type"] == "event"]
    result = lines[-1]["result"]
    assert [s["step"] for s in result["steps"]] == ["attach-base", "attach-body", "attach-roof"]
    assert [s["mistake"] for s in result["steps"]] == [False, False, True]
    flag = result["steps"][-1]
    assert "attach-cabin" in [e["step"] for e in flag["expected"]]
    assert "comes before 'attach-roof'" in flag["why"]
    assert [event["step"] for event in events] == [
        s["step"] for s in result["steps"][: len(events)]
    ]
    assert "not real video" in result["note"]


def test_the_video_is_painted_from_start_to_end(checked):
    with av.open(str(checked / f"{EXAMPLE.stem}.mp4")) as video, av.open(str(EXAMPLE)) as source:
        frames = [f.to_ndarray(format="rgb24") for f in video.decode(video=0)]
        assert len(frames) == sum(1 for _ in source.decode(video=0))
    first, flagged = (frame[-10:].astype(int).mean((0, 1)) for frame in (frames[0], frames[90]))
    assert flagged[0] - flagged[2] > 60 > abs(first[0] - first[2])  # a red bar, then a dark one


def test_files_lie_beside(checked):
    names = {path.name for path in checked.iterdir()}
    assert {f"{EXAMPLE.stem}-{x}" for x in ("steps.json", "steps.csv", "timeline.png")} <= names


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ([], "which procedure?"),
        (["--procedure", "synthetic-asembly"], "did you mean"),
        (["--procedure", "captaincook4d"], "does not know the step"),
        (["--procedure", "synthetic-assembly", "--kind", "boat"], "has no kind 'boat'"),
    ],
)
def test_what_is_wrong_is_said_in_a_line(tmp_path, arguments, message):
    done = CliRunner().invoke(app, ["check", str(EXAMPLE), "-o", str(tmp_path), *arguments])
    assert done.exit_code != 0
    assert message in f"{done.output}{done.exception}"


def test_the_shipped_recogniser_is_small_and_says_that_its_clips_are_rendered():
    entry = catalogue()[default_name("mistakes")]
    assert "synthetic" in entry.name
    assert entry.bytes < 8e6
    assert all("synthetic" in name for name in entry.score)
    assert entry.licence == "CC0-1.0"


def test_mistakes_are_measured_from_pixels():
    report = evaluate(
        None, data=str(DATA / "assembly/annotations.json"), videos=DATA / "assembly/videos",
        train="synthetic-assembly",
    )  # fmt: skip
    assert report["executions"] == 2
    assert report["rows"]["choice"]["recall"] == 1
    assert report["recognition"]["levenshtein"] > 0.8
