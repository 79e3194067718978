"""Boxes stay on what they box, whatever happens to the picture."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from vision.tasks.detection.augment import AugmentConfig, augment, place
from vision.tasks.detection.data import Sample

QUIET = {"colour": 0.0, "grey": 0.0}


def square_sample(x=30, y=40, side=24, size=(120, 160)):
    """A red square on black, boxed."""
    image = np.zeros((*size, 3), np.uint8)
    image[y : y + side, x : x + side, 0] = 255
    return Sample(
        image=image,
        boxes=np.array([[x, y, x + side, y + side]], np.float32),
        labels=np.array([0]),
        weights=np.ones(1, np.float32),
        labelled=np.ones(2, bool),
    )


def red_extent(image):
    red = (image[..., 0].astype(int) - image[..., 1]) > 100
    ys, xs = np.where(red)
    return np.array([xs.min(), ys.min(), xs.max() + 1, ys.max() + 1])


@settings(max_examples=60, deadline=None)
@given(
    seed=st.integers(0, 10_000),
    overhead=st.booleans(),
    flip=st.booleans(),
    x=st.integers(0, 130),
    y=st.integers(0, 90),
)
def test_the_box_follows_the_square(seed, overhead, flip, x, y):
    config = AugmentConfig(mosaic=0.0, overhead=overhead, flip=flip, **QUIET)
    sample = augment(lambda: square_sample(x, y), 128, config, np.random.default_rng(seed))
    assert sample.image.shape == (128, 128, 3)
    assert sample.image.dtype == np.uint8
    if len(sample.boxes) == 0 or sample.weights[0] == 0:
        return
    np.testing.assert_allclose(sample.boxes[0], red_extent(sample.image), atol=2.0)


@settings(max_examples=30, deadline=None)
@given(seed=st.integers(0, 10_000))
def test_boxes_of_a_mosaic_lie_on_the_canvas(seed):
    config = AugmentConfig(mosaic=1.0)
    sample = augment(square_sample, 96, config, np.random.default_rng(seed))
    assert sample.image.shape == (96, 96, 3)
    assert len(sample.boxes) == len(sample.labels) == len(sample.weights) <= 4
    assert (sample.boxes >= 0).all()
    assert (sample.boxes <= 96).all()
    assert (sample.boxes[:, 2:] - sample.boxes[:, :2] > 2).all()


def test_a_mosaic_labels_what_all_four_label():
    samples = [square_sample() for _ in range(4)]
    samples[2].labelled = np.array([True, False])
    drawn = iter(samples)
    sample = augment(lambda: next(drawn), 96, AugmentConfig(mosaic=1.0), np.random.default_rng(0))
    assert sample.labelled.tolist() == [True, False]


def test_a_box_that_is_mostly_cut_off_does_not_count():
    # At five times the size most of the square sticks out somewhere.
    config = AugmentConfig(scale=(8.0, 8.0), aspect=1.0, **QUIET)
    weights = []
    for seed in range(200):
        sample = place(square_sample(), (64, 64), config, np.random.default_rng(seed))
        weights += sample.weights.tolist()
    assert 0.0 in weights
    assert 1.0 in weights
    assert len(weights) < 200  # and some are gone


def test_the_source_picture_is_left_alone():
    source = square_sample()
    before = source.image.copy()
    augment(lambda: source, 96, AugmentConfig(mosaic=0.0), np.random.default_rng(3))
    np.testing.assert_array_equal(source.image, before)
    assert source.boxes.tolist() == [[30, 40, 54, 64]]


@pytest.mark.parametrize("grey", [0.0, 1.0])
def test_grey_takes_the_colour_away(grey):
    config = AugmentConfig(mosaic=0.0, grey=grey, colour=0.0)
    sample = augment(square_sample, 96, config, np.random.default_rng(0))
    coloured = (sample.image[..., 0] != sample.image[..., 1]).any()
    assert coloured == (grey == 0.0)
