"""Properties of the model of layouts: nothing depends on how objects are listed or batched."""

from dataclasses import replace

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from vision.tasks.scanpath.data import collate, make_sample
from vision.tasks.scanpath.losses import landing_losses, step_likelihood
from vision.tasks.scanpath.model import ScanpathConfig, ScanpathModel
from vision.tasks.scanpath.objects import Objects, grid_objects
from vision.tasks.scanpath.records import Viewed
from vision.tasks.scanpath.sampling import draw_paths
from vision.tasks.scanpath.scene import Steps

LAYOUT = ScanpathConfig(labels=("a", "b"), width=16, heads=2, longest=8)


def viewed(count=7, seed=0, paths=2, target=None, steps=4):
    rng = np.random.default_rng(seed)
    corners = rng.uniform(0, 80, (count, 2))
    boxes = np.concatenate((corners, corners + rng.uniform(5, 20, (count, 2))), 1)
    labels = [str(rng.choice(["a", "b", "none"])) for _ in range(count)]
    objects = Objects(boxes, 100, 100, labels)
    looks = [
        np.column_stack((rng.uniform(-10, 110, (steps, 2)), rng.uniform(80, 400, steps)))
        for _ in range(paths)
    ]
    return Viewed("x", None, 100, 100, objects, target, "a" if target is not None else None, looks)


def batch_of(*many, config=LAYOUT):
    return collate([make_sample(one, one.objects, None, config) for one in many])


def scores(model, batch):
    scene, goal, paths = batch
    steps = Steps.of_paths(paths.objects, paths.durations, scene.mask.shape[1])
    with torch.no_grad():
        return model(model.encode(scene), goal, steps)[0]


@settings(deadline=None, max_examples=10)
@given(st.integers(0, 1000))
def test_permuting_objects_permutes_scores_and_keeps_paths(seed):
    torch.manual_seed(seed)
    model = ScanpathModel(LAYOUT).eval()
    one = viewed(seed=seed, target=2)
    order = np.random.default_rng(seed).permutation(len(one.objects))
    other = replace(
        one,
        objects=Objects(one.objects.boxes[order], 100, 100, [one.objects.labels[n] for n in order]),
        target=int(np.flatnonzero(order == 2)[0]),
    )
    ours, theirs = (scores(model, batch_of(v)) for v in (one, other))
    torch.testing.assert_close(theirs[..., :-1], ours[..., order], rtol=1e-4, atol=1e-4)
    first, second = (
        draw_paths(model, *batch_of(v)[:2], seed=3).objects.numpy() for v in (one, other)
    )
    assert np.array_equal(np.where(second >= 0, order[second], -1), first)


def test_padding_and_batching_change_nothing(layout_model):
    small, large = viewed(4, seed=1), viewed(9, seed=2, steps=6)
    both = scores(layout_model, batch_of(small, large))
    alone = scores(layout_model, batch_of(small))
    steps = alone.shape[2]
    torch.testing.assert_close(both[:1, :, :steps, :4], alone[..., :4], rtol=1e-4, atol=1e-4)
    torch.testing.assert_close(both[:1, :, :steps, -1], alone[..., -1], rtol=1e-4, atol=1e-4)
    assert both[0, :, :, 4:-1].isinf().all()
    together = draw_paths(layout_model, *batch_of(small, large)[:2], seed=5)
    for n, one in enumerate((small, large)):
        single = draw_paths(layout_model, *batch_of(one)[:2], seed=5)
        length = single.objects.shape[-1]
        assert torch.equal(together.objects[n, :, :length], single.objects[0])
        assert (together.objects[n, :, length:] == -1).all()


def test_the_same_seed_gives_the_same_paths_and_another_does_not(layout_model):
    batch = batch_of(viewed(12, paths=20))[:2]
    first, again, other = (draw_paths(layout_model, *batch, seed=s) for s in (1, 1, 2))
    assert torch.equal(first.objects, again.objects)
    assert torch.equal(first.durations, again.durations)
    assert first.objects.shape != other.objects.shape or (first.objects != other.objects).any()


def test_a_path_does_not_depend_on_how_many_are_drawn(layout_model):
    few, many = (
        draw_paths(layout_model, *batch_of(viewed(8, paths=n))[:2], seed=4).objects for n in (2, 9)
    )
    length = min(few.shape[-1], many.shape[-1])
    assert torch.equal(few[:, :, :length], many[:, :2, :length])


def test_step_by_step_equals_all_at_once(layout_model):
    scene, goal, _ = batch_of(viewed(9, paths=6, target=3))
    drawn = draw_paths(layout_model, scene, goal, seed=2)
    steps = Steps.of_paths(drawn.objects, drawn.durations, 9)
    with torch.no_grad():
        logits, _, _ = layout_model(layout_model.encode(scene), goal, steps)
    log = logits.log_softmax(-1)
    log[:, :, 0] = logits[:, :, 0].masked_fill(torch.arange(10) == 9, -torch.inf).log_softmax(-1)
    there = drawn.objects >= 0
    expected = log[:, :, :-1].gather(-1, drawn.objects.clamp(min=0)[..., None]).squeeze(-1)
    torch.testing.assert_close(drawn.chances[there], expected[there], rtol=1e-4, atol=1e-4)
    lengths = there.sum(-1, keepdim=True)
    ends = log[..., -1].gather(-1, lengths).squeeze(-1)
    torch.testing.assert_close(
        drawn.ends, torch.where(drawn.whole, ends, 0.0), rtol=1e-4, atol=1e-4
    )


def test_draws_follow_the_chances(layout_model):
    scene, goal, _ = batch_of(viewed(5, paths=4000))
    drawn = draw_paths(layout_model, scene, goal, seed=0)
    shares = torch.bincount(drawn.objects[0, :, 0], minlength=5) / 4000
    torch.testing.assert_close(shares, drawn.maps[0, 0], atol=0.03, rtol=0)
    assert torch.allclose(drawn.maps[0, 0].sum(), torch.tensor(1.0))
    stopped = (drawn.objects[0, :, 1] < 0).float().mean()
    assert abs(stopped - drawn.stops[0, :, 1].mean()) < 0.03


def test_temperature_zero_takes_the_likeliest(layout_model):
    scene, goal, _ = batch_of(viewed(6, paths=5))
    drawn = draw_paths(layout_model, scene, goal, temperature=0.0)
    paths = {tuple(row) for row in drawn.objects[0].tolist()}
    assert len(paths) == 1
    assert drawn.objects[0, 0, 0] == drawn.maps[0, 0].argmax()


def test_no_path_is_empty_and_none_is_too_long(layout_model):
    with torch.no_grad():
        layout_model.stop.bias.fill_(50.0)
    scene, goal, _ = batch_of(viewed(5, paths=3))
    assert draw_paths(layout_model, scene, goal).objects.shape[-1] == 1
    with torch.no_grad():
        layout_model.stop.bias.fill_(-50.0)
    drawn = draw_paths(layout_model, scene, goal)
    assert drawn.objects.shape[-1] == LAYOUT.longest
    assert not drawn.whole.any()
    assert (drawn.ends == 0).all()


def test_empty_and_one_fixation_paths_have_a_likelihood(layout_model):
    empty, single = np.empty((0, 3)), np.array([[50.0, 50.0, 200.0]])
    scene, goal, paths = batch_of(replace(viewed(), paths=[empty, single]))
    steps = Steps.of_paths(paths.objects, paths.durations, 7)
    logits, states, _ = layout_model(layout_model.encode(scene), goal, steps)
    each, there = step_likelihood(logits, paths)
    assert there.sum(-1).tolist() == [[1, 2]]
    assert each[there].isfinite().all()
    encoded = layout_model.encode(scene)
    losses = landing_losses(*layout_model.land(encoded, states[:, :, :-1], paths.objects), paths)
    assert torch.stack(losses).isfinite().all()
    only_empty = batch_of(replace(viewed(), paths=[empty]))
    assert scores(layout_model, only_empty).shape[-1] == 8


def test_cut_paths_say_nothing_of_their_end(layout_model):
    long = viewed(paths=1, steps=LAYOUT.longest + 3)
    scene, goal, paths = batch_of(long)
    _, there = step_likelihood(scores(layout_model, (scene, goal, paths)), paths)
    assert there.sum() == LAYOUT.longest


def test_a_model_learns_its_target_and_a_wrong_one_lowers_the_score():
    """Viewers go straight from the middle to the target."""
    torch.manual_seed(0)
    config = replace(LAYOUT, location=True, dropout=0.0, durations=False)
    objects = grid_objects(100, 100, 3, 3)
    many = [
        Viewed(
            str(n), None, 100, 100, objects, n, "a",
            [np.column_stack((objects.centres[[4, n]], [np.nan] * 2))] * 2,
        )
        for n in range(9)
    ]  # fmt: skip
    model = ScanpathModel(config)
    adam = torch.optim.Adam(model.parameters(), 1e-2)
    batch = batch_of(*many, config=config)
    scene, goal, paths = batch
    for _ in range(60):
        steps = Steps.of_paths(paths.objects, paths.durations, 9)
        logits, _, _ = model(model.encode(scene), goal, steps)
        each, there = step_likelihood(logits, paths)
        adam.zero_grad()
        (-each.sum() / there.sum()).backward()
        adam.step()
    right = step_likelihood(scores(model.eval(), batch), paths)[0].sum()
    goal.known, goal.match = goal.known.roll(1, 0), goal.match.roll(1, 0)
    wrong = step_likelihood(scores(model, batch), paths)[0].sum()
    assert right > wrong + 5
    goal.known, goal.match = goal.known.roll(-1, 0), goal.match.roll(-1, 0)
    mirrored = batch_of(*(one.mirrored() for one in many), config=config)
    same = step_likelihood(scores(model, mirrored), mirrored[2])[0].sum()
    assert same > wrong + 5


def test_labels_are_hidden_until_looked_at_where_they_tell_the_place():
    one = viewed(target=0)
    open_, hidden = (
        make_sample(one, one.objects, None, replace(LAYOUT, named=named)) for named in (True, False)
    )
    assert open_.labels.any()
    assert not hidden.labels.any()
    assert (hidden.goal_labels == 1).all()


@pytest.mark.parametrize("location", [True, False])
def test_the_place_is_told_only_on_demand(location):
    one = viewed(target=3)
    sample = make_sample(one, one.objects, None, replace(LAYOUT, location=location))
    assert sample.match[:, 3].all()
    assert bool(sample.known.any()) is location
