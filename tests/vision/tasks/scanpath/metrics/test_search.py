"""Search efficiency on cases known by hand."""

import pytest

from vision.tasks.scanpath.metrics import (
    probability_mismatch,
    scanpath_ratio,
    search_cdf,
    steps_to_target,
)

BOX = [100, 100, 20, 20]


def test_steps_to_the_target():
    assert steps_to_target([(0, 0), (110, 110), (0, 0)], BOX) == 2
    assert steps_to_target([(110, 110, 250)], BOX) == 1
    assert steps_to_target([(100, 110), (120, 110)], BOX) == 1000  # edges are outside
    assert steps_to_target([], BOX) == 1000


def test_cdf_counts_the_first_fixation():
    cdf = search_cdf([1, 2, 2, 1000], max_steps=2)
    assert cdf.tolist() == [0.25, 0.75, 0.75]
    assert probability_mismatch(cdf, [0, 0, 1]) == pytest.approx(0.25 + 0.75 + 0.25)


def test_ratio_of_the_way():
    assert scanpath_ratio([(110, 10), (110, 110)], BOX) == 1
    detour = [(110, 10), (110, -90), (110, 110)]
    assert scanpath_ratio([*detour, (0, 0)], BOX) == pytest.approx(100 / 300)
    assert scanpath_ratio([(110, 50), (110, 102)], BOX) == 1  # never more than 1
    assert scanpath_ratio([(110, 110), (0, 0)], BOX) is None
    assert scanpath_ratio([(0, 0), (1, 1)], BOX) is None
