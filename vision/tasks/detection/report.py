"""The evaluation of a detector as tables."""

from __future__ import annotations

from typing import Any

from rich.console import Console
from rich.table import Table

from vision.tasks.detection.metrics import NAMES


def print_report(report: dict[str, Any], console: Console | None = None) -> None:
    """Print what `evaluate` returned: the twelve numbers by subset, then AP by class (in %)."""
    console = console or Console()
    columns = {f"all {report['images']} pictures": report, **report["subsets"]}
    summary = Table("", *columns, title="COCO box metrics (%)")
    for name in NAMES:
        summary.add_row(name, *(percent(values[name]) for values in columns.values()))
    console.print(summary)
    classes = Table("class", "AP", "AP50", title="By class (%)")
    ranked = sorted(report["per_class"].items(), key=lambda row: -row[1]["AP50"])
    for name, values in ranked:
        classes.add_row(name, percent(values["AP"]), percent(values["AP50"]))
    console.print(classes)
    if report["unknown_classes"]:
        console.print(f"not known to the weights: {', '.join(report['unknown_classes'])}")


def percent(value: float) -> str:
    """A share as per cent; a dash where there was nothing to measure (-1)."""
    return "-" if value < 0 else f"{100 * value:.1f}"
