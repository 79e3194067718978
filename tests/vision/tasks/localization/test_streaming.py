"""When a stream says which action."""

from dataclasses import replace

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from vision.tasks.localization.frames import FrameHead, FrameHeadConfig
from vision.tasks.localization.model import LocalizationModel, LocalizerConfig
from vision.tasks.localization.streaming import LiveStream, WindowStream, run_features

LOOKAHEAD, HOP, WINDOW = 10, 5, 100
"""Steps, at five a second."""


class Script:
    """A localizer that knows the truth, save that it sees some ends late.

    Rows hold their number. An action of class n is thought to go on until it ended `late[n]` steps
    ago; of what began before the window only the rest is seen.
    """

    def __init__(self, actions: list[tuple[int, int]], late: list[int]) -> None:
        self.actions, self.late = actions, late
        self.config = LocalizerConfig(window=WINDOW / 5, lookahead=LOOKAHEAD / 5, hop=HOP / 5)

    def candidates(self, rows: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        first, seen = rows[0, 0], rows[-1, 0] + 1
        found = []
        for n, (start, end) in enumerate(self.actions):
            known = end if seen >= end + self.late[n] else seen
            if start < known and known > first:
                found.append((max(start, first) - first, known - first, n))
        segments = np.array([f[:2] for f in found], float).reshape(-1, 2)
        return segments, np.full(len(found), 0.9), np.array([f[2] for f in found], int)


def numbered(count: int) -> list[np.ndarray]:
    return [np.array([n], np.float32) for n in range(count)]


def test_an_action_whose_end_is_seen_late_is_said():
    stream = WindowStream(Script([(20, 40)], late=[LOOKAHEAD + 4 * HOP]), 0.3)
    (found,) = run_features(stream, numbered(100))
    assert (found.start, found.end) == (20, 40)
    assert found.said == 40 + LOOKAHEAD + 4 * HOP


def test_an_end_that_is_seen_late_at_the_end_of_the_video_is_said():
    stream = WindowStream(Script([(20, 40)], late=[LOOKAHEAD + 4 * HOP]), 0.3)
    (found,) = run_features(stream, numbered(40 + LOOKAHEAD + 4 * HOP))
    assert (found.start, found.end) == (20, 40)


lengths = st.tuples(st.integers(0, 300), st.integers(2, 60), st.integers(0, 30))


@settings(deadline=None, max_examples=50)
@given(st.lists(lengths, max_size=12), st.integers(1, 400))
def test_every_action_is_said_once_when_its_end_is_known(drawn, steps):
    actions = [(start, start + length) for start, length, _ in drawn]
    late = [wait for *_, wait in drawn]
    stream = WindowStream(Script(actions, late), 0.3)
    said = []
    for row in numbered(steps):
        for found in stream.update(row):
            assert found.end <= stream.seen - LOOKAHEAD
            assert stream.seen - found.end < max(LOOKAHEAD, late[found.label]) + HOP
            said.append(found)
    said += stream.finish()
    begun = [n for n, (start, _) in enumerate(actions) if start < steps]
    assert sorted(f.label for f in said) == begun
    for found in said:
        start, end = actions[found.label]
        seen_to_the_end = steps >= end + late[found.label]
        assert (found.start, found.end) == (start, end if seen_to_the_end else steps)
    assert len(stream.rows) <= WINDOW
    assert len(stream.said) <= len(actions)


def small(head: str, steps: int = 64) -> LocalizationModel:
    torch.manual_seed(0)
    config = LocalizerConfig(head=head, window=steps / 5)
    config = replace(
        config,
        points=replace(config.points, layers=(1, 0, 2), width=8),
        bmn=replace(config.bmn, samples=2, hidden=8, hidden_3d=4, hidden_2d=4),
    )
    return LocalizationModel(config, 3, 5).eval()


@pytest.mark.parametrize("head", ["frames", "points", "bmn"])
def test_memory_stays_bounded(head):
    model = small(head, steps=32)
    stream = WindowStream(model, 1e-3)
    rng = np.random.default_rng(0)
    for _ in range(200):
        for found in stream.update(rng.normal(size=5).astype(np.float32)):
            assert found.end <= stream.seen - stream.lookahead
    assert len(stream.rows) == 32
    assert all(f.end >= 200 - 32 - stream.hop for f in stream.said)


def test_the_causal_head_sees_no_future():
    head = FrameHead(4, 2, FrameHeadConfig(dropout=0.0), causal=True).eval()
    x = torch.randn(1, 4, 20)
    changed = x.clone()
    changed[..., 12:] += 1
    assert torch.equal(head(x)[..., :12], head(changed)[..., :12])
    reach = head.reach
    torch.testing.assert_close(head(x)[..., -1], head(x[..., -reach:])[..., -1])


def test_live_streaming_equals_the_whole_video():
    model = small("frames")
    rows = list(np.random.default_rng(1).normal(size=(60, 5)).astype(np.float32))
    stream = LiveStream(model, high=0.3, low=0.25)
    found = run_features(stream, rows)
    x = model.normalise(torch.from_numpy(np.stack(rows))[None])
    chances = model.live(x)[0].softmax(0)[1:].T.detach().numpy()
    for f in found:
        inside = chances[int(f.start) : int(f.end), f.label]
        assert inside[0] >= 0.3
        assert (inside >= 0.25).all()
        assert f.score == pytest.approx(inside.mean(), abs=1e-5)
        assert f.end == 60 or chances[int(f.end), f.label] < 0.25
