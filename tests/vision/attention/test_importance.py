"""The Importance Factor, its picture, and the deletion test that checks what it claims."""

import numpy as np
import pytest
import torch

from vision.attention.gaussian_adaptive import GaussianAdaptiveAttention
from vision.attention.importance import ImportanceFactor, deletion_curve
from vision.errors import FoveateError


def test_average_first_then_stretch():
    maps = torch.tensor([[[0.0, 4.0], [2.0, 2.0]], [[2.0, 4.0], [2.0, 4.0]]])
    whole = ImportanceFactor.from_maps([maps])
    split = ImportanceFactor.from_maps([maps[:1], maps[1:]])
    for f in (whole, split):
        torch.testing.assert_close(f.values, torch.tensor([[0.0, 1.0], [1 / 3, 2 / 3]]))
        assert (f.lowest, f.highest) == (1.0, 4.0)
    torch.testing.assert_close(whole.layer_share, torch.tensor([0.5, 0.5]))


def test_a_constant_map_is_zero_and_keeps_its_value():
    factor = ImportanceFactor.from_maps([torch.full((3, 2, 4), 0.7)])
    assert torch.equal(factor.values, torch.zeros(2, 4))
    assert factor.lowest == factor.highest == pytest.approx(0.7)
    assert factor.layer_share.tolist() == [0.5, 0.5]


def test_a_gate_measures_its_own():
    torch.manual_seed(0)
    gate = GaussianAdaptiveAttention("density", 1, features=5)
    batches = [torch.randn(4, 3, 5), torch.randn(2, 3, 5)]
    factor = gate.importance_factor(batches)
    mean = gate.attention(torch.cat(batches)).mean(0)
    assert factor.lowest == pytest.approx(mean.min().item())
    assert factor.highest == pytest.approx(mean.max().item())
    torch.testing.assert_close(factor.values, (mean - mean.min()) / (mean.max() - mean.min()))
    assert not factor.values.requires_grad


def test_heat_map_is_bright_where_values_are_large():
    picture = ImportanceFactor(torch.tensor([[0.0, 0.5, 1.0]]), 0.0, 1.0).heat_map(scale=4)
    assert picture.shape == (4, 12, 3)
    assert picture.dtype == np.uint8
    brightness = picture.astype(int).sum(-1)
    assert brightness[0, 0] < brightness[0, 4] < brightness[0, 8]
    assert (picture[:, :4] == picture[0, 0]).all()
    assert picture[0, 8, 2] < picture[0, 8, 0]  # RGB: the bright end of viridis is yellow


def test_deleting_what_matters_costs_most():
    """A score that depends on the first entries alone, and an importance that knows it."""
    inputs = torch.randn(200, 2, 5, generator=torch.Generator().manual_seed(0))
    importance = torch.arange(10, 0, -1.0).view(2, 5)

    def score(x):
        return (x[:, 0, :2] - inputs[:, 0, :2]).square().mean().neg().item()

    curves = {
        order: deletion_curve(score, inputs, importance, order=order, parts=(0, 0.2, 0.8, 1))
        for order in ("most", "least", "random")
    }
    assert all(curve[0] == 0 for curve in curves.values())
    assert curves["most"][1] == pytest.approx(curves["most"][3])
    assert curves["least"][2] == 0
    assert curves["most"][1] < curves["random"][1] <= curves["least"][1]
    assert len({curve[3] for curve in curves.values()}) == 1


@pytest.mark.parametrize(
    ("maps", "message"),
    [
        ([], "no attention maps"),
        ([torch.zeros(0, 2, 3)], "no attention maps"),
        ([torch.zeros(1, 2, 3), torch.zeros(1, 3, 3)], "differ in shape"),
    ],
)
def test_maps_that_cannot_be_averaged_are_named(maps, message):
    with pytest.raises(FoveateError, match=message):
        ImportanceFactor.from_maps(maps)


def test_importance_of_another_shape_is_named():
    with pytest.raises(FoveateError, match=r"importance \(2, 3\)"):
        deletion_curve(lambda x: 0.0, torch.zeros(4, 3, 2), torch.zeros(2, 3))
