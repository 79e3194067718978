"""Annotation files, the videos that they name, and windows to train on."""

import json
from pathlib import Path

import pytest
import torch

from vision.errors import FoveateError
from vision.features import FeatureConfig, FeatureExtractor
from vision.tasks.localization.data import (
    AugmentConfig,
    Windows,
    find_videos,
    load_tracks,
    read_annotations,
)


def read(folder: Path, entry: object) -> dict:
    path = folder / "truth.json"
    path.write_text(json.dumps({"database": {"film": entry}}))
    return read_annotations(path)["film"]


def test_what_an_entry_leaves_out_is_empty(tmp_path: Path):
    assert read(tmp_path, {}) == {"subset": "", "annotations": []}
    assert read(tmp_path, {"subset": None, "annotations": None}) == read(tmp_path, {})


def test_numbers_and_labels_are_brought_to_one_form(tmp_path: Path):
    entry = read(tmp_path, {"annotations": [{"segment": ["1", 2], "label": 3, "label_id": 0}]})
    assert entry["annotations"] == [{"segment": [1.0, 2.0], "label": "3", "label_id": 0}]


@pytest.mark.parametrize(
    ("written", "read_as"),
    [
        ("validation", "validation"),
        ("Validation", "validation"),
        ("val", "validation"),
        ("Test", "testing"),
        ("train", "training"),
        ("mine", "mine"),
    ],
)
def test_subsets_have_one_name(tmp_path: Path, written: str, read_as: str):
    assert read(tmp_path, {"subset": written})["subset"] == read_as


@pytest.mark.parametrize("content", ["[]", "{}", '{"database": [1]}', "nothing", "\xff"])
def test_files_that_are_no_annotations_are_refused(tmp_path: Path, content: str):
    path = tmp_path / "truth.json"
    path.write_bytes(content.encode("latin-1"))
    with pytest.raises(FoveateError, match=r"truth\.json is no ActivityNet annotation file"):
        read_annotations(path)
    with pytest.raises(FoveateError, match="no such annotation file"):
        read_annotations(tmp_path / "other.json")


@pytest.mark.parametrize(
    ("entry", "reason"),
    [
        ([], "attribute"),
        ({"annotations": [{"segment": [1], "label": "a"}]}, "unpack"),
        ({"annotations": [{"segment": [1, 2]}]}, "no 'label'"),
        ({"annotations": [{"segment": [2, 1], "label": "a"}]}, r"\[2, 1\] is no segment"),
        ({"annotations": [{"segment": [0, "nan"], "label": "a"}]}, r"\[0, nan\] is no segment"),
        ({"annotations": [{"segment": [0, None], "label": "a"}]}, "NoneType"),
    ],
)
def test_entries_that_cannot_be_used_are_named(tmp_path: Path, entry: object, reason: str):
    with pytest.raises(FoveateError, match=f"'film' is unusable: .*{reason}"):
        read(tmp_path, entry)


def test_videos_are_found_by_file_or_key(tmp_path: Path):
    for name in ("one.mkv", "v_two.mp4", "three.mp4", "four"):
        (tmp_path / name).touch()
    entries = {"one": {}, "two": {"file": None}, "3": {"file": "elsewhere/three.mp4"}, "four": {}}
    found = find_videos(tmp_path, entries)
    assert [path.name for path in found.values()] == ["one.mkv", "v_two.mp4", "three.mp4", "four"]


def test_all_missing_videos_are_counted_before_any_is_read(tmp_path: Path):
    (tmp_path / "there.mp4").touch()
    entries = {video: {} for video in ("there", "a", "b", "c", "d")}
    with pytest.raises(FoveateError, match=r"lacks 4 of 5 videos: 'a', 'b', 'c', \.\.\.$"):
        find_videos(tmp_path, entries)


def test_the_same_index_gives_the_same_window_and_joins_keep_their_truth(blinks: Path):
    config = FeatureConfig(parts=("motion",))
    tracks = load_tracks(
        read_annotations(blinks / "blinks.json"),
        blinks / "films",
        ["left", "right"],
        FeatureExtractor(config, "cpu"),
    )
    augment = AugmentConfig(join=1.0, mirror=("",))
    data = Windows(tracks, 120, 30, config, augment, seed=3)
    for index in range(30):
        values, mask, classes, segments, labels = data[index]
        assert torch.equal(values, data[index][0])
        assert mask.all()
        assert (segments[:, 1] > segments[:, 0]).all()
        assert segments.max() <= 120
        for (start, end), label in zip(segments, labels, strict=True):
            middle = int((start + end) / 2)
            assert classes[middle] == label + 1
