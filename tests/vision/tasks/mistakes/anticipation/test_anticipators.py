"""What holds for every anticipator, and what each of them learns."""

import math

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from vision.errors import FoveateError
from vision.tasks.mistakes.anticipation import (
    ANTICIPATORS,
    Anticipation,
    anticipate,
    judge,
    make_anticipator,
)
from vision.tasks.mistakes.procedure import Procedure, load_procedure
from vision.tasks.mistakes.steps import check_steps

LEARNT = [n for n in ANTICIPATORS if n not in ("openai", "transformers")]
QUICK = {"transformer": {"epochs": 20}, "graph": {"epochs": 100}}
NAMES = ["boil water", "warm pot", "add leaves", "pour", "drink", "spill", "unheard of"]


@pytest.fixture(params=LEARNT)
def anticipator(request, tea):
    return make_anticipator(request.param, tea, **QUICK.get(request.param, {}))


@settings(
    max_examples=15, suppress_health_check=[HealthCheck.function_scoped_fixture], deadline=None
)
@given(
    past=st.lists(st.sampled_from(NAMES), max_size=6),
    futures=st.lists(st.lists(st.sampled_from(NAMES), max_size=4), min_size=2, max_size=2),
)
def test_later_steps_never_change_an_earlier_flag(anticipator, past, futures):
    """Causality: whatever is done later, what was said before stays."""
    both = [check_steps(anticipator, [*past, *future]) for future in futures]
    known = len(check_steps(anticipator, past))
    first = slice(0, max(0, known - 1))  # the last may merge with what follows it
    assert both[0][first] == both[1][first] == check_steps(anticipator, past)[first]


@settings(
    max_examples=15, suppress_health_check=[HealthCheck.function_scoped_fixture], deadline=None
)
@given(history=st.lists(st.sampled_from(NAMES), max_size=8))
def test_what_is_expected_is_a_ranked_distribution(anticipator, history):
    expected = anticipator.expect(history)
    chances = [p for _, p in expected.ranked]
    assert chances == sorted(chances, reverse=True)
    assert not expected.ranked or math.isclose(sum(chances), 1, abs_tol=1e-6)
    assert len({s for s, _ in expected.ranked}) == len(expected.ranked)
    likeliest = [s for s, p in expected.ranked if p == chances[0]]
    least = min(anticipator.surprise(history, step) for step in NAMES)
    assert not likeliest or least in [anticipator.surprise(history, s) for s in likeliest]
    for step in NAMES:
        reason = anticipator.explain(history, step)
        assert reason
        assert "\n" not in reason


def test_a_kind_never_seen_and_a_first_step_are_judged(anticipator):
    """No history and an unknown kind are no special case."""
    new = anticipator.of_kind(("tea", "white"))
    assert judge(new, [], "drink").step == "drink"
    assert judge(new, [], "unheard of").mistake


@pytest.mark.parametrize("name", ["choice", "preconditions", "graph"])
def test_order_is_learnt(name, tea):
    """Correct executions pass, drinking first is flagged, and the likeliest step is right."""
    made = make_anticipator(name, tea, **QUICK.get(name, {})).of_kind(("tea", "green"))
    assert not any(r["mistake"] for r in check_steps(made, ["boil water", "add leaves", "pour"]))
    verdict = judge(made, ["boil water"], "drink")
    assert verdict.mistake
    assert "drink" not in [step for step, _ in verdict.expected[:1]]
    assert judge(made, [], "spill").mistake


def test_the_mixture_ranks_steps_by_all_three_of_its_parts(tea):
    """Most begin with water; spilling was never seen."""
    ranked = [s for s, _ in make_anticipator("mixture", tea).expect([]).ranked]
    assert ranked[0] == "boil water"
    assert ranked[-1] == "spill"


def test_the_default_names_what_is_missing(tea):
    made = make_anticipator("choice", tea)
    why = judge(made, ["boil water"], "drink").why
    assert why == "'add leaves' comes before 'drink' (75 %) and was not done"


def test_one_example_is_enough_for_the_default():
    """Nothing can be left out; weights and threshold are those learnt elsewhere."""
    single = Procedure(name="one", examples=[["a", "b", "c", "d"]])
    made = make_anticipator("choice", single)
    assert [r["mistake"] for r in check_steps(made, ["a", "b", "c", "d"])] == [False] * 4
    assert judge(made, ["a"], "d").mistake


def test_equal_chances_keep_the_order_of_the_steps():
    tied = Anticipation.from_scores({"b": 1, "a": 1, "c": 2})
    assert [s for s, _ in tied.ranked] == ["c", "b", "a"]


def test_the_one_call(tea):
    expected = anticipate(["boil water", "add leaves"], tea.examples, tea.steps, by="choice")
    assert expected.ranked[0][0] == "pour"


def test_alpha_sets_how_much_is_flagged(tea):
    strict = make_anticipator("choice", tea, alpha=0.5)
    lenient = make_anticipator("choice", tea, alpha=0.0)
    assert strict.threshold < lenient.threshold
    with pytest.raises(FoveateError, match="alpha"):
        make_anticipator("choice", tea, alpha=2.0)


def test_an_unknown_name_is_named(tea):
    with pytest.raises(FoveateError, match="did you mean 'mixture'"):
        make_anticipator("mixtur", tea)


def test_two_makings_are_the_same(tea):
    """Training is seeded."""
    for name in LEARNT:
        first, second = (make_anticipator(name, tea, **QUICK.get(name, {})) for _ in range(2))
        assert first.threshold == second.threshold
        assert first.expect(["boil water"]) == second.expect(["boil water"])


def test_a_recipe_is_judged_by_its_own_examples():
    """A shipped procedure: each correct recording of coffee passes for the most part."""
    coffee = load_procedure("captaincook4d").part(("Coffee",))
    made = make_anticipator("choice", coffee, kind=("Coffee",))
    flags = [r["mistake"] for e in coffee.examples for r in check_steps(made, e.steps)]
    assert sum(flags) <= 0.02 * len(flags)
