"""Reading data sets: boxes, weights, labelled classes, teachers, pictures of every home."""

import json
import tarfile

import numpy as np
import pytest

from vision.errors import FoveateError
from vision.images import ImageStore
from vision.tasks.detection.augment import AugmentConfig
from vision.tasks.detection.coco import load_coco
from vision.tasks.detection.data import (
    DetectionDataset,
    SourceConfig,
    read_source,
    teacher_weight,
)


def write(path, content):
    path.write_text(json.dumps(content))
    return path.name


@pytest.fixture
def coco(tmp_path):
    write(
        tmp_path / "truth.json",
        {
            "images": [
                {"id": 1, "file_name": "a.jpg"},
                {"id": 2, "file_name": "b.jpg", "labelled_categories": [1]},
            ],
            "annotations": [
                {"image_id": 1, "category_id": 1, "bbox": [10, 20, 30, 40]},
                {"image_id": 1, "category_id": 5, "bbox": [0, 0, 50, 50], "iscrowd": 1},
                {"image_id": 2, "category_id": 1, "bbox": [0, 0, 10, 10]},
            ],
            "categories": [{"id": 1, "name": "person"}, {"id": 5, "name": "crowd"}],
        },
    )
    write(
        tmp_path / "teacher.json",
        [
            {"image_id": 1, "category_id": 5, "bbox": [60, 60, 10, 10], "score": 0.9},
            {"image_id": 2, "category_id": 5, "bbox": [50, 50, 20, 20], "score": 0.4},
            {"image_id": 2, "category_id": 6, "bbox": [50, 50, 20, 20], "score": 0.3},
            {"image_id": 2, "category_id": 5, "bbox": [0, 0, 10, 11], "score": 0.8},
        ],
    )
    return tmp_path


def test_boxes_crowds_and_labelled_classes(coco):
    a, b = read_source(coco, SourceConfig(images="x.tar", annotations="truth.json"))
    assert a.key == "x.tar:a.jpg"
    assert a.boxes == [[10, 20, 40, 60], [0, 0, 50, 50]]
    assert a.weights == [1.0, 0.0]  # a crowd is neither object nor background
    assert a.labelled is None
    assert b.labelled == [1]


def test_a_teacher_fills_in_what_is_not_labelled(coco):
    source = SourceConfig(images="x.tar", annotations="truth.json", teacher="teacher.json")
    a, b = read_source(coco, source)
    assert len(a.boxes) == 2  # complete labels need no teacher
    # The true box and the better name of the new one; what lies on the true box is dropped.
    assert b.boxes == [[0, 0, 10, 10], [50, 50, 70, 70]]
    assert b.categories == [1, 5]
    assert b.weights == [1.0, teacher_weight(0.4)]


def test_teacher_weights_rise_with_the_score():
    weights = [teacher_weight(s) for s in (0.1, 0.15, 0.3, 0.5, 0.9)]
    assert weights[0] == weights[1] == 0
    assert weights == sorted(weights)
    assert weights[3] == weights[4] == 1


def test_teacher_keys_are_chosen_by_prefix(tmp_path):
    rows = {"set/a.tar:1.jpg": [], "set/b.tar:2.jpg": [[1, 0.5, 1, 2, 3, 4]], "v/c.mp4@1.0": []}
    write(tmp_path / "t.json", {"detections": rows})
    only = read_source(tmp_path, SourceConfig(teacher="t.json", only=("set/",), skip=("set/a",)))
    assert [r.key for r in only] == ["set/b.tar:2.jpg"]
    assert only[0].boxes == [[1, 2, 4, 6]]


def test_samples_depend_on_seed_and_index_alone(rectangles):
    def make(seed):
        source = SourceConfig(images="train.tar", annotations="train.json")
        return DetectionDataset(rectangles, [source], [3, 8], 96, AugmentConfig(), 100, seed)

    first, second, other = make(0), make(0), make(1)
    _ = second[3]
    for key in ("boxes", "labels", "weights"):
        np.testing.assert_array_equal(first[7][1][key], second[7][1][key])
    np.testing.assert_array_equal(first[7][0], second[7][0])
    assert not np.array_equal(first[7][0], other[7][0])


def test_sources_are_drawn_by_share(rectangles):
    sources = [
        SourceConfig(images="train.tar", annotations="train.json", share=0.9),
        SourceConfig(images="val.tar", annotations="val.json", share=0.1),
    ]
    data = DetectionDataset(rectangles, sources, [3, 8], 96, AugmentConfig(), 10, 0)
    steps = np.diff(data.odds, prepend=0)
    assert steps[:24].sum() == pytest.approx(0.9)
    assert data.odds[-1] == pytest.approx(1)


def test_pictures_from_tar_folder_and_video(rectangles, tmp_path, sample_clip):
    with tarfile.open(rectangles / "val.tar") as archive:
        archive.extractall(tmp_path / "folder", filter="data")
    packed = ImageStore(rectangles).read("val.tar:003.png")
    loose = ImageStore(tmp_path).read("folder:003.png")
    np.testing.assert_array_equal(packed, loose)
    frame = ImageStore(sample_clip.parent).read(f"{sample_clip.name}@2.0")
    assert frame.shape == (270, 480, 3)


@pytest.mark.parametrize(
    "key", ["val.tar:none.png", "none.tar:003.png", "none:003.png", "val.json:003.png"]
)
def test_a_missing_picture_is_named(rectangles, key):
    with pytest.raises(FoveateError, match=r"003|none"):
        ImageStore(rectangles).read(key)


def test_a_compressed_tar_is_refused(tmp_path):
    with tarfile.open(tmp_path / "x.tar", "w:gz"):
        pass
    with pytest.raises(FoveateError, match="uncompressed"):
        ImageStore(tmp_path).read("x.tar:a.png")


@pytest.mark.parametrize("content", ["", "[1, 2", "no json"])
def test_unreadable_json_is_named(tmp_path, content):
    (tmp_path / "truth.json").write_text(content)
    with pytest.raises(FoveateError, match=r"truth\.json"):
        read_source(tmp_path, SourceConfig(images="x.tar", annotations="truth.json"))


PICTURE = {"id": 1, "file_name": "a.jpg"}
PERSON = {"id": 1, "name": "person"}
BOX = {"image_id": 1, "category_id": 1, "bbox": [1, 2, 3, 4]}


@pytest.mark.parametrize(
    ("content", "answer"),
    [
        ([], "instance file"),
        ({"images": [], "annotations": []}, "categories"),
        ({"images": [{}], "annotations": [], "categories": []}, r"images\.0\.id"),
        ([{**BOX, "bbox": [1, 2]}], r"annotations\.0\.bbox"),
        ([BOX, {**BOX, "image_id": 7}], "annotation 1: no image 7"),
        ([{**BOX, "category_id": 7}], "annotation 0: no class 7"),
    ],
)
def test_what_is_no_coco_file_is_refused_in_one_line(tmp_path, content, answer):
    if isinstance(content, list) and content:
        content = {"images": [PICTURE], "annotations": content, "categories": [PERSON]}
    name = write(tmp_path / "truth.json", content)
    with pytest.raises(FoveateError, match=answer) as raised:
        load_coco(tmp_path / name)
    assert name in str(raised.value)
    assert "\n" not in str(raised.value)
