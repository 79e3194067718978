"""The closed form against the definition, values and gradients, and where the loop breaks down."""

from typing import Any

import pytest
import torch
from hypothesis import given, settings

from kernels.gaussian_adaptive import cpu, gaussian_weights

from .cases import Case, cases, gradients, named


def assert_equal_to_reference(inputs: dict[str, Any], **tolerance: float) -> None:
    ours, reference = (gaussian_weights(**inputs, backend=b) for b in ("cpu", "reference"))
    torch.testing.assert_close(ours, reference, **tolerance)
    expected = gradients(reference, inputs)
    for name, grad in gradients(ours, inputs).items():
        torch.testing.assert_close(grad, expected[name], **tolerance, msg=name)


@pytest.mark.parametrize("case", named.values(), ids=named)
def test_equals_the_definition(case: Case) -> None:
    assert_equal_to_reference(case.make(torch.float64))


@given(cases())
@settings(max_examples=60, deadline=None)
def test_equals_the_definition_whatever_the_case(case: Case) -> None:
    assert_equal_to_reference(case.make(torch.float64), rtol=1e-6, atol=1e-6)


@pytest.mark.parametrize("case", [named["plain"], named["mask"]], ids=["plain", "mask"])
def test_gradcheck(case: Case) -> None:
    inputs = case.make(torch.float64)
    leaves = [inputs.pop(name) for name in ("x", "offsets", "scales")]
    assert torch.autograd.gradcheck(
        lambda x, d, c: gaussian_weights(x, d, c, **inputs, backend="cpu"), leaves
    )


def test_blocks_change_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    inputs = Case((7, 11, 3), masked=True).make()
    whole = gaussian_weights(**inputs, backend="cpu")
    expected = gradients(whole, inputs)
    monkeypatch.setattr(cpu, "BLOCK", 40)
    blocked = gaussian_weights(**inputs, backend="cpu")
    torch.testing.assert_close(blocked, whole)
    for name, grad in gradients(blocked, inputs).items():
        torch.testing.assert_close(grad, expected[name])


def test_any_memory_layout() -> None:
    inputs = Case((4, 11, 6)).make()
    whole = gaussian_weights(**inputs)
    inputs["x"] = inputs["x"].detach().transpose(0, 2).contiguous().transpose(0, 2)
    torch.testing.assert_close(gaussian_weights(**inputs), whole)


def test_many_gaussians_are_one() -> None:
    """N Gaussians have two degrees of freedom: the Jacobian by their parameters has rank two."""
    inputs = Case((1, 9), axis=1, heads=1, gaussians=6).make(torch.float64)
    x, offsets, scales = (inputs[n].detach() for n in ("x", "offsets", "scales"))
    jacobian = torch.autograd.functional.jacobian(
        lambda p: gaussian_weights(x, p[:1], p[1:], 1), torch.cat([offsets, scales])
    ).reshape(9, 12)
    assert torch.linalg.matrix_rank(jacobian, rtol=1e-9) == 2
    precision = scales.pow(-2).sum()
    centre = (offsets / scales.square()).sum() / precision
    single = gaussian_weights(x, centre.view(1, 1), precision.rsqrt().view(1, 1), 1)
    torch.testing.assert_close(single, gaussian_weights(x, offsets, scales, 1))


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16, torch.float32], ids=str)
@pytest.mark.parametrize("scale", [0.0, 1e-3, 0.5, 1e4])
@pytest.mark.parametrize("gaussians", [1, 16])
def test_stays_finite_and_normalised(dtype: torch.dtype, scale: float, gaussians: int) -> None:
    generator = torch.Generator().manual_seed(0)
    x = torch.randn(6, 96, generator=generator)
    x[0], x[1], x[2] = 0.0, 5.0, 1000 * x[2]  # constant rows, a row of large values
    x = x.to(dtype).requires_grad_()
    offsets = torch.zeros(1, gaussians, requires_grad=True)
    scales = torch.full((1, gaussians), scale, requires_grad=True)
    weights = gaussian_weights(x, offsets, scales, backend="cpu")
    assert weights.dtype == dtype
    torch.testing.assert_close(weights.float().sum(-1), torch.ones(6), rtol=0.02, atol=0)
    torch.testing.assert_close(weights[:2].float(), torch.full((2, 96), 1 / 96), rtol=0.01, atol=0)
    cotangent = torch.randn(6, 96, generator=generator).to(dtype)
    for grad in torch.autograd.grad(weights.float(), [offsets, scales], cotangent.float()):
        assert grad.isfinite().all()


@pytest.mark.parametrize("backend", ["cpu", "reference"])
def test_rows_of_one_value_have_the_weight_one(backend: str) -> None:
    x = torch.randn(3, 2, requires_grad=True)
    offsets = torch.ones(2, 1)
    weights = gaussian_weights(x, offsets, torch.ones(2, 1), backend=backend)
    assert torch.equal(weights, torch.ones(3, 2))
    (grad,) = torch.autograd.grad(weights.sum(), x)
    assert torch.equal(grad, torch.zeros(3, 2))


@pytest.mark.parametrize("backend", ["cpu", "reference"])
@pytest.mark.parametrize("filler", [0.0, 1e30, float("nan")])
def test_what_stands_in_padding_has_no_influence(backend: str, filler: float) -> None:
    inputs = Case(masked=True).make()
    expected = gaussian_weights(**inputs, backend=backend)
    mask = inputs["mask"]
    assert torch.equal(expected[~mask], torch.zeros_like(expected[~mask]))
    inputs["x"] = inputs["x"].detach().masked_fill(~mask, filler).requires_grad_()
    weights = gaussian_weights(**inputs, backend=backend)
    torch.testing.assert_close(weights, expected)
    grads = gradients(weights, inputs)
    assert torch.equal(grads["x"][~mask], torch.zeros_like(grads["x"][~mask]))
    assert all(grad.isfinite().all() for grad in grads.values())


def test_masked_rows_are_shorter_rows() -> None:
    inputs = Case((2, 8), axis=1, heads=1).make(torch.float64)
    mask = torch.arange(8) < 5
    whole = gaussian_weights(**{**inputs, "mask": mask})
    short = gaussian_weights(**{**inputs, "x": inputs["x"][:, :5]})
    torch.testing.assert_close(whole[:, :5], short)


def test_a_row_of_padding_has_no_weights() -> None:
    inputs = Case((2, 4), axis=1, heads=1).make()
    inputs["mask"] = torch.tensor([[True] * 4, [False] * 4])
    for backend in ("cpu", "reference"):
        weights = gaussian_weights(**inputs, backend=backend)
        assert torch.equal(weights[1], torch.zeros(4))
        assert all(g.isfinite().all() for g in gradients(weights, inputs).values())


def test_second_derivatives_are_refused_not_wrong() -> None:
    inputs = Case().make()
    weights = gaussian_weights(**inputs, backend="cpu")
    (grad,) = torch.autograd.grad(weights.square().sum(), inputs["x"], create_graph=True)
    with pytest.raises(RuntimeError, match="autograd"):
        grad.sum().backward()
