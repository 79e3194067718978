"""Alignment of symbols: against the recursion written out, and what must hold for any paths."""

import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from vision.tasks.scanpath.metrics import edit_distances, human_consistency, sequence_scores

paths = st.lists(st.integers(0, 4), max_size=9)
groups = st.lists(paths, min_size=1, max_size=3)


def aligned(a, b, match, mismatch, gap):
    table = np.zeros((len(a) + 1, len(b) + 1))
    table[:, 0] = gap * np.arange(len(a) + 1)
    table[0] = gap * np.arange(len(b) + 1)
    for i in range(len(a)):
        for j in range(len(b)):
            table[i + 1, j + 1] = max(
                table[i, j] + (match if a[i] == b[j] else mismatch),
                table[i, j + 1] + gap,
                table[i + 1, j] + gap,
            )
    return table[-1, -1]


@given(groups, groups, st.sampled_from([0.0, -0.25, -1.0]))
def test_sequence_scores_are_those_of_the_recursion(predicted, human, gap):
    scores = sequence_scores(predicted, human, gap)
    assert scores.shape == (len(predicted), len(human))
    for i, a in enumerate(predicted):
        for j, b in enumerate(human):
            length = max(len(a), len(b))
            expected = aligned(a, b, 1, 0, gap) / length if length else 1
            assert scores[i, j] == pytest.approx(expected)


@given(groups, groups, st.sampled_from([1, 2]))
def test_edit_distances_are_those_of_the_recursion(predicted, human, cost):
    distances = edit_distances(predicted, human, substitution=cost)
    for i, a in enumerate(predicted):
        for j, b in enumerate(human):
            assert distances[i, j] == -aligned(a, b, 0, -cost, -1)


@given(paths, paths, paths)
def test_edit_distance_is_a_metric(a, b, c):
    table = edit_distances([a, b, c], [a, b, c])
    assert np.array_equal(table, table.T)
    assert table[0, 2] <= table[0, 1] + table[1, 2]
    assert (table[0, 1] == 0) == (a == b)


@given(groups, st.permutations(range(5)))
def test_names_of_objects_do_not_matter(group, names):
    renamed = [[names[n] for n in path] for path in group]
    assert np.array_equal(sequence_scores(group, group), sequence_scores(renamed, renamed))


def test_longest_common_subsequence():
    assert sequence_scores([[1, 2, 3, 4]], [[2, 9, 4], [5], []]).tolist() == [[0.5, 0, 0]]


def test_consistency_leaves_viewers_out_of_their_own_comparison():
    assert human_consistency([[1, 0.2], [0.4, 1]]) == pytest.approx(0.3)
    assert math.isnan(human_consistency([[1.0]]))
