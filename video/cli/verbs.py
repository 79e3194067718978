"""One command a task: `foveate detect SOURCE...` and its like."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from video.cli.options import with_options
from vision.errors import FoveateError
from vision.tasks import TASKS, get_task
from vision.tasks.base import Option, Task

if TYPE_CHECKING:
    from video.pipeline import MakeStep, SourceReport
    from video.sources import Source

BOX_OPTIONS = (
    Option("track", bool, False, "Give objects an identity across frames (ByteTrack)"),
    Option("save_crops", bool, False, "Save a picture of every object"),
)


def add_to(app: typer.Typer) -> None:
    """Add the command of every task."""
    for name in TASKS:
        task = get_task(name)
        app.command(task.verb, help=task.summary)(_verb(task))


def _verb(task: Task) -> Any:
    def verb(
        sources: Annotated[
            list[str],
            typer.Argument(
                metavar="SOURCE...",
                help="Videos, pictures, folders, globs, .txt lists, webcams (0) or stream URLs",
                show_default=False,
            ),
        ],
        output: Annotated[
            Path, typer.Option("--output", "-o", help="Folder for the results")
        ] = Path("foveate-out"),
        weights: Annotated[
            str | None,
            typer.Option(help="Name (see `foveate weights`) or file", show_default=False),
        ] = None,
        device: Annotated[
            str | None, typer.Option(help="Where to run, such as cpu or cuda:0", show_default=False)
        ] = None,
        half: Annotated[bool, typer.Option("--half", help="Compute in bfloat16")] = False,
        batch: Annotated[int, typer.Option(min=1, help="Frames that are looked at together")] = 8,
        stride: Annotated[int, typer.Option(min=1, help="Look at every n-th frame only")] = 1,
        start: Annotated[
            float | None, typer.Option(min=0, help="Begin at this second", show_default=False)
        ] = None,
        end: Annotated[
            float | None, typer.Option(min=0, help="Stop at this second", show_default=False)
        ] = None,
        no_video: Annotated[bool, typer.Option("--no-video", help="Write JSON Lines only")] = False,
        resume: Annotated[
            bool, typer.Option("--resume", help="Skip sources that an earlier run finished")
        ] = False,
        **given: Any,
    ) -> None:
        from video.sources import expand

        found = expand(sources)
        predictor = task.load("predictor").from_weights(weights, device=device, half=half)
        steps = _steps(given, predictor) if task.boxes else []
        whole = _run_all(
            task,
            found,
            predictor=predictor,
            output=output,
            weights=weights,
            options=given,
            stride=stride,
            start=start,
            end=end,
            batch=batch,
            steps=steps,
            video=not no_video,
            resume=resume,
        )
        if not whole:
            raise typer.Exit(2)

    return with_options(verb, task.options + (BOX_OPTIONS if task.boxes else ()))


def _run_all(task: Task, sources: Sequence[Source], **settings: Any) -> bool:
    """Run a task over sources one after the other; whether all of them were done to their end.

    Raises:
        FoveateError: the only source cannot be run. One bad source among several is named and
            does not keep the others waiting.
    """
    from video.pipeline import progress_bar, run

    whole = True
    with progress_bar() as progress:
        for source in sources:
            try:
                report = run(
                    source, task=task.name, draw=task.load("draw"), progress=progress, **settings
                )
            except FoveateError as error:
                if len(sources) == 1:
                    raise
                typer.echo(f"foveate: {error}", err=True)
                whole = False
                continue
            _print(task, report, progress.console)
            if report.missing:
                here = f"{source.location} is cut short: what it holds was done"
                typer.echo(f"foveate: {here}, {report.missing} frames are missing", err=True)
                whole = False
    return whole


def _steps(given: dict[str, Any], predictor: Any) -> Sequence[MakeStep]:
    """Take the options of tasks with boxes out of `given`; what they ask for."""
    steps: list[MakeStep] = []
    if given.pop("track"):
        from video.tracking import track

        threshold = given["threshold"]
        steps.append(track(predictor.threshold if threshold is None else threshold))
    if given.pop("save_crops"):
        from video.crops import save_crops

        steps.append(save_crops)
    return steps


def _print(task: Task, report: SourceReport, console: Any) -> None:
    """Say where the results are, and in a short table what was seen."""
    from rich.table import Table

    from video.records import results

    kind = task.load("result")
    before = " (done before)" if report.resumed else ""
    console.print(f"{report.source.location}{before}", style="bold", markup=False, soft_wrap=True)
    summary = report.summary
    skipped = f", {summary.skipped} damaged and passed over" if summary.skipped else ""
    console.print(f"  {summary.frames} frames in {summary.seconds:.1f} s{skipped}")
    if report.painted is not None:
        console.print(f"  see   {report.painted}", markup=False, soft_wrap=True)
    console.print(f"  data  {report.records}", markup=False, soft_wrap=True)
    for note in report.notes:
        console.print(f"  note  {note}", markup=False)
    rows = task.load("digest")(results(report.records, kind))
    if not rows:
        console.print("  nothing was found")
        return
    table = Table(*rows[0])
    for row in rows:
        table.add_row(*(str(value) for value in row.values()))
    console.print(table)
