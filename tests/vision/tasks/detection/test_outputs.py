"""What becomes of detections: pictures, tables, reports, released weights."""

import io

import numpy as np
import pytest
import torch
from rich.console import Console

from vision.results import Detection, Detections
from vision.tasks.detection.digest import digest
from vision.tasks.detection.draw import draw
from vision.tasks.detection.evaluate import _report
from vision.tasks.detection.release import keep_classes
from vision.tasks.detection.report import print_report


def frame_of(*objects, width=200, height=120):
    return Detections(
        width=width,
        height=height,
        objects=[
            Detection(label=label, category=1, score=score, box=box, track=track)
            for label, score, box, track in objects
        ],
    )


def test_draw_paints_a_copy_around_the_box():
    frame = np.full((120, 200, 3), 90, np.uint8)
    before = frame.copy()
    painted = draw(frame, frame_of(("cat", 0.9, (50, 40, 150, 100), None)))
    np.testing.assert_array_equal(frame, before)
    assert painted.shape == frame.shape
    assert painted.dtype == np.uint8
    changed = (painted != frame).any(axis=2)
    assert changed[40:100, 50].all()  # the left edge of the box
    assert not changed[60:90, 70:140].any()  # inside
    assert not changed[110:, :].any()  # below
    blue, red = painted[70, 50, 2], painted[70, 50, 0]
    assert (blue, red) != (90, 90)


def test_draw_of_nothing_is_the_frame():
    frame = np.random.default_rng(0).integers(0, 255, (30, 40, 3)).astype(np.uint8)
    np.testing.assert_array_equal(draw(frame, frame_of(width=40, height=30)), frame)


def test_tracks_keep_their_colour():
    frame = np.full((120, 200, 3), 90, np.uint8)
    here, there = (20, 60, 60, 100), (120, 60, 160, 100)
    first = draw(frame, frame_of(("cat", 0.9, here, 1), ("cat", 0.8, there, 2)))
    second = draw(frame, frame_of(("cat", 0.9, here, 2), ("cat", 0.8, there, 1)))
    assert (first[90, 20] == second[90, 120]).all()
    assert (first[90, 20] != second[90, 20]).any()


def test_digest_counts_frames_and_identities():
    box = (0, 0, 10, 10)
    rows = digest(
        [
            frame_of(("dog", 0.5, box, None), ("cat", 0.4, box, None), ("dog", 0.9, box, None)),
            frame_of(),
            frame_of(("dog", 0.7, box, None)),
        ]
    )
    assert rows == [
        {"label": "dog", "frames": 2, "most at once": 2, "best score": "0.90"},
        {"label": "cat", "frames": 1, "most at once": 1, "best score": "0.40"},
    ]
    tracked = digest([frame_of(("dog", 0.5, box, 3)), frame_of(("dog", 0.5, box, 4))])
    assert tracked[0]["identities"] == 2
    assert digest([]) == []


@pytest.fixture
def truth():
    """Two pictures with a cat and a dog each; the second labels cats alone."""
    images = [
        {"id": 1, "width": 100, "height": 100, "sequence_disjoint": True},
        {
            "id": 2,
            "width": 100,
            "height": 100,
            "sequence_disjoint": False,
            "labelled_categories": [1],
        },
    ]
    annotations = [
        {
            "id": 10 * image + category,
            "image_id": image,
            "category_id": category,
            "bbox": [10 * category, 10, 30, 30],
            "area": 900,
            "iscrowd": 0,
        }
        for image, category in [(1, 1), (1, 2), (2, 1)]
    ]
    categories = [{"id": 1, "name": "cat"}, {"id": 2, "name": "dog"}, {"id": 3, "name": "emu"}]
    return {"images": images, "annotations": annotations, "categories": categories}


def found(image, category, x, score=0.9):
    return {
        "image_id": image,
        "category_id": category,
        "bbox": [x, 10, 30, 30],
        "score": score,
    }


def test_a_class_counts_only_where_it_is_labelled(truth):
    right = [found(1, 1, 10), found(1, 2, 20), found(2, 1, 10)]
    unlabelled_dog = found(2, 2, 60, score=0.99)
    report = _report(truth, [*right, unlabelled_dog], {"cat": 1, "dog": 2})
    assert report["AP"] == pytest.approx(1)
    assert report["unknown_classes"] == []
    assert set(report["subsets"]) == {
        "recordings unseen in training",
        "pictures labelled for all classes",
        "class ignored",
    }
    assert report["subsets"]["recordings unseen in training"]["AP"] == pytest.approx(1)


def test_classes_that_the_weights_do_not_know_are_named(truth):
    report = _report(truth, [found(1, 1, 10), found(2, 1, 10)], {"cat": 1})
    assert report["unknown_classes"] == ["dog"]
    assert set(report["per_class"]) == {"cat"}


def test_the_report_prints(truth):
    report = _report(truth, [found(1, 1, 10)], {"cat": 1, "dog": 2})
    text = io.StringIO()
    print_report(report, Console(file=text, width=160))
    printed = text.getvalue()
    assert "all 2 pictures" in printed
    assert "class ignored" in printed
    assert "cat" in printed
    assert "-1" not in printed  # nothing to measure is a dash


def test_keeping_classes_cuts_rows_and_nothing_else():
    tensors = {
        "head.classification_head.cls_logits.weight": torch.arange(3.0)[:, None],
        "head.classification_head.cls_logits.bias": torch.arange(3.0),
        "other": torch.ones(5),
    }
    metadata = {
        "categories": [{"id": 1, "name": "a"}, {"id": 2, "name": "b"}, {"id": 3, "name": "c"}]
    }
    kept, described = keep_classes(tensors, metadata, {"c", "a"})
    assert kept["head.classification_head.cls_logits.bias"].tolist() == [0, 2]
    assert kept["other"] is tensors["other"]
    assert [c["name"] for c in described["categories"]] == ["a", "c"]
    assert len(metadata["categories"]) == 3
