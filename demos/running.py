"""Running a task over what a visitor uploaded."""

from __future__ import annotations

import tempfile
from collections.abc import Mapping, Sequence
from contextvars import copy_context
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import gradio as gr

from video.frame_pass import MakeStep
from video.frames import Selection
from video.pipeline import run
from video.records import results
from video.sources import expand
from vision.errors import FoveateError
from vision.tasks.base import FramePredictor, StreamPredictor, Task

EXAMPLES = Path(__file__).parent / "examples"
SCENES = [str(EXAMPLES / name) for name in ("store.jpg", "worker.mp4", "table.mp4")]
"""Real ones; the quickest first."""


@dataclass(frozen=True)
class Outcome:
    """What came of an upload.

    Args:
        picture: path of the annotated picture, when the upload was one.
        video: path of the annotated video, when the upload was one.
        digest: a short table of what was seen.
        records: path of the JSON Lines.
        files: paths of the other files of the task, such as an animation or a timeline.
        result: a stream task's result for the whole video; None for frame tasks.
    """

    picture: str | None
    video: str | None
    digest: list[dict[str, Any]]
    records: Path
    files: list[str]
    result: Any

    def file(self, suffix: str) -> str | None:
        """Path of the first of `files` that ends so (`".gif"`); None when there is none."""
        return next((path for path in self.files if path.endswith(suffix)), None)


class Bar:
    """Shows the pipeline's progress on gradio's bar."""

    def __init__(self, progress: gr.Progress) -> None:
        self.progress = progress
        self.context = copy_context()  # of the visit; frames are counted in a thread without
        self.done = 0
        self.total: int | None = None

    def add_task(self, description: str, *, total: int | None) -> None:
        """Begin with a source of that many frames."""
        self.done, self.total = 0, total

    def advance(self, task: None, advance: int) -> None:
        """Move on by some frames."""
        self.done += advance
        self.context.run(self.progress, (self.done, self.total), unit="frames")


def mistake(message: str) -> gr.Error:
    """What tells a visitor of a mistake; the server's log needs no traceback of it."""
    return gr.Error(message, print_exception=False)


def run_upload(
    task: Task,
    predictor: FramePredictor | StreamPredictor,
    file: str | None,
    *,
    options: Mapping[str, Any],
    progress: gr.Progress,
    steps: Sequence[MakeStep] = (),
    every: float | None = None,
    file_options: Mapping[str, Any] | None = None,
) -> Outcome:
    """Run a task over an uploaded file.

    Args:
        task: what to run.
        predictor: the task's, loaded.
        file: path of the upload; None when there is none.
        options: of the predictor.
        progress: gradio's bar.
        steps: what is done to results before they are written.
        every: seconds of a video between frames that are looked at; the task's own when None.
        file_options: of the task's files; their own defaults when None.

    Raises:
        gradio.Error: nothing was uploaded, or it cannot be read; shown to the visitor.
    """
    if file is None:
        raise mistake("Upload a file first.")
    if Path(file).suffix.lower() == ".txt":  # a list would name files of this machine
        raise mistake("Upload a picture or a video, not a list.")
    output = Path(tempfile.mkdtemp(dir=gr.utils.get_upload_folder()))
    try:
        (source,) = expand([file])
        report = run(
            source,
            predictor=predictor,
            draw=task.load("draw"),
            output=output,
            task=task.name,
            options=options,
            files=task.load("files") if task.files else None,
            file_options=file_options,
            steps=steps,
            selection=Selection(every=task.every if every is None else every),
            progress=Bar(progress),
        )
    except FoveateError as error:
        raise mistake(str(error).replace(file, Path(file).name)) from None
    painted = None if report.painted is None else str(report.painted)
    is_picture = source.kind == "pictures"
    return Outcome(
        picture=painted if is_picture else None,
        video=None if is_picture else painted,
        digest=task.load("digest")(results(report.records, task.load("result"))),
        records=report.records,
        files=[str(path) for path in report.files],
        result=report.summary.result,
    )
