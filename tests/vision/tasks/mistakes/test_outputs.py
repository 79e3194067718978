"""What a checked video becomes: painted frames, files, tables."""

import csv
import io
import json

import cv2
import numpy as np
import pytest

from vision.tasks.mistakes.digest import digest
from vision.tasks.mistakes.draw import RED, draw, expectation, step_at
from vision.tasks.mistakes.files import CheckFiles, table, timeline
from vision.tasks.mistakes.results import Checked, CheckedStep, Expected


def step(name: str, start: float, end: float | None, mistake: bool = False) -> CheckedStep:
    return CheckedStep(
        step=name,
        start=start,
        end=end,
        said=start + 1,
        score=0.8,
        mistake=mistake,
        surprise=None if mistake else 0.2,
        expected=[Expected(step="pour", probability=0.75), Expected(step="stir", probability=0.2)],
        why="'pour' comes before, and was not done",
    )


def checked(*steps: CheckedStep, start: float = 0, end: float = 10) -> Checked:
    return Checked(
        procedure="tea",
        weights="w",
        note="rendered",
        threshold=1.5,
        start=start,
        end=end,
        steps=list(steps),
    )


RESULT = checked(step("boil, water", 1, 4), step("drink", 6, None, mistake=True))


@pytest.mark.parametrize(
    ("time", "name"), [(0, None), (1, "boil, water"), (3.9, "boil, water"), (4, None), (9, "drink")]
)
def test_the_step_of_a_time(time, name):
    found = step_at(RESULT, time)
    assert (found.step if found else None) == name


def test_the_last_frame_still_shows_the_last_step():
    result = checked(step("drink", 6, 10))
    assert step_at(result, 10).step == "drink"
    assert step_at(checked(), 3) is None


@pytest.mark.parametrize("size", [(96, 96), (360, 640), (1080, 1920), (9, 7), (1, 1)])
def test_frames_of_any_size_are_painted_and_left_alone(size):
    frame = np.full((*size, 3), 128, np.uint8)
    calm, flagged = draw(frame, RESULT, 2), draw(frame, RESULT, 8)
    assert calm.shape == flagged.shape == frame.shape
    assert (frame == 128).all()
    assert (calm != frame).any()
    assert (flagged[0, 0] == RED).all() or min(size) < 20
    assert (calm != flagged).any()


def test_text_that_is_too_long_stays_within():
    frame = np.zeros((60, 100, 3), np.uint8)
    long = checked(step("a step with a very long name indeed", 0, 10))
    painted = draw(frame, long, 1)
    assert painted[-20:, -3:].max() < 60  # the bar alone, no letters


@pytest.mark.parametrize("letters", ["äö", "éè", "жш", "λμ", "☕☂"])
def test_letters_of_other_alphabets_are_no_boxes(letters):
    one, other = (timeline(checked(step(letter * 4, 0, 10))) for letter in letters)
    assert (one != other).any()


def test_the_timeline_shows_flags_in_red_and_says_why():
    flagged, calm = timeline(RESULT), timeline(checked(step("boil", 1, 4)))
    assert (flagged == RED).all(-1).sum() > 1000
    assert not (calm == RED).all(-1).any()
    assert flagged.shape[1] == calm.shape[1] == 1200
    two = timeline(checked(step("a", 1, 2, mistake=True), step("b", 3, 4, mistake=True)))
    assert two.shape[0] > flagged.shape[0]


@pytest.mark.parametrize(
    "result",
    [
        checked(),
        checked(start=4, end=4),
        checked(step("x", 4, 4), start=4, end=4),
        checked(*(step(f"s{n}", n * 50, n * 50 + 1) for n in range(300)), end=15000),
        checked(step("x", -3, -1), start=-5, end=-0.5),
    ],
)
def test_any_video_has_a_timeline(result):
    assert timeline(result).std() > 0


def test_files_appear_whole(tmp_path):
    stem = tmp_path / "video.1"
    paths = CheckFiles(stem, info=None).close(RESULT)
    assert sorted(tmp_path.iterdir()) == sorted(paths)
    assert {p.name for p in paths} == {
        "video.1-steps.json",
        "video.1-steps.csv",
        "video.1-timeline.png",
    }
    by_name = {p.suffix: p for p in paths}
    assert Checked.model_validate(json.loads(by_name[".json"].read_text())) == RESULT
    picture = cv2.imread(str(by_name[".png"]))[:, :, ::-1]
    assert (picture == timeline(RESULT)).all()


def test_the_table_can_be_read_back():
    rows = list(csv.DictReader(io.StringIO(table(RESULT.steps))))
    assert [row["step"] for row in rows] == ["boil, water", "drink"]
    assert [row["mistake"] for row in rows] == ["0", "1"]
    assert rows[1]["end"] == ""
    assert rows[1]["surprise"] == ""
    assert (rows[0]["expected_1"], rows[0]["expected_3"]) == ("pour 0.75", "")


def test_the_digest_gives_reasons_for_flags_alone():
    rows = digest([RESULT])
    assert [row["flag"] for row in rows] == ["", "MISTAKE"]
    assert [bool(row["why"]) for row in rows] == [False, True]
    assert expectation(RESULT.steps[0]) == "expected pour 75 %, stir 20 %"
