"""Behaviour and likelihood on cases known by hand."""

import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from vision.tasks.scanpath.metrics import (
    Behaviour,
    behaviour,
    behaviour_delta,
    bits_per_fixation,
    mean_behaviour,
    step_similarity,
)

SOME = Behaviour(0.8, 15, 0.8, 0.15, 0.05)


def test_search_refixation_and_revisit():
    # 4 searched, 4 refixated, 2 searched, 4 revisited
    assert behaviour([4, 4, 2, 4], target=4) == Behaviour(1, 4, 0.5, 0.25, 0.25)
    assert behaviour([4], target=2) == Behaviour(0, 1, 1, 0, 0)
    assert behaviour([], target=2) == Behaviour(0, 0, 0, 0, 0)


@given(st.lists(st.integers(0, 5), min_size=1))
def test_every_fixation_is_one_of_three(path):
    found = behaviour(path, path[-1])
    assert found.correct == 1
    assert found.search + found.refixation + found.revisit == pytest.approx(1)


def test_means_weigh_trials_alike():
    found = mean_behaviour([[[0], [1]], [[2, 2, 2]], []], targets=[0, 2, 0])
    assert found.correct == pytest.approx(0.75)
    assert found.length == pytest.approx(2)


def test_delta_is_relative_and_guards_against_zero():
    assert behaviour_delta(SOME, SOME) == 0
    twice = Behaviour(*(2 * value for value in SOME))
    assert behaviour_delta(twice, SOME) == pytest.approx(1)
    never = SOME._replace(refixation=0.0)
    assert behaviour_delta(SOME, never) == pytest.approx(0.15 / 5)
    assert math.isinf(behaviour_delta(SOME, never, official=True))
    assert behaviour_delta(never, never, official=True) == 0


def test_step_similarity_is_the_mean_probability_of_what_was_seen():
    assert step_similarity([[0.7, 0.3], [0.1, 0.9]], [0, 1]) == pytest.approx(0.8)


def test_bits_over_a_prior():
    model, prior = [math.log(0.5), math.log(0.25)], [math.log(0.25), math.log(0.25)]
    assert bits_per_fixation(model) == pytest.approx(-1.5)
    assert bits_per_fixation(model, prior) == pytest.approx(0.5)
