"""The tasks there are. Adding one means a folder beside this file and one line here."""

from __future__ import annotations

from functools import cache
from importlib import import_module
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from vision.tasks.base import Task

TASKS = {
    "detection": "vision.tasks.detection.task",
    "scanpath": "vision.tasks.scanpath.task",
    "captioning": "vision.tasks.captioning.task",
    "mistakes": "vision.tasks.mistakes.task",
    "localization": "vision.tasks.localization.task",
}
"""Task name -> module that holds its declaration `TASK`."""


@cache
def get_task(name: str) -> Task:
    """The declaration of a task by its name (a key of `TASKS`)."""
    task: Task = import_module(TASKS[name]).TASK
    return task
