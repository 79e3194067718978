"""Identities stay with their objects, whatever the detector's scores and order."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from video.frames import Selection, SourceInfo, TimedFrame
from video.tracking import ByteTrack, track
from vision.results import Detection, Detections

IMAGE = np.zeros((100, 200, 3), np.uint8)


def detections(*places: tuple[float, float], label: str = "cup") -> Detections:
    """Boxes of 20 pixels at these lefts with these scores."""
    objects = [
        Detection(label=label, category=1, score=score, box=(left, 10, left + 20, 30))
        for left, score in places
    ]
    return Detections(width=200, height=100, objects=objects)


def tracks(tracker: ByteTrack, i: int, result: Detections, rate: float = 20) -> list[int | None]:
    tracked = tracker(TimedFrame(i, i / rate, IMAGE), result)
    assert [o.model_copy(update={"track": None}) for o in tracked.objects] == result.objects
    return [o.track for o in tracked.objects]


@pytest.mark.parametrize("score", [0.31, 0.6, 0.95])
def test_weak_detectors_are_tracked_too(score: float) -> None:
    tracker = ByteTrack(0.3, 20)
    seen = [tracks(tracker, i, detections((i, score))) for i in range(5)]
    assert seen == [[None], [0], [0], [0], [0]]


def test_order_does_not_matter() -> None:
    tracker = ByteTrack(0.3, 20)
    for i in range(3):
        before = tracks(tracker, i, detections((10, 0.9), (150, 0.5)))
    after = tracks(tracker, 3, detections((150, 0.9), (80, 0.95), (10, 0.35)))
    assert before == [0, 1]
    assert after == [1, None, 0]


def test_objects_below_the_threshold_keep_but_never_begin_a_track() -> None:
    tracker = ByteTrack(0.5, 20)
    for i in range(4):
        assert tracks(tracker, i, detections((10, 0.4))) == [None]
    for i in range(4, 7):
        last = tracks(tracker, i, detections((10, 0.8)))
    assert last == [0]
    assert tracks(tracker, 7, detections((10, 0.2))) == [0]


@pytest.mark.parametrize(("gone", "same"), [(10, True), (30, False)])
def test_lost_objects_are_awaited_for_a_second(gone: int, same: bool) -> None:
    tracker = ByteTrack(0.3, 20)
    for i in range(5):
        tracks(tracker, i, detections((10, 0.9)))
    for i in range(5, 5 + gone):
        assert tracks(tracker, i, detections()) == []
    back = [tracks(tracker, 5 + gone + i, detections((10, 0.9))) for i in range(2)]
    assert back[1] == [0 if same else 1]


@pytest.mark.parametrize("selection", [Selection(stride=60), Selection(every=2.0)])
def test_one_frame_in_two_seconds_is_enough(selection: Selection) -> None:
    info = SourceInfo(200, 100, 30.0, None, None)
    tracker = track(0.3)(info, selection, None)  # type: ignore[arg-type]  # no outputs
    seen = [tracks(tracker, i, detections((10, 0.9)), rate=0.5) for i in range(4)]
    assert seen == [[None], [0], [0], [0]]


@settings(max_examples=40, deadline=None)
@given(
    st.lists(
        st.lists(st.tuples(st.floats(-50, 250), st.floats(0, 1)), max_size=6),
        min_size=1,
        max_size=12,
    )
)
def test_any_detections_keep_their_order_and_identities_are_unique(
    frames: list[list[tuple[float, float]]],
) -> None:
    tracker = ByteTrack(0.3, 20)
    for i, places in enumerate(frames):
        found = [t for t in tracks(tracker, i, detections(*places)) if t is not None]
        assert len(found) == len(set(found))
        assert all(t >= 0 for t in found)
