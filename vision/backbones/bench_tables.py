"""The tables of speed in `docs/`, from the committed results.

foveate bench sparsifiner --json > kernels/results/sparsifiner_cpu.json
foveate bench gaussian --json > kernels/results/gaussian_cpu.json
python -m vision.backbones.bench_tables
"""

import json
from collections.abc import Iterable, Sequence
from pathlib import Path

from kernels.bench import Record

RESULTS = Path(__file__).parents[2] / "kernels" / "results"

ATTENTION = (
    ("mask given, csr", (197, 577, 1024, 4096)),
    ("csr: predict, select", (197, 1024)),
    ("block: predict, select", (197, 577, 1024, 4096)),
)
"""Columns of Sparsifiner's attention: a form, and the numbers of tokens."""

GATE = "gate 8x197x384 axis -1 h4 g5"


def read(name: str) -> list[Record]:
    """Records of a committed benchmark, such as `"sparsifiner_cpu"`."""
    records: list[Record] = json.loads((RESULTS / f"{name}.json").read_text())
    return records


def attention_rows(records: Iterable[Record]) -> list[str]:
    """Time over that of dense attention: a row for each keep rate, columns as in `ATTENTION`."""
    times = {(r["subject"], r["form"]): r["forward_ms"] for r in records}
    rates = dict.fromkeys(s.split("keep=")[1] for s, _ in times if "keep=" in s)
    rows = []
    for rate in rates:
        cells = []
        for form, sizes in ATTENTION:
            for tokens in sizes:
                subject = f"attention N={tokens} keep={rate}"
                cells.append(f"{times[subject, form] / times[subject, 'dense']:.2f}")
        rows.append(_row([f"{float(rate):.2f}", *cells]))
    return rows


def backbone_rows(records: Iterable[Record]) -> list[str]:
    """Forms of DeiT-S: milliseconds, and the ratio to timm's own."""
    forms = [r for r in records if r["subject"].startswith("backbone")]
    first = forms[0]["forward_ms"]
    return [
        _row([f"`{r['form']}`", f"{r['forward_ms']:.0f}", f"{r['forward_ms'] / first:.2f}"])
        for r in forms
    ]


def gate_rows(records: Iterable[Record]) -> list[str]:
    """The gate as published, and ours: time forward, with backward, and memory."""
    forms = {r["form"]: r for r in records if r["subject"] == GATE}
    published, ours = forms["published"], forms["cpu"]
    rows = []
    for name, record in (("published loop", published), ("ours", ours)):
        cells = []
        for key in ("forward_ms", "total_ms"):
            time, before = record[key], published[key]
            assert time is not None
            assert before is not None
            faster = "" if record is published else f" ({before / time:.1f}x)"
            cells.append(f"{time:.1f} ms{faster}")
        rows.append(_row([name, *cells, f"{record['peak_mb']:.0f} MB"]))
    return rows


def _row(cells: Sequence[str]) -> str:
    return f"| {' | '.join(cells)} |"


if __name__ == "__main__":
    sparsifiner = read("sparsifiner_cpu")
    for rows in (
        attention_rows(sparsifiner),
        backbone_rows(sparsifiner),
        gate_rows(read("gaussian_cpu")),
    ):
        print("\n".join(rows), end="\n\n")
