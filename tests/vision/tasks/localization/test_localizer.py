"""A localizer from training to what the user gets."""

import csv
import json
from pathlib import Path

import cv2
import numpy as np
import pytest
import torch

from vision.catalogue import read_weights, write_weights
from vision.errors import FoveateError
from vision.features import read_video
from vision.tasks.localization.digest import digest
from vision.tasks.localization.draw import draw
from vision.tasks.localization.evaluate import evaluate
from vision.tasks.localization.files import LocalizationFiles
from vision.tasks.localization.frames import runs
from vision.tasks.localization.predict import Localizer
from vision.tasks.localization.results import Action, Actions
from vision.tasks.localization.timeline import colour
from vision.tasks.localization.train import train


@pytest.fixture
def localizer(weights: Path) -> Localizer:
    return Localizer.from_weights(str(weights), device="cpu")


@pytest.fixture
def frames(blinks: Path) -> list[tuple[float, np.ndarray]]:
    return list(read_video(blinks / "films/film4.mp4"))


def follow(localizer: Localizer, frames, batch: int = 8, **options) -> tuple[list[Action], Actions]:
    localizer.begin(**options)
    events = []
    for n in range(0, len(frames), batch):
        part = frames[n : n + batch]
        events += localizer.update([f for _, f in part], [t for t, _ in part])
    return events, localizer.finish()


def test_batches_do_not_matter(localizer: Localizer, frames):
    one, *others = (follow(localizer, frames, batch=n)[1] for n in (1, 5, 37))
    assert others == [one, one]
    assert [a.label for a in one.actions] == ["left", "right"]


def test_events_are_the_result_and_come_when_they_are_final(localizer: Localizer, frames):
    events, result = follow(localizer, frames)
    assert {(e.label, e.start, e.end) for e in events} <= {
        (a.label, a.start, a.end) for a in result.actions
    }
    assert any(e.label == "left" for e in events)
    lookahead, hop = localizer.model.config.lookahead, localizer.model.config.hop
    for action in events:
        assert lookahead <= action.delay <= lookahead + 2 * hop


@pytest.mark.parametrize("live", [False, True])
def test_the_future_changes_no_event(localizer: Localizer, frames, live):
    cut = 60
    earlier, _ = follow(localizer, frames[:cut], batch=1, live=live)
    other = [*frames[:cut], *((t, 255 - f) for t, f in frames[cut:])]
    events, _ = follow(localizer, other, batch=1, live=live)
    assert events[: len(earlier)] == earlier


def test_looking_at_fewer_frames_finds_the_same(localizer: Localizer, frames):
    _, result = follow(localizer, frames, rate=2.5)
    assert {a.label for a in result.actions} == {"left", "right"}


@pytest.mark.parametrize("count", [61, 64])
@pytest.mark.parametrize(
    "options", [{}, {"live": True}, {"live": True, "rate": 2}, {"threshold": 0.05}]
)
def test_nothing_ends_after_the_video(localizer: Localizer, frames, options, count: int):
    """Ten frames a second are cut off while something happens, five or two are looked at."""
    _, result = follow(localizer, frames[:count], **options)
    assert (result.start, result.end) == (0, pytest.approx(count / 10))
    assert result.actions
    assert all(0 <= a.start <= a.end <= result.end for a in result.actions)


def test_what_goes_on_at_the_end_ends_with_the_last_frame(localizer: Localizer, frames):
    _, result = follow(localizer, frames[:61], live=True)  # a step of the model is two frames
    assert result.actions[-1].end == result.end == pytest.approx(6.1)
    assert result.actions[-1].delay == 0


def test_one_frame_is_a_video_too(localizer: Localizer, frames):
    events, result = follow(localizer, frames[:1])
    assert events == []
    assert result.start == result.end == frames[0][0]


def test_finish_begins_a_new_video(localizer: Localizer, frames):
    first = follow(localizer, frames)[1]
    second = follow(localizer, frames)[1]
    assert first == second


@pytest.mark.parametrize("rate", [0, -1, float("nan")])
def test_a_rate_of_nothing_is_refused(localizer: Localizer, rate: float):
    with pytest.raises(FoveateError, match=f"rate {rate:g} looks at no frame"):
        localizer.begin(rate=rate)


@pytest.mark.parametrize("threshold", [-0.1, 1.1, float("nan")])
def test_a_threshold_that_is_no_score_is_refused(localizer: Localizer, threshold: float):
    with pytest.raises(FoveateError, match=f"threshold {threshold:g} is no score"):
        localizer.begin(threshold=threshold)


@pytest.mark.parametrize("part", ["mean", "std"])
def test_weights_that_lack_a_part_are_refused_in_one_line(weights: Path, tmp_path: Path, part: str):
    whole = read_weights(weights)
    path = tmp_path / "part.safetensors"
    write_weights(path, {k: v for k, v in whole.tensors.items() if k != part}, whole.metadata)
    with pytest.raises(FoveateError, match=f"do not fit their model: .*{part}") as refusal:
        Localizer.from_weights(str(path), device="cpu")
    assert "\n" not in str(refusal.value)


def test_runs_at_several_thresholds():
    chances = np.array([[0.1], [0.45], [0.9], [0.45], [0.1]])
    segments, scores, labels = runs(chances, thresholds=(0.3, 0.7))
    assert segments.tolist() == [[1, 4], [2, 3]]
    assert scores == pytest.approx([0.6, 0.9])
    assert labels.tolist() == [0, 0]


@pytest.mark.parametrize("head", ["frames", "bmn"])
def test_training_the_other_heads(blinks: Path, tmp_path: Path, head: str):
    overrides = (f'model.head="{head}"', "optim.steps=6", 'model.bmn.gate="csa"')
    path = train(str(blinks / "recipe.toml"), blinks, tmp_path / "run", overrides=overrides)
    report = evaluate(str(path), annotations=blinks / "blinks.json", videos=blinks / "films")
    assert 0 <= next(iter(report["groups"].values()))["average"] <= 1


def test_two_trainings_agree(blinks: Path, tmp_path: Path):
    from safetensors.torch import load_file

    paths = [
        train(str(blinks / "recipe.toml"), blinks, tmp_path / n, overrides=("optim.steps=4",))
        for n in ("one", "other")
    ]
    one, other = (load_file(path) for path in paths)
    assert one.keys() == other.keys()
    assert all(torch.equal(one[k], other[k]) for k in one)


@pytest.fixture
def result() -> Actions:
    actions = [
        Action(label="left", start=1, end=3, score=0.9, delay=2),
        Action(label="right", start=2.5, end=5, score=0.4, delay=2),
    ]
    return Actions(start=0, end=10, labels=["left", "right"], actions=actions)


def test_files_hold_the_actions_with_the_truth_above(blinks: Path, tmp_path: Path, result: Actions):
    files = LocalizationFiles(tmp_path / "film4", None, truth=blinks / "blinks.json")
    paths = files.close(result)
    assert [p.name for p in paths] == [
        "film4-actions.json",
        "film4-actions.csv",
        "film4-timeline.png",
    ]
    content = json.loads(paths[0].read_text())
    assert content["results"]["film4"][0] == {"segment": [1, 3], "label": "left", "score": 0.9}
    rows = list(csv.DictReader(paths[1].open()))
    assert rows[1]["label"] == "right"
    assert float(rows[1]["end"]) == 5
    tall = cv2.imread(str(paths[2]))
    LocalizationFiles(tmp_path / "alone", None).close(result)
    low = cv2.imread(str(tmp_path / "alone-timeline.png"))
    assert tall.shape[1] == low.shape[1]
    assert tall.shape[0] > low.shape[0]
    assert not list(tmp_path.glob("*.partial"))


def test_a_video_that_the_truth_does_not_name_is_refused(blinks: Path, tmp_path: Path):
    with pytest.raises(FoveateError, match="nothing of 'other'"):
        LocalizationFiles(tmp_path / "other", None, truth=blinks / "blinks.json")


def test_the_bar_says_what_happens_now(result: Actions):
    frame = np.full((120, 320, 3), 128, np.uint8)
    before, during = (draw(frame, result, t) for t in (0.5, 2.7))
    assert (frame == 128).all()
    assert before.shape == during.shape == frame.shape
    assert (before[:80] == 128).all()
    assert np.abs(before.astype(int) - during).max() > 50


def test_the_surest_of_two_at_once_lies_on_top(result: Actions):
    frame = np.zeros((120, 400, 3), np.uint8)
    painted = draw(frame, result, 9.9)
    assert tuple(painted[-2, 108]) == colour(0)  # at 2.7 s
    assert tuple(painted[-2, 160]) == colour(1)  # at 4 s


@pytest.mark.parametrize("shape", [(1280, 240), (40, 1920), (14, 20), (2, 2)])
def test_frames_of_any_shape_are_painted(result: Actions, shape: tuple[int, int]):
    frame = np.full((*shape, 3), 128, np.uint8)
    painted = draw(frame, result, 2.7)
    assert painted.shape == frame.shape
    assert (painted[: shape[0] // 3] == 128).all() or shape[0] < 40


def test_the_digest_counts(result: Actions):
    rows = digest([result])
    assert [r["label"] for r in rows] == ["left", "right"]
    assert rows[0]["seconds"] == "2.0"


def test_there_is_nothing_to_begin_a_training_from(tmp_path: Path):
    with pytest.raises(FoveateError, match="--init"):
        train("localization-actions", tmp_path, tmp_path, init="other")
