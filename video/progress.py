"""How far a run is, told to a bar."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Protocol

from rich.progress import (
    BarColumn,
    MofNCompleteColumn,
    Progress,
    ProgressColumn,
    TextColumn,
    TimeRemainingColumn,
)
from rich.progress import Task as ProgressTask
from rich.text import Text


class Meter(Protocol):
    """What shows how far a run is: rich's `Progress` or anything that works like it."""

    def add_task(self, description: str, *, total: int | None) -> Any:
        """Begin with a source of that many frames, None when nobody knows; returns its bar."""
        ...

    def advance(self, task: Any, advance: int) -> None:
        """Move a bar on by some frames."""
        ...


def progress_bar() -> Progress:
    """A bar with frames done, frames/s and time left, for the `progress` of a run."""
    return Progress(
        TextColumn("{task.description}", markup=False),
        BarColumn(),
        MofNCompleteColumn(),
        TextColumn("frames"),
        _RateColumn(),
        TimeRemainingColumn(),
    )


class _RateColumn(ProgressColumn):
    """Frames/s."""

    def render(self, task: ProgressTask) -> Text:
        return Text(f"{task.finished_speed or task.speed or 0:.1f}/s")


def shower(meter: Meter | None, name: str, total: int | None) -> Callable[[int], None]:
    """A function that moves a new bar on by some frames; it does nothing without a meter."""
    if meter is None:
        return lambda count: None
    bar = meter.add_task(name, total=total)
    return lambda count: meter.advance(bar, count)
