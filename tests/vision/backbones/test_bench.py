"""The benchmark's forms agree with one another, its table is whole, and the gates hold."""

import pytest
import torch

from kernels.bench import SHAPES, Record, Shape, bench_core, measure, one_thread
from vision.attention import bi_level_routing
from vision.backbones import bench


@pytest.fixture
def small(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(bench, "SHAPES", [Shape(side=8, channels=8, splits=2, topk=1, heads=2)])
    monkeypatch.setattr(bench, "TRAIN_SIZE", (64, 64))


def test_either_core_gives_the_same_module_and_model(small: None) -> None:
    ours = bi_level_routing.routed_attention
    with torch.no_grad():
        for forms in (bench._module_forms(bench.SHAPES[0]), bench._model_forms((64, 64))):
            *_, published, own = forms.values()
            torch.testing.assert_close(published.run(), own.run(), rtol=1e-4, atol=1e-5)
    assert bi_level_routing.routed_attention is ours


def test_records_and_table(small: None, capsys: pytest.CaptureFixture[str]) -> None:
    records, show = bench.bench_biformer(sizes=[(64, 96)], quick=True)
    subjects = list(dict.fromkeys(record["subject"] for record in records))
    assert subjects == [
        "core 8x8x8 S2 k1",
        "module 8x8x8 S2 k1",
        "eval 64x96",
        "train step 64x64",
    ]
    assert all(r["total_ms"] is None for r in records if r["subject"].startswith("eval"))
    assert all(r["total_ms"] for r in records if not r["subject"].startswith("eval"))
    show(records)
    table = capsys.readouterr().out
    for word in ("biformer_tiny", "published", "1.0x", "1 thread"):
        assert word in table


def ratios(records: list[Record], slow: str, fast: str) -> tuple[float, float]:
    """How many times longer, and how much more memory, the slow form needs."""
    by_form = {record["form"]: record for record in records}
    a, b = by_form[slow], by_form[fast]
    return a["total_ms"] / b["total_ms"], a["peak_mb"] / b["peak_mb"]


@pytest.mark.slow
def test_routing_pays_on_this_processor() -> None:
    gates = [(SHAPES[0], 7.0, 3.5), (SHAPES[1], 25.0, 10.0)]
    for shape, core_gate, module_gate in gates:
        time, memory = ratios(bench_core([shape]), "published", "cpu")
        assert time >= core_gate, shape
        if shape.side == 112:
            assert memory >= 20
        with one_thread():
            records = measure("module", bench._module_forms(shape))
        assert ratios(records, "published core", "ours")[0] >= module_gate, shape
    with one_thread():
        records = measure("eval", bench._model_forms((224, 224)))
    times = {record["form"]: record["forward_ms"] for record in records}
    assert times["biformer_tiny"] <= 0.75 * times["swin_tiny"]
