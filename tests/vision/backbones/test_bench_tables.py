"""Speeds in the documentation are those of the committed results."""

from pathlib import Path

import pytest

from vision.backbones import bench_tables
from vision.backbones.bench_tables import attention_rows, backbone_rows, gate_rows, read

DOCS = Path(__file__).parents[3] / "docs"


@pytest.mark.parametrize(
    ("page", "results", "rows"),
    [
        ("sparsifiner.md", "sparsifiner_cpu", attention_rows),
        ("sparsifiner.md", "sparsifiner_cpu", backbone_rows),
        ("gaussian.md", "gaussian_cpu", gate_rows),
    ],
)
def test_tables_are_those_of_the_results(page, results, rows):
    text = (DOCS / page).read_text().splitlines()
    expected = rows(read(results))
    assert len(expected) >= 2
    assert [row for row in expected if row not in text] == []


@pytest.mark.parametrize("name", ["biformer_cpu", "sparsifiner_cpu", "gaussian_cpu"])
def test_results_are_of_one_machine(name):
    records = bench_tables.read(name)
    assert len({record["machine"] for record in records}) == 1
    assert "1 thread" in records[0]["machine"]
