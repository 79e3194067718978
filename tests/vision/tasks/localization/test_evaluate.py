"""`foveate eval localization`, and the guesses beside it."""

import json
from io import StringIO
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from rich.console import Console

from vision.errors import FoveateError
from vision.tasks.localization.evaluate import evaluate
from vision.tasks.localization.floor import FLOORS, usual_lengths, whole_videos
from vision.tasks.localization.report import print_report
from vision.tasks.localization.suppression import segment_iou


def test_the_actions_are_found(weights: Path, blinks: Path):
    report = evaluate(
        str(weights), annotations=blinks / "blinks.json", videos=blinks / "films", device="cpu"
    )
    (figures,) = report["groups"].values()
    assert figures["videos"] == 1
    assert figures["actions"] == 2
    assert figures["average"] > 0.7
    assert figures["frames"] > 0.85
    assert {*figures["per_class"]} == {"left", "right"}
    assert report["unknown_classes"] == []


def test_the_guesses_stand_beside_the_localizer(weights: Path, blinks: Path):
    report = evaluate(str(weights), annotations=blinks / "blinks.json", videos=blinks / "films")
    (figures,) = report["groups"].values()
    assert {*figures["floor"]} == {*FLOORS}
    for guesses in figures["floor"].values():
        assert guesses["average"] < figures["average"]
        # half of the ten seconds belong to no action
        assert guesses["frames"] == pytest.approx(0.5, abs=0.1)
    text = StringIO()
    print_report(report, Console(file=text, width=80))
    for name in ("localizer", *FLOORS):
        assert f"│ {name} " in text.getvalue()


def test_the_causal_head_finds_them_at_once(weights: Path, blinks: Path):
    report = evaluate(
        str(weights),
        annotations=blinks / "blinks.json",
        videos=blinks / "films",
        subset="training",
        live=True,
    )
    (figures,) = report["groups"].values()
    assert figures["videos"] == 4
    assert figures["mAP"]["0.5"] > 0.5
    assert report["delay"] <= 0.4


def write(path: Path, **entry: object) -> Path:
    path.write_text(json.dumps({"database": {"film4": entry}}))
    return path


def test_classes_that_the_weights_do_not_know_are_missed(
    weights: Path, blinks: Path, tmp_path: Path
):
    actions = [{"segment": [0, 100], "label": "juggle"}]
    truth = write(tmp_path / "truth.json", annotations=actions)
    report = evaluate(str(weights), annotations=truth, videos=blinks / "films")
    assert report["unknown_classes"] == ["juggle"]
    figures = report["groups"]["videos"]
    assert figures["average"] == figures["frames"] == 0


def test_without_a_subset_all_videos_count(weights: Path, blinks: Path, tmp_path: Path):
    actions = [{"segment": [2.6, 4.6], "label": "left"}]
    truth = write(tmp_path / "truth.json", source=None, annotations=actions)
    report = evaluate(str(weights), annotations=truth, videos=blinks / "films")
    assert report["groups"]["videos"]["actions"] == 1


def test_nothing_to_evaluate_on_is_said(weights: Path, blinks: Path, tmp_path: Path):
    truth = write(tmp_path / "truth.json", subset="Val")
    with pytest.raises(FoveateError, match="no annotated action"):
        evaluate(str(weights), annotations=truth, videos=blinks / "films")
    with pytest.raises(FoveateError, match="no subset 'testing'; there is validation"):
        evaluate(str(weights), annotations=truth, videos=blinks / "films", subset="test")


times = st.floats(0, 50, allow_subnormal=False)


@given(times, st.floats(1, 20), st.lists(times, min_size=1, max_size=5))
def test_actions_of_one_length_are_all_overlapped_by_a_guess(first, length, starts):
    segments = [[first + s, first + s + length] for s in starts]
    truth = {"film": {"annotations": [{"segment": s, "label": "a"} for s in segments]}}
    last = first + 50 + length
    guesses = usual_lengths(truth, {"film": (first, last)}, np.random.default_rng(0))["film"]
    guessed = np.array([g["segment"] for g in guesses])
    assert guessed.min() >= first
    assert guessed.max() <= last
    assert segment_iou(segments, guessed).max(1).min() >= 0.6 - 1e-6


def test_an_action_as_long_as_its_video_is_guessed():
    actions = [{"segment": [3, 9], "label": "a"}]
    truth = {"film": {"annotations": actions}, "other": {"annotations": []}}
    spans = {"film": (3, 9), "other": (0, 2)}
    for guess in (whole_videos, usual_lengths):
        guesses = guess(truth, spans, np.random.default_rng(0))
        assert guesses["film"][0]["segment"] == [3, 9]
        assert {g["label"] for g in guesses["other"]} == {"a"}
