"""The tab of checking a procedure."""

from __future__ import annotations

from functools import cache
from pathlib import Path
from typing import Any

import gradio as gr

from demos import players
from demos.running import EXAMPLES, mistake, run_upload
from demos.timeline import Segment, panel, timeline
from vision.errors import FoveateError
from vision.tasks import get_task
from vision.tasks.mistakes.predict import MistakeChecker
from vision.tasks.mistakes.procedure import Procedure, load_procedure

EXAMPLE = EXAMPLES / "synthetic_assembly.mp4"
PROCEDURE = "synthetic-assembly"


@cache
def checker() -> MistakeChecker:
    """The default recogniser, loaded once."""
    return MistakeChecker.from_weights()


def check(
    file: str | None,
    procedure: str | None = None,
    kind: str = "",
    threshold: str = "",
    progress: gr.Progress = gr.Progress(),  # noqa: B008  gradio finds it by its default
) -> tuple[str | None, str, list[dict[str, Any]], list[str]]:
    """Follow the steps of a procedure in a video and flag those that should not come now.

    Args:
        file: path of the upload.
        procedure: path of a procedure file; the shipped one of the rendered clips when None.
        kind: what is being made, as the procedure's examples call it; anything when empty.
        threshold: surprise above which a step is flagged; learnt from the examples when
            empty.
        progress: gradio's bar.

    Returns:
        The annotated video, HTML of its timeline, a table of its steps, and the paths of the JSON
        Lines, the steps as JSON and CSV, and the timeline as a picture.
    """
    known = checker().config.classes
    for step in plan(procedure).steps:
        if step not in known:
            raise mistake(
                f"The recogniser does not know the step {step!r}. It knows {', '.join(known)}."
            )
    outcome = run_upload(
        get_task("mistakes"),
        checker(),
        file,
        options={
            "procedure": procedure or PROCEDURE,
            "kind": [kind] if kind else None,
            "threshold": number(threshold),
        },
        progress=progress,
    )
    found = outcome.result
    segments = [
        Segment(s.start, s.end or found.end, s.step, s.score, s.why if s.mistake else "", s.mistake)
        for s in found.steps
    ]
    page = timeline(segments, found.end, start=found.start)
    return outcome.video, page, outcome.digest, [str(outcome.records), *outcome.files]


def number(text: str) -> float | None:
    """The number that was typed; None for nothing.

    Raises:
        gradio.Error: it is none; shown to the visitor.
    """
    try:
        return float(text) if text and text.strip() else None
    except ValueError:
        raise mistake(f"{text!r} is no number.") from None


def plan(procedure: str | None) -> Procedure:
    """The uploaded procedure, or the shipped one.

    Raises:
        gradio.Error: the file is no procedure; shown to the visitor.
    """
    if procedure is None:
        return load_procedure(PROCEDURE)
    try:
        return load_procedure(procedure)
    except FoveateError as error:
        raise mistake(str(error).replace(procedure, Path(procedure).name)) from None


def kinds_of(procedure: str | None) -> gr.Dropdown:
    """The kinds that a procedure's examples name, to choose from."""
    kinds = sorted({kind for example in plan(procedure).examples for kind in example.kind})
    return gr.Dropdown([("any", ""), *((k, k) for k in kinds)], value="", label="What is made")


def tab() -> None:
    """Lay out the tab; its one public endpoint is `/check`."""
    with gr.Row():
        with gr.Column():
            file = gr.File(value=str(EXAMPLE), label="Video", file_types=["video"])
            procedure = gr.File(
                label="Procedure (JSON); without one, the rendered assembly", file_types=[".json"]
            )
            kind = kinds_of(None)
            threshold = gr.Textbox(  # a gr.Number that is empty shows 0
                value="",
                label="Surprise above which a step is flagged",
                placeholder="learnt from the examples",
            )
            button = gr.Button("Check", variant="primary")
            gr.Examples([str(EXAMPLE)], [file])
            gr.Markdown(
                "The shipped recogniser knows rendered clips of an assembly, **not real video**: "
                "it shows how checking works. For your own procedure, train one with "
                "`foveate train mistakes`."
            )
        with gr.Column():
            video = gr.Video(label="Annotated video", interactive=False, elem_id="checked")
            page = panel(video)
            seen = players.Table("Steps")
            files = gr.File(label="All results", file_count="multiple")
    procedure.change(kinds_of, [procedure], [kind], api_visibility="private")
    button.click(
        check,
        [file, procedure, kind, threshold],
        [video, page, seen, files],
        show_progress_on=video,
        api_name="check",
    )
