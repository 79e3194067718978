"""The checker over streams: any portions, causal, bounded, never stuck."""

import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from vision.errors import FoveateError
from vision.features import read_video
from vision.tasks.mistakes.data import ClipSet
from vision.tasks.mistakes.predict import MistakeChecker
from vision.tasks.mistakes.procedure import Procedure
from vision.tasks.mistakes.results import Checked, CheckedStep


@pytest.fixture(scope="module")
def frames(videos):
    return [frame for _, frame in read_video(videos / "test_014.mp4")]


@pytest.fixture(scope="module")
def tea(clip_set: ClipSet, tmp_path_factory):
    path = tmp_path_factory.mktemp("plan") / "plan.json"
    plan = Procedure(name="plan", examples=({"steps": clip_set.classes[1:8]},))
    plan.save(path)
    return path


def run(
    checker: MistakeChecker, procedure, frames, times=None, sizes=(7,)
) -> tuple[list[CheckedStep], Checked]:
    """Events and the result, frames coming in portions of these sizes in turn."""
    times = [n / 10 for n in range(len(frames))] if times is None else times
    checker.begin(procedure=procedure)
    events, start, turn = [], 0, 0
    while start < len(frames):
        end = start + sizes[turn % len(sizes)]
        events += checker.update(frames[start:end], times[start:end])
        start, turn = end, turn + 1
    return events, checker.finish()


def test_it_names_many_steps(restless, tea, frames):
    events, result = run(restless, tea, frames)
    assert len(result.steps) > 5
    assert len({step.step for step in result.steps}) > 2
    assert [step.step for step in events] == [step.step for step in result.steps][: len(events)]
    assert len(events) >= len(result.steps) - 1  # the last may become known at the end


@pytest.mark.parametrize("sizes", [(1,), (3, 1, 11), (1000,)])
def test_portions_do_not_matter(restless, tea, frames, sizes):
    events, result = run(restless, tea, frames, sizes=(8,))
    others, other = run(restless, tea, frames, sizes=sizes)
    assert [(e.step, e.start, e.said, e.mistake) for e in others] == [
        (e.step, e.start, e.said, e.mistake) for e in events
    ]
    for ours, theirs in zip(result.steps, other.steps, strict=True):
        assert ours.score == pytest.approx(theirs.score, abs=2e-4)
        assert ours.model_copy(update={"score": 0}) == theirs.model_copy(update={"score": 0})


@pytest.mark.parametrize("cut", [20, 55, 90])
def test_future_frames_change_no_earlier_event(restless, tea, frames, cut):
    other = [*frames[:cut], *np.random.default_rng(0).integers(0, 256, (40, 96, 96, 3), np.uint8)]
    before, _ = run(restless, tea, frames, sizes=(1,))
    after, _ = run(restless, tea, other, sizes=(1,))
    limit = (cut - 1) / 10
    early = [event for event in before if event.said <= limit]
    assert early == [event for event in after if event.said <= limit]
    assert len(early) >= 1
    assert before != after


def test_an_event_is_said_while_its_step_goes_on_and_the_result_agrees(restless, tea, frames):
    events, result = run(restless, tea, frames)
    for event, step in zip(events, result.steps, strict=False):
        assert event.end is None
        assert event.start <= event.said <= event.start + restless.config.window
        assert step.model_copy(update={"end": None}) == event
    for step, following in zip(result.steps, result.steps[1:], strict=False):
        assert step.start < step.end <= following.start
        assert step.step != following.step
    assert "idle" not in {step.step for step in result.steps}
    assert (result.start, result.end) == (0, (len(frames) - 1) / 10)


def test_one_frame_is_a_video(restless, tea, frames):
    events, result = run(restless, tea, frames[:1], [4.0])
    assert events == []
    assert (result.start, result.end) == (4, 4)
    assert len(result.steps) <= 1


def test_videos_do_not_touch_each_other(restless, tea, frames):
    first, _ = run(restless, tea, frames)
    restless.begin(procedure=tea)
    restless.update(frames[50:80], [n / 10 for n in range(30)])  # and left there
    again, _ = run(restless, tea, frames)
    assert again == first


def test_a_higher_frame_rate_is_thinned_out(restless, tea, frames):
    _, slow = run(restless, tea, frames)
    often = [frame for frame in frames for _ in range(3)]
    _, fast = run(restless, tea, often, [n / 30 for n in range(len(often))])
    assert [step.step for step in fast.steps] == [step.step for step in slow.steps]


@settings(max_examples=10, deadline=None)
@given(st.lists(st.floats(0.001, 5e5), min_size=1, max_size=6))
def test_gaps_of_any_length_are_passed_over(restless, frames, gaps):
    times = np.cumsum(gaps).tolist()
    restless.begin(procedure="synthetic-assembly")
    for frame, time in zip(frames, times, strict=False):
        restless.update([frame], [time])
        assert len(restless._video.waiting) < 200
    result = restless.finish()
    assert result.end == times[-1]


def test_what_is_no_step_of_the_procedure_is_flagged_for_that(restless, tea, frames):
    _, result = run(restless, tea, frames)
    foreign = [step for step in result.steps if step.step.startswith("detach")]
    assert foreign
    for step in foreign:
        assert step.mistake
        assert step.surprise is None
        assert "no step of this procedure" in step.why
        assert 1 <= len(step.expected) <= 3
        assert math.isfinite(sum(e.probability for e in step.expected))


def test_the_threshold_is_the_users(restless, frames):
    restless.begin(procedure="synthetic-assembly", threshold=1e9)
    restless.update(frames, [n / 10 for n in range(len(frames))])
    result = restless.finish()
    assert result.threshold == 1e9
    assert {step.step for step in result.mistakes} == {
        step.step for step in result.steps if step.surprise is None
    }


def test_what_the_user_got_wrong_is_said(restless, clip_set, tmp_path):
    with pytest.raises(FoveateError, match="begin a video first"):
        MistakeChecker(restless.model, restless.config).update([], [])
    with pytest.raises(FoveateError, match="--procedure"):
        restless.begin()
    path = tmp_path / "tea.json"
    Procedure(name="tea", examples=({"steps": ["boil water"]},)).save(path)
    with pytest.raises(FoveateError, match="'boil water' of 'tea': give --weights"):
        restless.begin(procedure=path)
    restless.begin(procedure="synthetic-assembly")
    with pytest.raises(FoveateError, match="no frames"):
        restless.finish()


def test_records_survive_json(restless, tea, frames):
    _, result = run(restless, tea, frames)
    assert Checked.model_validate_json(result.model_dump_json()) == result
