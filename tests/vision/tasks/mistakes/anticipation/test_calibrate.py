"""Thresholds."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from vision.errors import FoveateError
from vision.tasks.mistakes.anticipation.calibrate import Scores, conformal_threshold, score


@given(st.integers(5, 60), st.floats(0.02, 0.9), st.integers(0, 99))
def test_a_new_score_exceeds_the_threshold_as_often_as_promised(n, alpha, seed):
    """Exchangeable scores: over all choices of the new one, at most a share `alpha` exceeds."""
    scores = np.random.default_rng(seed).permutation(n + 1).astype(float)
    exceeds = [scores[i] > conformal_threshold(np.delete(scores, i), alpha) for i in range(n + 1)]
    assert np.mean(exceeds) <= max(alpha, 1 / (n + 1)) + 1e-9


def test_levels_that_make_no_sense():
    with pytest.raises(FoveateError, match="between 0 and 1"):
        conformal_threshold([1.0], -0.1)
    with pytest.raises(FoveateError, match="examples"):
        conformal_threshold([], 0.1)


def test_the_best_level_parts_early_steps_from_correct_ones():
    scores = Scores(np.array([0.0, 0.1, 0.2, 5.0]), np.array([1.0, 2.0, 3.0]), np.ones(3))
    assert scores.best_alpha() == pytest.approx(0.25)
    assert 0.2 <= scores.threshold() <= 5.0


def test_early_steps_of_a_sequence_weigh_one_a_place():
    """Each step that comes later is tried at each place, the steps done there excepted."""
    judged = [((0, 1, 2), [np.arange(3.0)] * 3)]
    found = score(judged)
    assert found.correct.tolist() == [0, 1, 2]
    assert found.early.tolist() == [1, 2, 2]
    assert found.weight.tolist() == [0.5, 0.5, 1]
