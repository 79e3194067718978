"""The evaluation of a scanpath model as a table."""

from __future__ import annotations

from typing import Any

from rich.console import Console
from rich.table import Table


def print_report(report: dict[str, Any], console: Console | None = None) -> None:
    """Print what `evaluate` returned: a row for each origin of paths, then the likelihood."""
    console = console or Console()
    rows = report["rows"]
    names = list(rows["model"])
    told = ""
    if report["task"] == "search":
        told = ", place of the target " + ("told" if report["location"] else "not told")
    title = (
        f"{report['task']}{told}: {report['pictures']} pictures, {report['viewers']} viewers' "
        f"paths, {report['samples']} drawn a picture at temperature {report['temperature']:g}"
    )
    table = Table("", *rows, title=title)
    for name in names:
        cells = [f"{values[name]:.3f}" if name in values else "-" for values in rows.values()]
        table.add_row(name, *cells)
    console.print(table)
    likelihood = report["likelihood"]
    console.print(
        f"viewers' steps under the model: {likelihood['nats']:.3f} nats each, the end included "
        f"(chance {likelihood['chance']:.3f}); "
        f"{likelihood['bits']:+.3f} bits a fixation over the habit of the middle"
    )
