"""Rates over the steps, groups of parameters, gradients."""

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import nn

from vision.optim import OptimConfig, clip_each, optimizer, schedule

STEPS = st.integers(1, 300)


@given(STEPS, st.integers(0, 50), st.floats(0.01, 1), st.sampled_from(["linear", "cosine"]))
def test_every_step_learns_and_none_faster_than_the_full_rate(steps, warmup, decay, shape):
    factor = schedule(OptimConfig(steps, warmup=warmup, decay=decay, shape=shape))
    assert all(0 < factor(step) <= 1 for step in range(steps))


@given(STEPS, STEPS)
def test_a_run_may_be_made_longer_in_its_constant_part(steps, more):
    short, long = (schedule(OptimConfig(n, warmup=10)) for n in (steps, steps + more))
    for step in range(int(0.6 * steps)):
        assert short(step) == long(step)


def test_a_linear_schedule_rises_stays_and_falls():
    factor = schedule(OptimConfig(100, warmup=10, decay=0.4))
    assert [factor(n) for n in (0, 4, 9, 30, 60, 80, 99)] == pytest.approx(
        [0.1, 0.5, 1, 1, 1, 0.5, 0.025]
    )
    assert factor(100) == 0


def test_parameters_get_their_rate_and_their_decay():
    model = nn.Sequential(nn.Linear(2, 2), nn.Linear(2, 2), nn.Linear(2, 2))
    model[2].requires_grad_(False)
    config = OptimConfig(10, lr=0.1, backbone_lr=0.01, weight_decay=0.5, warmup=0)
    adamw = optimizer(model, config, lambda name: name.startswith("0"))["optimizer"]
    found = {
        id(p): (group["initial_lr"], group["weight_decay"])
        for group in adamw.param_groups
        for p in group["params"]
    }
    assert found == {
        id(model[0].weight): (0.01, 0.5),
        id(model[0].bias): (0.01, 0.0),
        id(model[1].weight): (0.1, 0.5),
        id(model[1].bias): (0.1, 0.0),
    }


def test_gradients_are_clipped_one_by_one():
    large, small, none = (nn.Parameter(torch.ones(4)) for _ in range(3))
    large.grad, small.grad = torch.full((4,), 10.0), torch.full((4,), 0.01)
    clip_each([large, small, none], 0.5)
    assert large.grad.norm() == pytest.approx(0.5)
    assert torch.equal(small.grad, torch.full((4,), 0.01))
    assert none.grad is None
