"""The definition against a loop over single values written from the formula."""

import math
from typing import Any

import pytest
import torch
from torch import Tensor

from kernels.gaussian_adaptive.reference import gaussian_weights, head_sizes

from .cases import Case, named


def log_density(x: float, deviation: float) -> float:
    return -0.5 * (x / deviation) ** 2 - math.log(deviation * math.sqrt(2 * math.pi))


def weigh_one_by_one(inputs: dict[str, Any], eps: float = 1e-8) -> Tensor:
    """Weights in Python numbers, a row and a head at a time."""
    x = inputs["x"].detach().movedim(inputs["axis"], -1)
    mask = torch.ones_like(inputs["x"]) > 0 if inputs["mask"] is None else inputs["mask"]
    masks = mask.movedim(inputs["axis"], -1).reshape(-1, x.shape[-1])
    results = []
    for row, real in zip(x.reshape(-1, x.shape[-1]), masks, strict=True):
        sizes = head_sizes(len(row), len(inputs["offsets"]))
        heads = zip(
            row.split(sizes), real.split(sizes), inputs["offsets"], inputs["scales"], strict=True
        )
        results.append([w for head in heads for w in weigh_row(*head, inputs, eps)])
    return torch.tensor(results, dtype=x.dtype).view(x.shape).movedim(-1, inputs["axis"])


def weigh_row(
    row: Tensor, real: Tensor, offsets: Tensor, scales: Tensor, inputs: dict[str, Any], eps: float
) -> list[float]:
    values, known = row.tolist(), real.tolist()
    counted = [v for v, k in zip(values, known, strict=True) if k]
    if inputs["count_padding"]:
        counted += [0.0] * (len(values) - len(counted))
        known = [True] * len(values)
    mean = sum(counted) / max(len(counted), 1)
    variance = sum((v - mean) ** 2 for v in counted) / max(len(counted) - 1, 1) + eps
    logs = [
        sum(
            log_density((v - mean - d) / math.sqrt(variance), c)
            for d, c in zip(offsets.tolist(), scales.tolist(), strict=True)
        )
        for v in values
    ]
    largest = max((log for log, k in zip(logs, known, strict=True) if k), default=0.0)
    products = [math.exp(log - largest) if k else 0.0 for log, k in zip(logs, known, strict=True)]
    mass = sum(known) if inputs["unit_mean"] else 1.0
    return [mass * p / (sum(products) or 1.0) for p in products]


@pytest.mark.parametrize("case", named.values(), ids=named)
def test_equals_a_loop_over_values(case: Case) -> None:
    inputs = case.make(torch.float64)
    torch.testing.assert_close(gaussian_weights(**inputs).detach(), weigh_one_by_one(inputs))


@pytest.mark.parametrize(
    ("length", "heads", "sizes"), [(8, 2, [4, 4]), (19, 4, [4, 4, 4, 7]), (3, 3, [1, 1, 1])]
)
def test_the_last_head_takes_the_rest(length: int, heads: int, sizes: list[int]) -> None:
    assert head_sizes(length, heads) == sizes


def test_clamp_divides_by_eps_where_the_sum_is_smaller() -> None:
    x = torch.randn(3, 24, dtype=torch.float64)
    offsets, scales = torch.zeros(1, 16), torch.full((1, 16), 2.0)
    exact = gaussian_weights(x, offsets, scales)
    clamped = gaussian_weights(x, offsets, scales, clamp=True)
    z = (x - x.mean(-1, keepdim=True)) / (x.var(-1, keepdim=True) + 1e-8).sqrt()
    product = ((-0.125 * z.square()).exp() / math.sqrt(8 * math.pi)) ** 16
    torch.testing.assert_close(clamped, product / 1e-8)
    torch.testing.assert_close(exact, product / product.sum(-1, keepdim=True))
    assert (clamped.sum(-1) < 0.1).all()
    one = torch.full((1, 1), 2.0)
    torch.testing.assert_close(
        gaussian_weights(x, offsets[:, :1], one, clamp=True),
        gaussian_weights(x, offsets[:, :1], one),
    )
