"""The timeline as a picture."""

from collections import Counter
from itertools import pairwise

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from vision.tasks.localization.timeline import (
    COLOURS,
    LEFT,
    WIDTH,
    Span,
    colour,
    ink,
    paint_lane,
    paint_timeline,
    stack,
    tick_step,
)


def test_a_span_lies_where_its_time_is():
    lane = np.zeros((20, 100, 3), np.uint8)
    paint_lane(lane, [Span(2, 5, 1)], 0, 10)
    painted = lane.any((0, 2)).nonzero()[0]
    assert (painted.min(), painted.max()) == (20, 49)
    assert tuple(lane[10, 30]) == COLOURS[1]


@given(st.floats(-5, 15), st.floats(-5, 15))
def test_spans_beyond_the_edges_are_cut(start: float, end: float):
    lane = np.zeros((4, 50, 3), np.uint8)
    paint_lane(lane, [Span(min(start, end), max(start, end), 0, "long name")], 0, 10)
    inside = max(start, end) > 0.2 and min(start, end) < 9.8
    assert lane.any() or not inside


def test_a_label_that_does_not_fit_is_left_out():
    lanes = np.zeros((2, 20, 100, 3), np.uint8)
    for lane, text in zip(lanes, ["a long label", ""], strict=True):
        paint_lane(lane, [Span(2, 5, 1, text)], 0, 10)
    assert (lanes[0] == lanes[1]).all()


times = st.integers(0, 20)


@given(st.lists(st.builds(lambda a, b: Span(min(a, b), max(a, b) + 1, 0), times, times)))
def test_spans_that_overlap_have_lanes_of_their_own(spans: list[Span]):
    lanes = stack(spans)
    assert Counter(span for lane in lanes for span in lane) == Counter(spans)
    for lane in lanes:
        assert all(a.end <= b.start for a, b in pairwise(lane))
    at_once = max(sum(s.start <= t < s.end for s in spans) for t in range(22))
    assert len(lanes) == max(1, at_once)


def test_spans_at_the_same_time_are_all_seen():
    spans = [Span(2, 8, n, "name") for n in range(3)]
    picture = paint_timeline([("prediction", spans)], 0, 10, ["a", "b", "c"])
    areas = [(picture == colour(n)).all(-1).sum() for n in range(3)]
    assert min(areas) > 0.9 * max(areas)
    assert max(areas) > 10_000


def test_every_class_that_comes_up_is_in_the_key():
    labels = [f"class {n}" for n in range(40)]
    lanes = [("truth", [Span(n, n + 1, n) for n in range(40)])]
    picture = paint_timeline(lanes, 0, 40, labels)
    few = paint_timeline([("truth", [Span(0, 1, 0)])], 0, 40, labels)
    assert picture.shape[0] > few.shape[0]
    for n in range(40):
        assert (picture[-26 * 5 :, LEFT:] == colour(n)).all(-1).any()


def test_a_video_of_no_length_has_a_picture():
    assert paint_timeline([("prediction", [])], 3, 3, []).shape[1] == WIDTH


@pytest.mark.parametrize(
    ("seconds", "step"), [(10, 1), (45, 5), (3.9, 0.5), (3600, 500), (0, 1e-4)]
)
def test_about_ten_ticks(seconds: float, step: float):
    assert tick_step(seconds) == pytest.approx(step)


@pytest.mark.parametrize("kind", range(24))
def test_text_can_be_read_on_every_colour(kind: int):
    def light(shade: tuple[int, int, int]) -> float:
        parts = [
            c / 12.92 if c <= 0.04045 else ((c + 0.055) / 1.055) ** 2.4
            for c in (v / 255 for v in shade)
        ]
        return 0.05 + float(np.dot(parts, (0.2126, 0.7152, 0.0722)))

    dark, bright = sorted([light(colour(kind)), light(ink(colour(kind)))])
    assert bright / dark >= 4.5
