"""`foveate eval`, `foveate train` and `foveate bench`."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Annotated, Any

import typer

from video.cli.options import with_options
from vision.tasks import TASKS, get_task
from vision.tasks.base import Task, resolve

BENCHES = {
    "biformer": (
        "vision.backbones.bench:bench_biformer",
        "Bi-level routing: published form, ours, dense attention, and whole backbones",
    ),
    "video": (
        "video.bench:bench_detect",
        "Frames/s of decoding, inference and encoding alone, and of the whole pipeline",
    ),
}
"""Benchmark -> function `(quick) -> (records, print_function)`, and one line of help."""

AsJson = Annotated[bool, typer.Option("--json", help="Print JSON instead of tables")]


def add_to(app: typer.Typer) -> None:
    """Add the three groups of commands."""
    evaluations = typer.Typer(help="Measure weights on annotated data", no_args_is_help=True)
    trainings = typer.Typer(help="Train weights from a recipe", no_args_is_help=True)
    benches = typer.Typer(help="Measure speed and memory", no_args_is_help=True)
    for name in TASKS:
        task = get_task(name)
        evaluations.command(name, help=task.summary)(_evaluation(task))
        trainings.command(name, help=task.summary)(_training(task))
    for name, (reference, summary) in BENCHES.items():
        benches.command(name, help=summary)(_bench(reference))
    app.add_typer(evaluations, name="eval")
    app.add_typer(trainings, name="train")
    app.add_typer(benches, name="bench")


def _evaluation(task: Task) -> Any:
    def evaluation(
        *,
        weights: Annotated[
            str | None,
            typer.Option(help="Name (see `foveate weights`) or file", show_default=False),
        ] = None,
        as_json: AsJson = False,
        **given: Any,
    ) -> None:
        report = task.load("evaluate")(weights, **given)
        if as_json:
            print(json.dumps(report, indent=1))
        else:
            task.load("report")(report)

    return with_options(evaluation, task.eval_options)


def _training(task: Task) -> Any:
    def training(
        recipe: Annotated[str, typer.Option(help="Name of a shipped recipe, or a TOML file")],
        data: Annotated[Path, typer.Option(help="Root of the data that the recipe names")],
        out: Annotated[Path, typer.Option(help="Folder for checkpoints, metrics and weights")],
        resume: Annotated[bool, typer.Option("--resume", help="Go on from --out")] = False,
        init: Annotated[str | None, typer.Option(help="Weights to begin with")] = None,
        override: Annotated[
            list[str] | None, typer.Option("--set", help="Change the recipe: a.b=value")
        ] = None,
    ) -> None:
        path = task.load("train")(
            recipe, data, out, resume=resume, init=init, overrides=tuple(override or ())
        )
        print(path)

    return training


def _bench(reference: str) -> Any:
    def bench(
        quick: Annotated[bool, typer.Option("--quick", help="Fewer runs, smaller sizes")] = False,
        as_json: AsJson = False,
    ) -> None:
        records, show = resolve(reference)(quick=quick)
        if as_json:
            print(json.dumps(records, indent=1))
        else:
            show(records)

    return bench
