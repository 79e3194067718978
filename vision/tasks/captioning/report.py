"""The evaluation of a captioner as tables."""

from __future__ import annotations

from typing import Any

from rich.console import Console
from rich.table import Table

FIRST = ("B@1", "B@4", "CIDEr", "METEOR", "ROUGE_L")
"""Scores that are shown, those that were computed."""

GROUNDING = {
    "F1_all": ("all", "f1"),
    "F1_loc": ("loc", "f1"),
    "F1_all/sent": ("all", "f1_per_sent"),
    "F1_loc/sent": ("loc", "f1_per_sent"),
}
"""Columns of the grounding table, by where their values are."""


def print_report(report: dict[str, Any], console: Console | None = None) -> None:
    """Print what `evaluate` returned: scores of captions with intervals, then of grounding."""
    console = console or Console()
    rows = report["captions"]
    shown = [name for name in FIRST if name in rows["captioner"]["scores"]]
    table = Table("", *shown, title=f"Captions of {report['images']} pictures (x 100)")
    for name, row in rows.items():
        cells = []
        for score in shown:
            low, high = row["intervals"].get(score, (None, None))
            span = "" if low is None else f"\n{100 * low:.1f} to {100 * high:.1f}"
            cells.append(f"{100 * row['scores'][score]:.1f}{span}")
        table.add_row(name, *cells)
    console.print(table)
    if "grounding" in report:
        boxes = Table("boxes by", *GROUNDING, title="Grounding (%)")
        for name, scores in report["grounding"].items():
            values = [scores[mode][kind] for mode, kind in GROUNDING.values()]
            boxes.add_row(name, *(f"{100 * value:.1f}" for value in values))
        console.print(boxes)
