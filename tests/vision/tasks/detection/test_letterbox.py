"""Into the canvas and back again."""

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from vision.tasks.detection.letterbox import Letterbox

sides = st.integers(1, 4000)


@given(height=sides, width=sides, size=st.sampled_from([96, 288, 320]))
def test_the_canvas_fits_and_divides(height, width, size):
    box = Letterbox(height, width, size)
    assert max(box.scaled) == size
    for canvas, scaled, offset in zip(box.canvas, box.scaled, box.offset, strict=True):
        assert canvas % 32 == 0
        assert offset >= 0
        assert offset + scaled <= canvas < scaled + 32


@given(
    height=st.integers(20, 2000),
    width=st.integers(20, 2000),
    corners=st.lists(st.floats(0, 1), min_size=4, max_size=4),
)
def test_undo_reverses_the_mapping(height, width, corners):
    box = Letterbox(height, width, 288)
    xs, ys = sorted(corners[:2]), sorted(corners[2:])
    truth = np.array([[xs[0] * width, ys[0] * height, xs[1] * width, ys[1] * height]])
    scale = np.array([box.scaled[1] / width, box.scaled[0] / height] * 2)
    on_canvas = truth * scale + np.array([box.offset[1], box.offset[0]] * 2)
    np.testing.assert_allclose(box.undo(on_canvas), truth, atol=1e-2 * max(1, width / 100))


def test_boxes_in_the_padding_are_clipped_to_the_picture():
    box = Letterbox(100, 200, 288)
    clipped = box.undo(np.array([[-50.0, -50.0, 900.0, 900.0]]))
    assert clipped.tolist() == [[0, 0, 200, 100]]


def test_the_picture_lies_where_offset_says():
    image = np.full((50, 100, 3), 255, np.uint8)
    box = Letterbox(50, 100, 96)
    canvas = box.apply(image)
    top, left = box.offset
    height, width = box.scaled
    inside = canvas[top : top + height, left : left + width]
    assert (inside == 255).all()
    assert (canvas == 255).sum() == inside.size
