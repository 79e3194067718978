"""Results and what they convert to."""

import numpy as np
import pytest
from pydantic import ValidationError

from vision.results import Detection, Detections


def detections():
    return Detections(
        width=100,
        height=50,
        objects=[
            Detection(label="cat", category=17, score=0.9, box=(10, 10, 30, 40)),
            Detection(label="dog", category=18, score=0.5, box=(0, 5, 50, 45)),
        ],
    )


def test_round_trip_through_json():
    result = detections()
    assert Detections.model_validate_json(result.model_dump_json()) == result
    assert result.to_dict()["objects"][0] == {
        "label": "cat",
        "category": 17,
        "score": 0.9,
        "box": [10, 10, 30, 40],
        "track": None,
    }


def test_coco_boxes_are_corner_and_size():
    entry = detections().to_coco(7)[1]
    assert entry == {"image_id": 7, "category_id": 18, "bbox": [0, 5, 50, 40], "score": 0.5}


def test_supervision():
    converted = detections().to_supervision()
    np.testing.assert_array_equal(converted.xyxy[1], [0, 5, 50, 45])
    assert converted.class_id.tolist() == [17, 18]
    assert converted["class_name"].tolist() == ["cat", "dog"]
    assert converted.tracker_id is None
    tracked = detections().with_tracks([4, None]).to_supervision()
    assert tracked.tracker_id.tolist() == [4, -1]


def test_an_empty_result_converts_too():
    empty = Detections(width=1, height=1, objects=[])
    assert len(empty.to_supervision()) == 0
    assert empty.to_coco(1) == []


def test_with_tracks_leaves_the_original_alone():
    result = detections()
    assert result.with_tracks([1, 2]).objects[1].track == 2
    assert result.objects[1].track is None
    with pytest.raises(ValueError, match="shorter"):
        result.with_tracks([1])


def test_scores_are_checked():
    with pytest.raises(ValidationError):
        Detection(label="x", category=1, score=1.5, box=(0, 0, 1, 1))
