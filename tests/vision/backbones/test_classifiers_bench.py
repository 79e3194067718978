"""The benchmark of classifiers has whole rows and a Markdown table."""

import json

import pytest

from vision.backbones import classifiers_bench


def test_rows_and_table(monkeypatch, capsys):
    monkeypatch.setattr(classifiers_bench, "OTHERS", {"resnet18": {}})
    rows, show = classifiers_bench.bench_backbones(quick=True)
    json.dumps(rows)
    (resnet,) = (row for row in rows if row["model"] == "resnet18")
    assert resnet["parameters"] == pytest.approx(11.18e6, rel=0.01)  # with ten classes
    assert resnet["macs"] == pytest.approx(1814e6 / 4, rel=0.1)  # a quarter of 224 x 224 pixels
    assert resnet["top1"] is None
    assert all(row["images_per_second"][1] > 1 for row in rows)
    show(rows)
    lines = capsys.readouterr().out.splitlines()
    assert lines[0].count("|") == lines[1].count("|") == lines[2].count("|")
    assert "| `resnet18` | 112x112 | 11.18 M |" in lines[len(rows) + 1]
