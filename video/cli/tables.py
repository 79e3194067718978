"""Tables on the terminal, in which nothing is cut."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from rich.console import Console
from rich.measure import Measurement
from rich.table import Table
from rich.text import Text

ENDLESS = 100_000
"""More columns than any table has."""


def print_table(console: Console, rows: Sequence[Mapping[str, Any]], whole: str = "") -> None:
    """Print rows as wide as they are, on a terminal as wide as it is if all words fit in.

    Args:
        console: where to.
        rows: at least one; the keys of the first are the titles.
        whole: title of the column that keeps to one line.
    """
    table = Table()
    for title in rows[0]:
        table.add_column(title, no_wrap=title == whole)
    for row in rows:
        table.add_row(*(Text(str(value)) for value in row.values()))
    needs = Measurement.get(console, console.options.update(width=ENDLESS), table)
    table.width = needs.maximum
    if console.is_terminal:
        table.width = min(table.width, max(console.width, needs.minimum))
    console.print(table, crop=False)
