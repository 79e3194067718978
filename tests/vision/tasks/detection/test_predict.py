"""The shipped detector on pictures of every kind."""

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from vision.errors import FoveateError
from vision.images import ImageStore
from vision.tasks.detection.predict import Detector


@pytest.fixture(scope="module")
def detector():
    return Detector.from_weights(device="cpu")


@pytest.fixture(scope="module")
def store(sample_clip):
    """A frame with two people in a store."""
    return ImageStore(sample_clip.parent).read(f"{sample_clip.name}@2.5")


def test_people_are_found_where_they_are(detector, store):
    (result,) = detector.predict([store])
    assert (result.width, result.height) == (480, 270)
    people = [d for d in result.objects if d.label == "person"]
    middle_of_the_man = (295, 150)
    assert any(
        d.box[0] < middle_of_the_man[0] < d.box[2] and d.box[1] < middle_of_the_man[1] < d.box[3]
        for d in people
    )
    scores = [d.score for d in result.objects]
    assert scores == sorted(scores, reverse=True)
    assert min(scores) >= detector.threshold


def test_a_batch_gives_what_single_pictures_give(detector, store):
    pictures = [store, store[:, ::-1].copy(), store[:200, :300].copy()]
    batch = detector.predict(pictures, threshold=0.1)
    for picture, together in zip(pictures, batch, strict=True):
        (alone,) = detector.predict([picture], threshold=0.1)
        assert [d.label for d in alone.objects] == [d.label for d in together.objects]
        for one, other in zip(alone.objects, together.objects, strict=True):
            assert one.score == pytest.approx(other.score, abs=2e-3)
            np.testing.assert_allclose(one.box, other.box, atol=0.5)


def test_boxes_follow_the_size_of_the_picture(detector, store):
    (small,) = detector.predict([store])
    (large,) = detector.predict([np.repeat(np.repeat(store, 2, axis=0), 2, axis=1)])
    assert small.objects[0].label == large.objects[0].label == "person"
    np.testing.assert_allclose(np.array(small.objects[0].box) * 2, large.objects[0].box, atol=12)


def test_threshold_and_classes(detector, store):
    (everything,) = detector.predict([store], threshold=0.02)
    (sure,) = detector.predict([store], threshold=0.3)
    assert len(everything.objects) > len(sure.objects) > 0
    assert all(d.score >= 0.3 for d in sure.objects)
    (people,) = detector.predict([store], threshold=0.02, classes=["person"])
    assert {d.label for d in people.objects} == {"person"}
    assert detector.predict([]) == []


def test_bfloat16_agrees(detector, store):
    half = Detector.from_weights(device="cpu", half=True)
    (exact,), (rounded,) = detector.predict([store]), half.predict([store])
    assert rounded.objects[0].label == exact.objects[0].label
    assert rounded.objects[0].score == pytest.approx(exact.objects[0].score, abs=0.05)
    np.testing.assert_allclose(rounded.objects[0].box, exact.objects[0].box, atol=6)


def test_it_is_deterministic(detector, store):
    assert detector.predict([store]) == detector.predict([store])


@settings(max_examples=12, deadline=None)
@given(height=st.integers(1, 300), width=st.integers(1, 300), value=st.integers(0, 255))
def test_any_size_of_picture_works(detector, height, width, value):
    (result,) = detector.predict([np.full((height, width, 3), value, np.uint8)], threshold=0.0)
    assert (result.width, result.height) == (width, height)
    for d in result.objects:
        x1, y1, x2, y2 = d.box
        assert 0 <= x1 <= x2 <= width
        assert 0 <= y1 <= y2 <= height


@pytest.mark.parametrize(
    "picture",
    [
        np.zeros((10, 10), np.uint8),
        np.zeros((10, 10, 4), np.uint8),
        np.zeros((10, 10, 3), np.float32),
        np.zeros((0, 10, 3), np.uint8),
    ],
)
def test_what_is_no_picture_is_refused(detector, picture):
    with pytest.raises(FoveateError, match=r"picture 0 is"):
        detector.predict([picture])


def test_an_unknown_class_gets_the_nearest(detector, store):
    with pytest.raises(FoveateError, match="did you mean 'person'"):
        detector.predict([store], classes=["preson"])


def test_the_network_left_no_training_state(detector):
    assert not detector.model.training
    assert not any(p.grad is not None for p in detector.model.parameters())
    assert torch.is_grad_enabled()
