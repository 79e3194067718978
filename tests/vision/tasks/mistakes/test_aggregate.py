"""Windows against their definitions, and steps."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from vision.errors import FoveateError
from vision.tasks.mistakes.aggregate import (
    Aggregator,
    Run,
    aggregate,
    levenshtein_similarity,
    runs,
    window_frames,
)

LABELS = st.lists(st.integers(0, 3), max_size=30)
LENGTHS = st.integers(1, 9)


def mode(labels: list[int]) -> int:
    return min(set(labels), key=lambda label: (-labels.count(label), label))


@given(LABELS, LENGTHS)
def test_side_by_side(labels, length):
    blocks = [labels[n : n + length] for n in range(0, len(labels), length)]
    assert aggregate(labels, length, "noma") == [mode(b) for b in blocks for _ in b]


@given(LABELS, LENGTHS)
def test_behind_each_frame(labels, length):
    expected = [mode(labels[max(0, n + 1 - length) : n + 1]) for n in range(len(labels))]
    assert aggregate(labels, length, "oma") == expected


@given(LABELS, LENGTHS)
def test_around_each_frame(labels, length):
    starts = [n - length // 2 for n in range(len(labels))]
    expected = [mode(labels[max(0, s) : s + length]) for s in starts]
    assert aggregate(labels, length, "ocma") == expected


@given(LABELS, LABELS, LENGTHS, st.sampled_from(["noma", "oma", "ocma"]))
def test_what_is_final_does_not_depend_on_what_comes(labels, coming, length, windows):
    aggregator = Aggregator(length, windows)
    said = [label for one in labels for label in aggregator.update(one)]
    assert aggregate(labels + coming, length, windows)[: len(said)] == said


def test_it_begins_anew_after_the_end():
    aggregator = Aggregator(3, "ocma")
    first = [x for label in (1, 1, 2) for x in aggregator.update(label)] + aggregator.finish()
    again = [x for label in (1, 1, 2) for x in aggregator.update(label)] + aggregator.finish()
    assert first == again == [1, 1, 1]


def test_runs_end_before_the_next():
    assert runs([2, 2, 5, 2]) == [Run(2, 0, 2), Run(5, 2, 3), Run(2, 3, 4)]
    assert runs([]) == []


@pytest.mark.parametrize(
    ("seconds", "fps", "frames"), [(200 / 30, 30, 200), (1, 10, 10), (0, 9, 1)]
)
def test_windows_follow_the_frame_rate(seconds, fps, frames):
    assert window_frames(seconds, fps) == frames


@given(st.lists(st.integers(0, 2), max_size=7), st.lists(st.integers(0, 2), max_size=7))
def test_levenshtein_similarity(a, b):
    value = levenshtein_similarity(a, b)
    assert value == levenshtein_similarity(b, a)
    assert (value == 1) == (a == b)
    longest = max(len(a), len(b), 1)
    assert 0 <= value <= 1
    assert np.isclose(value * longest, round(value * longest))


def test_levenshtein_counts_edits():
    assert levenshtein_similarity([1, 2, 3, 4], [1, 3, 5]) == 0.5


def test_bad_windows_are_named():
    with pytest.raises(FoveateError, match="0 frames"):
        Aggregator(0)
    with pytest.raises(FoveateError, match="'median'"):
        Aggregator(3, "median")  # type: ignore[arg-type]  # what a recipe could hold
