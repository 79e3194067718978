"""One command a task: `foveate detect SOURCE...` and its like."""

from __future__ import annotations

from dataclasses import replace
from enum import StrEnum
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from video.batch import BOX_OPTIONS, Failure, Job
from video.cli.errors import say
from video.cli.options import OUTPUT, Device, Output, Weights, bind
from vision.errors import FoveateError
from vision.tasks import TASKS, get_task
from vision.tasks.base import Option, Task

if TYPE_CHECKING:
    from video.pipeline import SourceReport
    from vision.results import Result

EVERY = Option(
    "every", float, None, "On video, seconds between frames that are looked at; 0: all", (0, None)
)


class Engine(StrEnum):
    """What runs a task over many sources."""

    LOCAL = "local"
    RAY = "ray"


def add_to(app: typer.Typer) -> None:
    """Add the command of every task."""
    for name in TASKS:
        task = get_task(name)
        app.command(task.verb, help=task.summary)(command(task))


def command(task: Task) -> Any:
    """The function that typer makes a task's command of."""
    # Without a source only where the task can do something then.
    defaults: dict[str, Any] = {"sources": []} if task.alone else {}
    return bind(verb, task, options=_options(task), **defaults)


def verb(
    task: Task,
    *,
    sources: Annotated[
        list[str],
        typer.Argument(
            metavar="SOURCE...",
            help="Videos, pictures, folders, globs, .txt lists, webcams (0) or stream URLs",
            show_default=False,
        ),
    ],
    output: Output = OUTPUT,
    weights: Weights = None,
    device: Device = None,
    half: Annotated[bool, typer.Option("--half", help="Compute in bfloat16")] = False,
    batch: Annotated[int, typer.Option(min=1, help="Frames that are looked at together")] = 8,
    stride: Annotated[int, typer.Option(min=1, help="Look at every n-th frame only")] = 1,
    start: Annotated[
        float | None, typer.Option(min=0, help="Begin at this second", show_default=False)
    ] = None,
    end: Annotated[
        float | None, typer.Option(min=0, help="Stop at this second", show_default=False)
    ] = None,
    no_video: Annotated[
        bool, typer.Option("--no-video", help="Write no painted video or pictures")
    ] = False,
    resume: Annotated[
        bool, typer.Option("--resume", help="Skip sources that an earlier run finished")
    ] = False,
    engine: Annotated[
        Engine, typer.Option(help="Sources one by one here, or side by side on Ray")
    ] = Engine.LOCAL,
    workers: Annotated[
        int | None,
        typer.Option(min=1, help="Sources at once with --engine ray", show_default=False),
    ] = None,
    **given: Any,
) -> None:
    """Run a task over sources; exit code 2 unless all were done to their end."""
    if not sources:
        _alone(task, output, weights, device, given)
        return
    from video.frames import Selection

    selection = Selection(stride, start, end, given.pop("every", None))
    settings = {"selection": selection, "batch": batch, "video": not no_video, "resume": resume}
    job = Job(task, output, weights, device, half, given, settings)
    try:
        done = _run(job, sources, engine, workers)
    except KeyboardInterrupt:
        say("interrupted; run again with --resume, it leaves finished sources alone")
        raise
    if not done:
        raise typer.Exit(2)


def _options(task: Task) -> tuple[Option, ...]:
    """The options of a task's command that not every task has."""
    every = (replace(EVERY, default=task.every),) if task.kind == "frame" else ()
    boxes = BOX_OPTIONS if task.boxes else ()
    return (*task.options, *task.file_options, *every, *boxes)


def _alone(
    task: Task, output: Path, weights: str | None, device: str | None, given: dict[str, Any]
) -> None:
    """Run what a task does without a source, if its options ask for anything."""
    options = {option.name: given[option.name] for option in task.options}
    if all(options[option.name] == option.default for option in task.options):
        raise FoveateError(f"nothing to {task.verb}; give a SOURCE or see the options of --help")
    task.load("alone")(output, weights, device, **options)


def _run(job: Job, sources: list[str], engine: Engine, workers: int | None) -> bool:
    """Run a task over what the user named; whether all of it was done to its end."""
    from video.batch import run_local, run_ray
    from video.progress import progress_bar
    from video.sources import expand

    found = expand(sources)
    errors: list[str] = []
    try:
        with progress_bar() as progress:
            if engine is Engine.RAY:
                outcomes = run_ray(job, found, workers=workers)
            else:
                tell = partial(_print_event, progress.console)
                outcomes = run_local(job, found, progress=progress, tell=tell)
            for outcome in outcomes:
                errors += _print(job.task, outcome, progress.console)
    finally:
        for error in errors:
            say(error)
    return not errors


def _print_event(console: Any, event: Result) -> None:
    console.print(event.model_dump_json(), markup=False, highlight=False, soft_wrap=True)


def _print(task: Task, outcome: SourceReport | Failure, console: Any) -> list[str]:
    """Print what came of a source; returns what went wrong."""
    if isinstance(outcome, Failure):
        return [outcome.reason]
    _print_report(task, outcome, console)
    if not outcome.missing:
        return []
    here = f"{outcome.source.location} is cut short: what it holds was done"
    return [f"{here}, {outcome.missing} frames are missing"]


def _print_report(task: Task, report: SourceReport, console: Any) -> None:
    """Say where the results are, and in a short table what was seen."""
    from video.cli.tables import print_table
    from video.records import results

    kind = task.load("result")
    before = " (done before)" if report.resumed else ""
    console.print(f"{report.source.location}{before}", style="bold", markup=False, soft_wrap=True)
    summary = report.summary
    skipped = f", {summary.skipped} damaged and passed over" if summary.skipped else ""
    noun = "picture" if report.source.kind == "pictures" else "frame"
    count = f"{summary.frames} {noun}{'' if summary.frames == 1 else 's'}"
    console.print(f"  {count} in {summary.seconds:.1f} s{skipped}")
    if report.painted is not None:
        console.print(f"  see   {report.painted}", markup=False, soft_wrap=True)
    console.print(f"  data  {report.records}", markup=False, soft_wrap=True)
    for path in report.files:
        console.print(f"  file  {path}", markup=False, soft_wrap=True)
    for note in report.notes:
        console.print(f"  note  {note}", markup=False)
    rows = task.load("digest")(results(report.records, kind))
    if not rows:
        console.print("  nothing was found")
        return
    print_table(console, rows)
