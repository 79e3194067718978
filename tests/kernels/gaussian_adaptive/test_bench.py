"""What the benchmark compares computes the same, and the closed form pays."""

import pytest
import torch

from kernels.gaussian_adaptive.bench import SHAPES, Shape, bench_gate, gate_forms


@pytest.mark.parametrize("axis", [-1, 1])
def test_all_forms_compute_the_same(axis: int) -> None:
    forms = gate_forms(Shape(2, 9, 12, heads=2, gaussians=3, axis=axis))
    outputs = {name: form.run() for name, form in forms.items()}
    assert list(outputs) == ["published", "reference", "cpu"]
    grads = {
        name: torch.autograd.grad(out.square().sum(), forms[name].leaves)
        for name, out in outputs.items()
    }
    for name in ("reference", "cpu"):
        torch.testing.assert_close(outputs[name], outputs["published"])
        torch.testing.assert_close(grads[name], grads["published"], rtol=1e-4, atol=1e-6)


@pytest.mark.slow
def test_the_closed_form_pays_on_this_processor() -> None:
    records = {record["form"]: record for record in bench_gate(SHAPES[:1])}
    published, ours = records["published"], records["cpu"]
    assert published["forward_ms"] >= 4 * ours["forward_ms"]
    assert published["total_ms"] >= 3 * ours["total_ms"]
