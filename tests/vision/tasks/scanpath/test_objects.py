"""Objects of a picture, fixations on them, and files of both."""

import json

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from vision.errors import FoveateError
from vision.results import Detection, Detections
from vision.tasks.boxes import LabelledBox
from vision.tasks.scanpath.objects import (
    Objects,
    given_objects,
    grid_objects,
    labelled,
    with_detections,
)
from vision.tasks.scanpath.records import read_scanpaths
from vision.tasks.scanpath.targets import read_target


@given(st.integers(1, 9), st.integers(1, 9), st.floats(-50, 150), st.floats(-50, 150))
def test_every_point_falls_on_the_patch_around_it_or_the_nearest(rows, columns, x, y):
    grid = grid_objects(100, 80, rows, columns)
    (spot,) = grid.at(np.array([[x, y]]))
    x1, y1, x2, y2 = grid.boxes[spot]
    if 0 <= x < 100 and 0 <= y < 80:
        assert x1 <= x < x2
        assert y1 <= y < y2
    else:
        away = np.hypot(*(grid.centres - (x, y)).T)
        assert np.isclose(away[spot], away.min())


def test_the_smallest_box_around_a_point_wins():
    objects = Objects([[0, 0, 100, 100], [10, 10, 30, 30], [12, 12, 90, 90]], 100, 100)
    assert objects.at(np.array([[20, 20], [50, 50], [95, 5]])).tolist() == [1, 2, 0]


@pytest.mark.parametrize("axis", [0, 1])
def test_a_mirror_keeps_what_is_looked_at(axis):
    rng = np.random.default_rng(0)
    grid = grid_objects(90, 60, 4, 5)
    points = rng.uniform(0, 1, (30, 2)) * (90, 60)
    mirrored = points.copy()
    mirrored[:, axis] = (90, 60)[axis] - mirrored[:, axis]
    assert np.array_equal(grid.at(points), grid.mirrored(axis).at(mirrored))
    assert np.allclose(grid.mirrored(axis).mirrored(axis).boxes, grid.boxes)


def test_labels_come_from_the_smallest_detection():
    found = Detections(
        width=100,
        height=100,
        objects=[
            Detection(label=name, category=1, score=0.5, box=box)
            for name, box in (("table", (0, 0, 60, 100)), ("cup", (0, 0, 40, 40)))
        ],
    )
    grid = labelled(grid_objects(100, 100, 2, 2), found)
    assert grid.labels == ["cup", None, "table", None]
    both = with_detections(grid, found)
    assert len(both) == 6
    assert both.labels[4:] == ["table", "cup"]
    empty = Detections(width=100, height=100, objects=[])
    assert len(with_detections(grid, empty)) == 4
    assert labelled(grid, empty).labels == [None] * 4


def test_given_boxes_are_cut_to_the_picture(tmp_path):
    path = tmp_path / "boxes.json"
    objects = given_objects(
        path, [LabelledBox((-3, 0, 5, 99), "a"), LabelledBox((1, 2, 5, 9))], 20, 20
    )
    assert objects.boxes.tolist() == [[0, 0, 5, 20], [1, 2, 5, 9]]
    assert objects.labels == ["a", None]
    with pytest.raises(FoveateError, match="no object to look at"):
        given_objects(path, [], 20, 20)


def test_a_box_off_the_picture_is_named(tmp_path):
    path = tmp_path / "boxes.json"
    with pytest.raises(FoveateError, match="lies off the picture of 20 x 10 pixels"):
        given_objects(path, [LabelledBox((30, 0, 40, 5))], 20, 10)


def test_targets_are_understood(tmp_path, picture):
    import cv2

    cv2.imwrite(str(tmp_path / "crop.png"), picture)
    assert read_target("1, 2.5,30,40", ()).box == (1, 2.5, 30, 40)
    assert read_target(str(tmp_path / "crop.png"), ()).crop.shape == picture.shape
    assert read_target("cup", ("cup",)).label == "cup"
    for text, message in (
        ("cop", "did you mean 'cup'"),
        ("xyz", "known labels: cup"),
        ("5,5,1,9", "no area"),
        (str(tmp_path / "other.png"), "no such picture"),
    ):
        with pytest.raises(FoveateError, match=message):
            read_target(text, ("cup",))


def test_a_target_box_matches_patches_in_it_or_the_one_it_lies_in():
    grid = grid_objects(100, 100, 4, 4)
    assert read_target("0,0,50,50", ()).matches(grid).sum() == 4
    assert read_target("30,30,33,33", ()).matches(grid).nonzero()[0].tolist() == [5]


def record(**changes):
    looks = [{"fixations": [{"x": 1, "y": 2, "duration": 3}]}]
    return {"images": [{"id": 1, "width": 4, "height": 4, "scanpaths": looks, **changes}]}


def look(**changes):
    return record(scanpaths=[{"fixations": [{"x": 1, "y": 2, **changes}]}])


def test_durations_may_be_missing_and_ids_numbers(tmp_path):
    path = tmp_path / "paths.json"
    path.write_text(json.dumps(look(duration=None)))
    (one,) = read_scanpaths(path)
    assert one.name == "1"
    np.testing.assert_equal(one.paths, [np.array([[1, 2, np.nan]])])


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ({}, "no list `images`"),
        (record(scanpaths=[]), "no viewer's path"),
        (record(scanpaths=[{"fixations": []}]), "no viewer's path"),
        ({"images": 2 * record()["images"]}, "picture 1: its id '1' is taken"),
        (record(width=0), "picture 0: 0 x 4 pixels"),
        (look(x=None), "picture 0: a fixation's x or y"),
        (look(x=float("nan")), "picture 0: a fixation's x or y"),
        (look(y=1e9), "picture 0: a fixation's x or y"),
        (look(x="left"), "picture 0: could not convert"),
        (look(duration=-1), "picture 0: a fixation's duration"),
        (look(duration=1e12), "picture 0: a fixation's duration"),
        (record(objects=[{"bbox": [0, 0, 0, 2]}]), "picture 0: an object's bbox"),
        (record(objects=[{"bbox": [0, float("nan"), 1, 2]}]), "picture 0: an object's bbox"),
        (record(objects=[{"bbox": [0, 0, 1]}]), "picture 0: cannot reshape"),
        ({"images": []}, "holds no pictures"),
        ({"images": [{"id": "x", "width": 4}]}, "picture 0: no 'height'"),
        (
            {"images": [{"id": "x", "width": 4, "height": 4, "scanpaths": [{"fixations": [{}]}]}]},
            "picture 0: no 'x'",
        ),
        (
            {
                "images": [
                    {"id": "x", "width": 4, "height": 4, "scanpaths": [], "target": {"object": 2}}
                ]
            },
            "target 2 is none of its 0 objects",
        ),
    ],
)
def test_bad_scanpaths_are_named(tmp_path, content, message):
    path = tmp_path / "paths.json"
    path.write_text(json.dumps(content))
    with pytest.raises(FoveateError, match=message):
        read_scanpaths(path)
