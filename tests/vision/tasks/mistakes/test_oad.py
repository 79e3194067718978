"""Per-frame metrics beyond their fixtures."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from vision.errors import FoveateError
from vision.tasks.mistakes import oad

FRAMES = st.lists(st.tuples(st.booleans(), st.integers(0, 4)), min_size=1, max_size=30)


@given(FRAMES.filter(lambda frames: any(hit for hit, _ in frames)))
def test_average_precision_is_precision_at_every_threshold_weighted_by_new_recall(frames):
    target, score = (np.array(x, float) for x in zip(*frames, strict=True))
    expected, before = 0.0, 0
    for limit in sorted(set(score), reverse=True):
        said = score >= limit
        hits = int(target[said].sum())
        expected += (hits - before) / target.sum() * hits / said.sum()
        before = hits
    assert np.isclose(oad.average_precision(target, score), expected)


def test_the_calibrated_form_does_not_change_with_more_negatives_of_the_same_kind():
    target, score = np.array([1, 0, 1, 0]), np.array([0.9, 0.8, 0.3, 0.1])
    more = np.repeat([1, 0, 1, 0], [1, 5, 1, 5]), np.repeat(score, [1, 5, 1, 5])
    once = oad.calibrated_average_precision(target, score)
    assert np.isclose(once, oad.calibrated_average_precision(*more))
    assert not np.isclose(oad.average_precision(target, score), oad.average_precision(*more))


def test_the_ignored_class_is_a_choice():
    target, scores = np.eye(3)[[0, 1, 0, 1]], np.eye(3)[[0, 1, 1, 1]]
    assert set(oad.per_frame(scores, target)) == {1}
    assert set(oad.per_frame(scores, target, ignore=())) == {0, 1}  # class 2 never occurs
    assert np.isnan(oad.mean(oad.per_frame(scores, target, ignore=(0, 1))))


def test_stages_follow_an_action():
    target = np.zeros((20, 2))
    target[5:16, 1] = 1  # eleven frames, of which ten count
    scores = np.zeros((20, 2))
    scores[5:10, 1] = 1  # only its first half is seen
    stages = [oad.mean(stage) for stage in oad.per_stage(scores, target)]
    assert stages[:5] == [pytest.approx(1)] * 5
    assert max(stages[5:]) < 0.9


def test_thumos_leaves_out_ambiguous_frames_and_smooths_and_switches_on_demand():
    rng = np.random.default_rng(0)
    scores, target = rng.random((9, 22)), np.eye(22)[[1, 8, 21, 8, 5, 1, 21, 5, 1]]
    kept, labels = oad.thumos(scores, target)
    assert len(kept) == len(labels) == 7
    assert (kept == scores[target[:, 21] != 1]).all()
    smooth, _ = oad.thumos(scores, np.zeros_like(target), smooth=True)
    assert (smooth[0] == scores[:3].max(0)).all()
    assert (smooth[4] == scores[2:7].max(0)).all()
    switched, _ = oad.thumos(scores, np.zeros_like(target), switch=True)
    assert (switched[:, 8] == np.maximum(scores[:, 5], scores[:, 8])).all()


def test_shapes_that_do_not_belong_together_are_refused():
    with pytest.raises(FoveateError, match=r"\(3, 2\)"):
        oad.per_frame(np.zeros((3, 2)), np.zeros((4, 2)))
