"""The captioner as users call it."""

import json
from dataclasses import replace

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from vision.errors import FoveateError
from vision.tasks.boxes import LabelledBox
from vision.tasks.captioning.predict import CaptionPredictor, fit_regions
from vision.tasks.captioning.results import Caption
from vision.tasks.detection.coco import load_json
from vision.tasks.detection.data import Pictures


@pytest.fixture(scope="module")
def pictures(squares):
    truth = load_json(squares / "val.json")
    return [image for _, image in Pictures(squares / "val.tar", truth)], truth["annotations"]


def regions_of(annotation):
    x, y, w, h = annotation["bbox"]
    return [LabelledBox((x, y, x + w, y + h))]


def test_it_learns_to_name_what_it_sees(captioner, pictures):
    images, boxes = pictures
    for image, box, result in zip(images, boxes, captioner.predict(images), strict=True):
        colour = {3: "red", 8: "green"}[box["category_id"]]
        assert colour in result.caption.lower(), result.caption
        assert (result.height, result.width) == image.shape[:2]


def test_no_pictures_have_no_captions(captioner):
    assert captioner.predict([]) == captioner.describe([]) == []


def test_phrases_point_into_the_caption_and_the_picture(captioner, pictures):
    images, boxes = pictures
    (result,) = captioner.predict(images[:1], regions=regions_of(boxes[0]))
    (phrase,) = result.phrases
    assert result.caption[phrase.start : phrase.end] == phrase.text
    assert phrase.text.lower() == phrase.label
    x, y, w, h = boxes[0]["bbox"]
    assert phrase.box == pytest.approx((x, y, x + w, y + h), abs=0.01)
    assert phrase.attention == [1.0]
    assert phrase.mass == 1.0


def test_attention_sums_to_one_and_its_map_covers_the_regions(captioner, pictures):
    images, _ = pictures
    corners = [LabelledBox((0, 0, 20, 20)), LabelledBox((30, 30, 60, 60))]
    (result,) = captioner.predict(images[:1], regions=corners)
    (phrase,) = result.phrases
    assert sum(phrase.attention) == pytest.approx(1, abs=1e-3)
    heat = result.attention_map(phrase, 40, 40)
    assert heat.shape == (40, 40)
    assert heat.max() == pytest.approx(1)
    assert heat[0, 0] > 0
    assert heat[-1, 0] == 0


def test_a_batch_gives_what_single_pictures_give(captioner, pictures):
    images, _ = pictures
    together = captioner.predict(images)
    alone = [captioner.predict([image])[0] for image in images]
    assert [r.caption for r in together] == [r.caption for r in alone]
    for one, other in zip(together, alone, strict=True):
        assert one.score == pytest.approx(other.score, abs=1e-3)
        assert [p.region for p in one.phrases] == [p.region for p in other.phrases]


def test_it_is_deterministic(captioner, pictures):
    images, _ = pictures
    assert captioner.predict(images) == captioner.predict(images)


def test_results_survive_json(captioner, pictures):
    (result,) = captioner.predict(pictures[0][:1])
    assert Caption.model_validate(json.loads(json.dumps(result.to_dict()))) == result
    assert result.to_coco(7) == {"image_id": 7, "caption": result.caption}


def test_nothing_to_look_at_still_gives_a_caption(captioner):
    blank = np.full((48, 64, 3), 127, np.uint8)
    (result,) = captioner.predict([blank], regions=[])
    assert result.caption
    assert result.regions == []
    for phrase in result.phrases:
        assert phrase.box is None
        assert phrase.attention == []


@pytest.mark.parametrize("shape", [(1, 1), (1, 400), (300, 1), (3000, 40)])
def test_odd_shapes_give_a_caption(captioner, shape):
    image = np.random.default_rng(0).integers(0, 255, (*shape, 3)).astype(np.uint8)
    (result,) = captioner.predict([image])
    assert result.caption
    assert (result.height, result.width) == shape


def test_no_pictures_give_no_captions(captioner):
    assert captioner.predict([]) == []


@pytest.mark.parametrize(
    "image", [np.zeros((4, 4), np.uint8), np.zeros((4, 4, 4), np.uint8), np.zeros((4, 4, 3))]
)
def test_what_is_no_picture_is_refused(captioner, image):
    with pytest.raises(FoveateError, match="uint8"):
        captioner.predict([image])


def test_arrays_that_are_no_pictures_are_refused_with_regions_too(captioner):
    with pytest.raises(FoveateError, match="uint8"):
        captioner.predict([np.zeros((4, 4), np.uint8)], regions=[LabelledBox((0, 0, 2, 2))])


def test_regions_come_from_a_file_the_same_or_each_picture_its_own(captioner, pictures, tmp_path):
    images, boxes = pictures
    x, y, w, h = boxes[0]["bbox"]
    path = tmp_path / "boxes.json"
    path.write_text(json.dumps([{"bbox": boxes[0]["bbox"]}]))
    first, second = captioner.predict(images[:2], regions=path)
    for result in (first, second):
        assert result.regions[0].box == pytest.approx((x, y, x + w, y + h), abs=0.01)
    path.write_text(json.dumps({"one": [{"bbox": boxes[0]["bbox"]}], "two": []}))
    own = captioner.predict(images[:2], regions=path, names=["one", "two"])
    assert own[0] == first
    assert own[1].regions == []
    with pytest.raises(FoveateError, match="no boxes for 'three'"):
        captioner.predict(images[:1], regions=path, names=["three"])


def test_half_precision_says_nearly_the_same(trained, captioner, pictures):
    images, _ = pictures
    half = CaptionPredictor.from_weights(str(trained), device="cpu", half=True)
    rough, fine = (each.look(images[:1])[0].overall.float() for each in (half, captioner))
    assert not torch.equal(rough, fine)
    assert torch.cosine_similarity(rough, fine, dim=0) > 0.99
    for one, other in zip(half.predict(images), captioner.predict(images), strict=True):
        assert one.score == pytest.approx(other.score, abs=0.1)


sides = st.floats(-50, 150)


@settings(max_examples=50, deadline=None)
@given(st.tuples(sides, sides, st.floats(0.5, 99), st.floats(0.5, 99)))
def test_regions_are_cut_to_the_picture(corner):
    x, y, w, h = corner
    image = np.zeros((60, 80, 3), np.uint8)
    inside = x + w > 0 and y + h > 0 and x < 80 and y < 60
    cut = fit_regions([LabelledBox((x, y, x + w, y + h), "dog", 0.5)], image)
    assert len(cut) == inside
    for region in cut:
        x1, y1, x2, y2 = region.box
        assert 0 <= x1 < x2 <= 80
        assert 0 <= y1 < y2 <= 60
        assert replace(region, box=(x, y, x + w, y + h)).label == "dog"


def test_a_wider_beam_never_says_something_less_likely(captioner, pictures):
    images, _ = pictures
    narrow, wide = (captioner.predict(images, beam=beam) for beam in (1, 5))
    assert sum(r.score for r in wide) >= sum(r.score for r in narrow) - 0.5
