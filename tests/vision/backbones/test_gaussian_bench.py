"""The benchmark of Gaussian gates has whole records and a table."""

import torch

from kernels.gaussian_adaptive.bench import Shape
from vision.backbones import gaussian_bench


def test_records_and_table(monkeypatch, capsys):
    monkeypatch.setattr(gaussian_bench, "SHAPES", [Shape(1, 5, 8, heads=2, gaussians=2)])
    records, show = gaussian_bench.bench_gaussian(quick=True)
    assert [record["form"] for record in records] == ["published", "reference", "cpu"]
    show(records)
    table = capsys.readouterr().out
    for word in ("gate 1x5x8 axis -1 h2 g2", "published", "1 thread"):
        assert word in table


def test_models_have_names_of_their_own_and_one_input():
    forms = gaussian_bench.model_forms()
    assert list(forms) == ["vit_tiny", "gaussian_vit_tiny", "gaussian_vit_tiny without gates"]
    with torch.inference_mode():
        assert all(form.run().shape == (1, 1000) for form in forms.values())
