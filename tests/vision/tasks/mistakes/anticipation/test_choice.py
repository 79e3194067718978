"""What the default anticipator measures surprise against: how open the next step is."""

import numpy as np
import pytest

from vision.tasks.mistakes.anticipation.choice import (
    PRIOR_THRESHOLDS,
    Choice,
    fit_usual,
    openness,
    surprises,
)
from vision.tasks.mistakes.procedure import Procedure


@pytest.fixture
def drawn() -> tuple[list[list[np.ndarray]], list[list[int]]]:
    """Sequences whose steps are drawn by the utilities themselves, some sharp and some flat."""
    random = np.random.default_rng(1)
    utilities, sequences = [], []
    for _ in range(200):
        places = [random.normal(size=6) * scale for scale in random.uniform(1, 6, size=5)]
        chances = [np.exp(u) / np.exp(u).sum() for u in places]
        utilities.append(places)
        sequences.append([int(random.choice(6, p=p)) for p in chances])
    return utilities, sequences


def correct(utilities, sequences, usual) -> tuple[np.ndarray, np.ndarray]:
    """(N,) surprise at the steps that were done, and how open each place was."""
    done = [
        (surprises(u, usual, not place)[step], openness(u, not place)[0])
        for places, steps in zip(utilities, sequences, strict=True)
        for place, (u, step) in enumerate(zip(places, steps, strict=True))
    ]
    surprise, opened = np.array(done).T
    return surprise, opened


def test_surprise_at_correct_steps_no_longer_depends_on_how_open_the_place_is(drawn):
    before, opened = correct(*drawn, np.zeros(2))
    after, _ = correct(*drawn, fit_usual(*drawn))
    assert np.corrcoef(before, opened)[0, 1] > 0.1
    assert abs(np.corrcoef(after, opened)[0, 1]) < 0.02


def test_openness_is_zero_for_a_certain_step_and_log_n_for_n_alike():
    assert openness(np.array([1000.0, 0.0, 0.0]), False) == pytest.approx([0, 0])
    assert openness(np.zeros(8), True) == pytest.approx([np.log(8), 1])


def test_what_is_usual_shifts_a_place_and_keeps_its_ranking():
    utilities = np.array([0.3, 2.0, -1.0])
    shift = surprises(utilities, np.array([0.4, 0.2]), True) - surprises(
        utilities, np.zeros(2), True
    )
    assert shift == pytest.approx(np.full(3, shift[0]))
    assert shift[0] < 0


@pytest.mark.parametrize("alpha", [None, 0.1])
def test_a_single_long_example_has_nothing_to_be_judged_by(alpha):
    """However many steps it has, weights and threshold are those for few examples."""
    long = Procedure(name="long", examples=[{"steps": [f"step {n}" for n in range(70)]}])
    choice = Choice(long, alpha=alpha)
    assert choice.threshold == PRIOR_THRESHOLDS[0]
    assert choice.surprise(["step 0"], "step 1") < choice.surprise(["step 0"], "step 40")
