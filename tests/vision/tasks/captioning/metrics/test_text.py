"""Caption scores: on cases known by hand, their intervals, and what a user can get wrong."""

import importlib.util
import shutil

import numpy as np
import pytest

from vision.errors import FoveateError
from vision.tasks.captioning.metrics import caption_scores

REFERENCES = {
    1: ["A dog runs on the green grass.", "The dog is running fast on grass."],
    2: ["Two people ride a red bus.", "A red bus with two people in it."],
    "three": ["A plate of food on a wooden table."],
}
COPIES = {key: texts[0] for key, texts in REFERENCES.items()}
NAMES = {"B@1", "B@2", "B@3", "B@4", "CIDEr", "ROUGE_L"}


def test_copies_score_as_high_as_can_be():
    report = caption_scores(REFERENCES, COPIES, meteor=False)
    assert report.scores.keys() == NAMES
    for name in NAMES - {"CIDEr"}:
        assert report.scores[name] == pytest.approx(1, abs=1e-6)
    # one of two references of the first two pictures is copied
    assert report.per_image["CIDEr"][2] == pytest.approx(10)
    assert report.intervals == {}


def test_case_and_punctuation_do_not_matter():
    shouted = {key: text.upper().rstrip(".") + " !" for key, text in COPIES.items()}
    ours, theirs = (caption_scores(REFERENCES, h, meteor=False) for h in (COPIES, shouted))
    assert ours == theirs


def test_empty_captions_score_nothing():
    report = caption_scores(REFERENCES, dict.fromkeys(REFERENCES, ""), meteor=False)
    assert report.scores == pytest.approx(dict.fromkeys(NAMES, 0), abs=1e-6)


def test_intervals_hold_the_score_and_repeat():
    mixed = {**COPIES, 2: "A cat sleeps.", "three": "Food on a table."}
    report = caption_scores(REFERENCES, mixed, meteor=False, bootstrap=200, seed=3)
    assert report.intervals.keys() == NAMES
    for name, (low, high) in report.intervals.items():
        assert low <= report.scores[name] <= high
        assert low < high
    assert report == caption_scores(REFERENCES, mixed, meteor=False, bootstrap=200, seed=3)


def test_a_resample_of_one_image_scores_as_that_image():
    single = {1: REFERENCES[1]}
    report = caption_scores(single, {1: "The dog runs on a lawn."}, meteor=False, bootstrap=5)
    for name in ("B@1", "B@2", "B@3", "B@4", "ROUGE_L"):
        assert report.intervals[name] == pytest.approx((report.scores[name],) * 2)
    assert report.scores["CIDEr"] == 0  # of one picture, every word is in all pictures


def test_no_meteor_without_java(monkeypatch):
    monkeypatch.setattr(shutil, "which", lambda name: None)
    assert "METEOR" not in caption_scores(REFERENCES, COPIES).scores
    with pytest.raises(FoveateError, match="needs Java"):
        caption_scores(REFERENCES, COPIES, meteor=True)


@pytest.mark.parametrize(
    ("references", "hypotheses", "message"),
    [
        ({}, {}, "no image"),
        (REFERENCES, {1: "A dog."}, "image 2: no caption"),
        ({1: []}, {1: "A dog."}, "image 1: no reference"),
        ({1: ["..."]}, {1: "A dog."}, "no reference has a word"),
    ],
)
def test_what_is_missing_is_named(references, hypotheses, message):
    with pytest.raises(FoveateError, match=message):
        caption_scores(references, hypotheses, meteor=False)


def test_the_package_is_named_where_it_is_missing(monkeypatch):
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: None)
    with pytest.raises(FoveateError, match=r"foveate\[captions\]"):
        caption_scores(REFERENCES, COPIES)


def test_order_of_images_does_not_matter():
    backwards = dict(reversed(REFERENCES.items()))
    ours = caption_scores(REFERENCES, COPIES, meteor=False)
    theirs = caption_scores(backwards, COPIES, meteor=False)
    assert ours.scores == pytest.approx(theirs.scores)
    assert np.allclose(ours.per_image["CIDEr"], theirs.per_image["CIDEr"][::-1])
