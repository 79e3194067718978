"""The evaluation of a localizer as tables."""

from __future__ import annotations

from typing import Any

from rich.console import Console
from rich.table import Table


def print_report(report: dict[str, Any], console: Console | None = None) -> None:
    """Print what `evaluate` returned, in %: for each group mAP by overlap, then AP by class."""
    console = console or Console()
    for name, figures in report["groups"].items():
        rows = {"localizer": figures, **figures["floor"]}
        table = Table("mAP by tIoU", *figures["mAP"], "mean", "0.5:\n0.95", "right\nsteps")
        table.title = f"{name}, in % (videos: {figures['videos']}, actions: {figures['actions']})"
        for row, of in rows.items():
            values = [*of["mAP"].values(), of["average"], of["average_anet"], of["frames"]]
            table.add_row(row, *(f"{100 * v:.1f}" for v in values))
        console.print(table)
        classes = Table("mean AP by class", *rows)
        for label in figures["per_class"]:
            classes.add_row(label, *(f"{100 * of['per_class'][label]:.1f}" for of in rows.values()))
        console.print(classes)
    if report["unknown_classes"]:
        console.print(f"unknown to the weights: {', '.join(report['unknown_classes'])}")
    console.print(f"an action is final {report['delay']:.1f} s of video after its end, on average")
