"""MultiMatch against the package multimatch-gaze."""

import numpy as np
import pytest
from hypothesis import assume, given, settings
from hypothesis import strategies as st

from vision.tasks.scanpath.metrics import MULTIMATCH_NAMES, Grouping, multimatch

package = pytest.importorskip("multimatch_gaze", reason="needs foveate[dev]")

SIZE = (640, 480)
FIELDS = [("start_x", "f8"), ("start_y", "f8"), ("duration", "f8")]
seeds = st.integers(0, 10_000)


def a_path(rng, length):
    corner = rng.uniform(0, 1, 2) * SIZE
    places = corner + rng.normal(0, 60, (length, 2)).cumsum(axis=0)
    return np.column_stack([places, rng.uniform(0.05, 0.6, length)])


def by_package(a, b, **grouping):
    records = (np.array([tuple(row) for row in path], dtype=FIELDS) for path in (a, b))
    return package.docomparison(*records, SIZE, grouping=bool(grouping), **grouping)


@given(seeds, st.integers(3, 12), st.integers(3, 12))
@settings(max_examples=60, deadline=None)
def test_plain(seed, first, second):
    rng = np.random.default_rng(seed)
    a, b = a_path(rng, first), a_path(rng, second)
    assert multimatch([a], [b], SIZE)[0, 0] == pytest.approx(by_package(a, b), abs=1e-12)


@given(seeds, st.integers(3, 12), st.integers(3, 12), st.floats(40, 150), st.floats(0.1, 0.5))
@settings(max_examples=60, deadline=None)
def test_grouped(seed, first, second, amplitude, duration):
    rng = np.random.default_rng(seed)
    a, b = a_path(rng, first), a_path(rng, second)
    try:
        expected = by_package(a, b, TAmp=amplitude, TDir=45.0, TDur=duration)
    except (IndexError, ValueError):  # the package fails when one saccade is left
        assume(False)
    found = multimatch([a], [b], SIZE, Grouping(amplitude, 45.0, duration))[0, 0]
    assert found == pytest.approx(expected, abs=1e-12)


def test_a_path_is_like_itself():
    path = a_path(np.random.default_rng(1), 6)
    assert multimatch([path], [path], SIZE)[0, 0].tolist() == [1] * len(MULTIMATCH_NAMES)


def test_short_paths():
    rng = np.random.default_rng(2)
    short, long = a_path(rng, 2), a_path(rng, 5)
    table = multimatch([short, long, np.empty((0, 3))], [long], SIZE)
    assert np.isnan(table[[0, 2]]).all()
    assert not np.isnan(table[1]).any()
    padded = multimatch([short, np.empty((0, 3))], [long], SIZE, pad_short=True)
    filled = np.concatenate([short, [[1, 1, 1]]])
    assert np.array_equal(padded[0], multimatch([filled], [long], SIZE)[0])
    assert not np.isnan(padded).any()


def test_without_durations():
    path = a_path(np.random.default_rng(3), 5)
    found = multimatch([path[:, :2]], [path], SIZE)[0, 0]
    assert found[:4].tolist() == [1, 1, 1, 1]
    assert np.isnan(found[4])


def test_grouping_may_leave_one_saccade():
    still = np.array([[10, 10, 0.1], [11, 10, 0.1], [12, 10, 0.1]])
    found = multimatch([still], [still], SIZE, Grouping(100, 45, 1))
    assert found[0, 0] == pytest.approx([1] * 5)
