"""The benchmark names every shipped recipe and counts the backward pass."""

from vision.pretraining import bench


def test_records_and_table(monkeypatch, capsys):
    monkeypatch.setattr(bench, "BATCH", 1)
    records, show = bench.bench_droppos(quick=True)
    assert [r["form"] for r in records] == [*bench.PRETRAININGS, bench.TUNING]
    assert all(r["total_ms"] > r["forward_ms"] > 0 for r in records)
    show(records)
    assert "imagenette-vit" in capsys.readouterr().out
