"""The evaluation of anticipators as a table."""

from __future__ import annotations

from typing import Any

from rich import box
from rich.console import Console
from rich.table import Table

COLUMNS = {
    "P": "precision",
    "R": "recall",
    "F1": "f1",
    "Pb": "balanced_precision",
    "F1b": "f1b",
    "J": "youden",
    "AUC": "auc",
    "R*": "recall_known_verbs",
    "AUC*": "auc_known_verbs",
}


def print_report(report: dict[str, Any], console: Console | None = None) -> None:
    """Print what `evaluate` returned (in %), a row for each anticipator and each yardstick."""
    console = console or Console()
    title = (
        f"{report['executions']} executions, {report['steps']} steps, "
        f"{report['mistakes']} mistakes; learnt from {report['examples']} correct executions (%)"
    )
    table = Table(title=title, box=box.SIMPLE, pad_edge=False, collapse_padding=True)
    table.add_column(no_wrap=True)
    for heading in COLUMNS:
        table.add_column(heading, justify="right", no_wrap=True)
    for name, row in report["rows"].items():
        table.add_row(name, *(_percent(row.get(key)) for key in COLUMNS.values()))
    console.print(table)
    console.print(
        "Pb: precision as if mistakes and correct steps were equally many; F1b: its mean with R; "
        f"J: R less false alarms; *: of the {report['known_verb_mistakes']} mistakes whose verb "
        "occurs in training, so that it does not give them away."
    )
    if report["recognition"]:
        figures = ", ".join(f"{k} {v:.3f}" for k, v in report["recognition"].items())
        console.print(f"Steps recognised in video: {figures}")
    console.print(f"Mistakes at a first step: {report['first_step_mistakes']}.")
    for name, row in report["rows"].items():
        if "answers" in row:
            console.print(f"{name}: no prediction {row['no_prediction']} of {row['answers']} times")


def _percent(value: float | None) -> str:
    return "-" if value is None else f"{100 * value:.1f}"
