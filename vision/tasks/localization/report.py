"""The evaluation of a localizer as tables."""

from __future__ import annotations

from typing import Any

from rich.console import Console
from rich.table import Table


def print_report(report: dict[str, Any], console: Console | None = None) -> None:
    """Print what `evaluate` returned: mAP by overlap and group, then AP by class (in %)."""
    console = console or Console()
    groups = report["groups"]
    overlaps = list(next(iter(groups.values()))["mAP"])
    table = Table("videos", *overlaps, "mean", "0.5:0.95", "right steps", title="mAP by tIoU (%)")
    for name, figures in groups.items():
        title = f"{name}: {figures['videos']} videos, {figures['actions']} actions"
        values = [*figures["mAP"].values(), figures["average"], figures["average_anet"]]
        table.add_row(title, *(f"{100 * v:.1f}" for v in [*values, figures["frames"]]))
    console.print(table)
    classes = Table("videos", "class", "AP", title="Mean AP over tIoU 0.3 to 0.7, by class (%)")
    for name, figures in groups.items():
        for label, value in figures["per_class"].items():
            classes.add_row(name, label, f"{100 * value:.1f}")
    console.print(classes)
    console.print(f"an action is final {report['delay']:.1f} s of video after its end, on average")
