"""`foveate models`, `foveate weights` and `foveate schema`: what there is."""

from __future__ import annotations

import json
from typing import Annotated

import typer

from video.cli.options import AsJson
from vision.errors import FoveateError
from vision.tasks import TASKS, get_task


def add_to(app: typer.Typer) -> None:
    """Add the commands."""
    app.command()(models)
    app.command()(weights)
    app.command()(schema)


def models(as_json: AsJson = False) -> None:
    """List the backbones that foveate adds to timm."""
    from rich.console import Console

    from video.cli.tables import print_table
    from vision.backbones import describe

    rows = describe()
    if as_json:
        print(json.dumps(rows, indent=1))
        return
    listed = [
        {
            "name": row["name"],
            "parameters": f"{row['parameters']:,}",
            "input": "x".join(str(n) for n in row["input_size"]),
            "weights shipped": "yes" if row["pretrained"] else "",
        }
        for row in rows
    ]
    print_table(Console(), listed, whole="name")


def weights(as_json: AsJson = False) -> None:
    """List the weights that come with foveate."""
    from rich.console import Console

    from video.cli.tables import print_table
    from vision.catalogue import catalogue

    entries = [entry.to_dict() for entry in catalogue().values()]
    if as_json:
        print(json.dumps(entries, indent=1))
        return
    listed = [
        {
            "name": entry["name"],
            "task": entry["task"],
            "default": "yes" if entry["default"] else "",
            "MB": f"{entry['bytes'] / 1e6:.1f}",
            "licence": entry["licence"],
            "score": ", ".join(f"{name} {value:g}" for name, value in entry["score"].items()),
        }
        for entry in entries
    ]
    print_table(Console(), listed, whole="name")


def schema(task: Annotated[str, typer.Argument(help=f"One of {', '.join(TASKS)}")]) -> None:
    """Print the JSON Schema of a line of a task's JSON Lines."""
    from video.records import schema as line_schema

    if task not in TASKS:
        raise FoveateError(f"unknown task {task!r}; there are {', '.join(TASKS)}")
    declared = get_task(task)
    event = declared.load("event") if declared.event else None
    print(json.dumps(line_schema(declared.load("result"), event), indent=1))
