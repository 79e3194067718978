"""How well positions are found."""

import pytest
import torch

from vision.pretraining.metrics import PositionMetrics, assign
from vision.pretraining.positions import random_masking
from vision.pretraining.pretext import DropPosOutput


def output(score, batch=40, grid=(3, 4), seed=0):
    """A batch whose logits are `score(true cells, number of cells)`."""
    generator = torch.Generator().manual_seed(seed)
    cells = grid[0] * grid[1]
    patches = random_masking(torch.rand(batch, cells, generator=generator), 0.25)
    positions = random_masking(torch.rand(batch, 9, generator=generator), 0.5)
    zero = torch.zeros(())
    weight = positions.removed * torch.rand(batch, 9, generator=generator)
    logits = score(patches.keep, cells)
    return DropPosOutput(zero, zero, zero, logits, weight, patches, positions, zero)


def figures(score, **options):
    metrics = PositionMetrics((3, 4))
    metrics.update(output(score, **options))
    metrics.update(output(score, seed=1, **options))
    return metrics.compute()


def test_perfect_positions():
    found = figures(lambda cell, n: torch.eye(n)[cell])
    for name in ("accuracy", "accuracy weighted", "accuracy assigned", "row", "column", "top5"):
        assert found[name] == pytest.approx(1)
    assert found["distance"] == 0
    assert found["chance"] == pytest.approx(1 / 12)


def test_a_constant_cell_is_the_baseline():
    found = figures(lambda cell, n: torch.eye(n)[torch.full_like(cell, 5)], batch=400)
    assert found["accuracy"] <= found["constant accuracy"] < 0.11
    assert found["constant distance"] <= found["distance"] < 1.6
    assert 0 < found["accuracy assigned"] < 0.3


def test_assignment_beats_the_greatest_score():
    # Every cell is mistaken for its left neighbour by a little; each can be taken once.
    def score(cell, n):
        left = torch.eye(n)[(cell - 1).clamp(min=0)]
        return 5 * torch.eye(n)[cell] + 5.1 * left

    found = figures(score)
    assert found["accuracy assigned"] > 3 * found["accuracy"]


def test_assigned_cells_are_free_and_different():
    torch.manual_seed(0)
    truth, dropped = torch.randperm(12)[:9], torch.arange(9) > 3
    cells = assign(torch.randn(9, 12), truth, dropped)
    assert cells.unique().numel() == 9
    assert torch.equal(cells[~dropped], truth[~dropped])


def test_nothing_to_measure():
    with pytest.raises(ValueError, match="no token"):
        PositionMetrics((2, 2)).compute()
