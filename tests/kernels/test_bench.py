"""What the benchmark compares computes the same, and its measures measure."""

import time

import pytest
import torch

from kernels.bench import Form, Shape, bench_core, core_forms, measure, one_thread, peak_memory

SHAPE = Shape(side=8, channels=6, splits=2, topk=3, heads=2)


def test_all_routed_forms_compute_the_same() -> None:
    forms = core_forms(SHAPE)
    outputs = {n: forms[n].run() for n in ("published", "reference", "cpu")}
    for out in outputs.values():
        torch.testing.assert_close(out, outputs["published"])
    grads = {n: torch.autograd.grad(outputs[n].square().sum(), forms[n].leaves) for n in outputs}
    grads["published"] = (grads["published"][0], *grads["published"][1].chunk(2, dim=-1))
    for form in ("reference", "cpu"):
        for ours, published in zip(grads[form], grads["published"], strict=True):
            torch.testing.assert_close(ours, published)


def test_dense_form_is_routing_to_all_regions() -> None:
    forms = core_forms(SHAPE._replace(topk=4))
    dense = forms["dense"].run().transpose(1, 2).reshape(1, 4, 16, 6)
    torch.testing.assert_close(forms["cpu"].run(), dense)


def test_bench_core_has_a_record_per_form() -> None:
    records = bench_core([SHAPE], repeats=1)
    assert [r["form"] for r in records] == ["published", "reference", "cpu", "dense"]
    for record in records:
        assert record["subject"] == "core 8x8x6 S2 k3"
        assert record["total_ms"] > record["forward_ms"] > 0
        assert record["peak_mb"] > 0
        assert "1 thread" in record["machine"]


def test_peak_memory_counts_what_is_held_at_once() -> None:
    megabyte = 1 << 18  # float32 numbers

    def run() -> None:
        for _ in range(3):
            a = torch.zeros(megabyte)
            b = torch.ones(2 * megabyte)
            del a, b

    assert peak_memory(run) == pytest.approx(3 << 20, rel=0.01)


def test_measure_tells_fast_from_slow_and_forward_from_backward() -> None:
    x = torch.ones(4, requires_grad=True)

    def busy(seconds: float) -> None:
        until = time.process_time() + seconds
        while time.process_time() < until:
            pass

    def slow() -> torch.Tensor:
        busy(0.02)
        assert torch.is_inference_mode_enabled()
        return x * 2

    fast, slow_ = measure("x", {"fast": Form(lambda: x * 2, [x]), "slow": Form(slow)}, repeats=3)
    assert fast["forward_ms"] < 10 < slow_["forward_ms"]
    assert fast["total_ms"] >= fast["forward_ms"]
    assert slow_["total_ms"] is None


def test_one_thread_is_undone() -> None:
    before = torch.get_num_threads()
    with one_thread():
        assert torch.get_num_threads() == 1
    assert torch.get_num_threads() == before
