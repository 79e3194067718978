"""Masks, position embeddings and soft targets."""

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from vision.pretraining.positions import (
    random_masking,
    sincos_position_embedding,
    smoothing_map,
    take,
)

sides = st.integers(1, 6)


@given(length=st.integers(1, 30), ratio=st.floats(0, 1), seed=st.integers(0, 99))
def test_masking_parts_the_tokens(length, ratio, seed):
    noise = torch.rand(2, length, generator=torch.Generator().manual_seed(seed))
    found = random_masking(noise, ratio)
    assert found.keep.shape[1] == int(length * (1 - ratio))
    assert (found.removed.sum(1) == length - found.keep.shape[1]).all()
    assert not found.removed.gather(1, found.keep).any()
    # The kept ones have the least noise, in order.
    kept = noise.gather(1, found.keep)
    assert (kept.diff(dim=1) >= 0).all()
    order = found.restore.argsort(1)
    torch.testing.assert_close(take(take(noise[..., None], order), found.restore)[..., 0], noise)


@given(rows=sides, columns=sides, sigma=st.floats(0.05, 5))
def test_soft_targets_are_distributions_around_the_truth(rows, columns, sigma):
    weights = smoothing_map((rows, columns), sigma)
    torch.testing.assert_close(weights.sum(1), torch.ones(rows * columns))
    assert (weights.argmax(1) == torch.arange(rows * columns)).all()


@given(rows=sides, columns=sides)
def test_without_width_targets_are_exact(rows, columns):
    assert torch.equal(smoothing_map((rows, columns), 0.0), torch.eye(rows * columns))


def test_neighbours_of_an_oblong_grid_are_its_own():
    weights = smoothing_map((2, 5), 1.0)
    below, right = weights[0, 5], weights[0, 1]
    assert below == right
    assert weights[0, 4] < right / 100


def test_official_targets_normalise_columns_instead():
    official = smoothing_map((4, 4), 1.0, official=True)
    torch.testing.assert_close(official.sum(0), torch.ones(16))
    torch.testing.assert_close(official.T, smoothing_map((4, 4), 1.0))
    assert official.sum(1).min() < 0.9


def test_the_column_comes_first_in_the_embedding():
    table = sincos_position_embedding((2, 3), 8).reshape(2, 3, 8)
    assert torch.equal(table[0, :, :4], table[1, :, :4])
    assert torch.equal(table[:, 0, 4:], table[:, 2, 4:])
    angle = torch.tensor([2.0, 0.02], dtype=torch.float64)
    torch.testing.assert_close(table[1, 2, :4], torch.cat([angle.sin(), angle.cos()]))


def test_an_embedding_needs_a_multiple_of_four():
    with pytest.raises(ValueError, match="not 30"):
        sincos_position_embedding((2, 2), 30)
