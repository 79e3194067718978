"""Files of boxes that users give."""

import json

import pytest

from vision.errors import FoveateError
from vision.tasks.boxes import LabelledBox, read_boxes


def write(tmp_path, content):
    path = tmp_path / "boxes.json"
    path.write_text(content if isinstance(content, str) else json.dumps(content))
    return path


def test_one_list_holds_for_every_picture_in_both_forms(tmp_path):
    rows = [{"box": [1, 2, 5, 9], "label": "a"}, {"bbox": [1, 2, 4, 7]}]
    expected = [LabelledBox((1, 2, 5, 9), "a", 1.0), LabelledBox((1, 2, 5, 9))]
    for content in (rows, {"objects": rows, "width": 20}):
        file = read_boxes(write(tmp_path, content))
        assert file.of(None) == file.of("cat") == expected


def test_pictures_may_have_lists_of_their_own(tmp_path):
    content = {"cat": [{"box": [0, 0, 3, 3], "label": 7, "score": 0.25}], "dog": []}
    file = read_boxes(write(tmp_path, content))
    assert file.of("cat") == [LabelledBox((0, 0, 3, 3), "7", 0.25)]
    assert file.of("dog") == []
    for name in ("horse", None):
        with pytest.raises(FoveateError, match=r"boxes\.json has no boxes for"):
            file.of(name)


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ("[", "not readable JSON"),
        ("", "not readable JSON"),
        ("3", "holds no list"),
        ({"cat": 1}, "holds no list"),
        ([3], "is no box like"),
        ([[1, 2, 3, 4]], "is no box like"),
        ([{"box": [1, 2, 3]}], "is no box like"),
        ([{"box": None}], "is no box like"),
        ([{"box": [10**400, 0, 1, 1]}], "is no box like"),
        ([{"box": [3, 3, 1, 1]}], "no area"),
        ('[{"box": [0, 0, NaN, 4]}]', "no area"),
        ('[{"box": [0, 0, Infinity, 4]}]', "no area"),
        ([{"box": [1, 2, 3, 4], "score": 7}], "not between 0 and 1"),
    ],
)
def test_what_is_no_file_of_boxes_is_refused_in_one_line(tmp_path, content, message):
    with pytest.raises(FoveateError, match=message) as refusal:
        read_boxes(write(tmp_path, content))
    assert "boxes.json" in str(refusal.value)
    assert "\n" not in str(refusal.value)


def test_a_file_is_parsed_again_only_when_it_changed(tmp_path):
    path = write(tmp_path, {"cat": []})
    first = read_boxes(path)
    assert read_boxes(path) is first
    write(tmp_path, {"horse": []})
    assert set(read_boxes(path).named) == {"horse"}
    path.unlink()
    with pytest.raises(FoveateError, match="no such file"):
        read_boxes(path)


def test_a_missing_file_is_named(tmp_path):
    with pytest.raises(FoveateError, match="no such file"):
        read_boxes(tmp_path / "none.json")
