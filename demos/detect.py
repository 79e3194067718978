"""The tab of object detection."""

from __future__ import annotations

from functools import cache
from typing import Any

import gradio as gr

from demos import players
from demos.running import SCENES, run_upload
from vision.tasks import get_task
from vision.tasks.detection.predict import Detector

THRESHOLD = 0.5
"""Above the weights' own: less is found, and less that is not there."""


@cache
def detector() -> Detector:
    """The default detector, loaded once."""
    return Detector.from_weights()


def detect(
    file: str | None,
    threshold: float,
    classes: list[str],
    track: bool,
    progress: gr.Progress = gr.Progress(),  # noqa: B008  gradio finds it by its default
) -> tuple[Any, Any, list[dict[str, Any]], str]:
    """Box objects in a picture or video.

    Args:
        file: path of the upload.
        threshold: smallest score in [0, 1].
        classes: names to keep; all when empty.
        track: whether objects keep an identity across frames.
        progress: gradio's bar.

    Returns:
        The annotated picture or None, the annotated video or None, a short table of what was
        seen, and the path of the JSON Lines.
    """
    from video.tracking import track as follow

    outcome = run_upload(
        get_task("detection"),
        detector(),
        file,
        options={"threshold": threshold, "classes": classes or None},
        steps=[follow(threshold)] if track else [],
        progress=progress,
    )
    return outcome.picture, outcome.video, outcome.digest, str(outcome.records)


def tab() -> None:
    """Lay out the tab; its one endpoint is `/detect`."""
    names = [name for name, _ in detector().categories]
    with gr.Row():
        with gr.Column():
            file = gr.File(
                value=SCENES[0],
                label="Picture or video",
                file_types=["image", "video"],
            )
            threshold = gr.Slider(0, 1, THRESHOLD, step=0.05, label="Smallest score")
            classes = gr.Dropdown(names, multiselect=True, label="Only these classes")
            track = gr.Checkbox(label="Follow objects through the video")
            button = gr.Button("Detect", variant="primary")
            gr.Examples(SCENES, [file])
        with gr.Column():
            picture = players.picture("Annotated picture", format="jpeg")
            video = players.video()
            seen = players.Table("What was seen")
            records = gr.File(label="All results, as JSON Lines")
    button.click(
        detect,
        [file, threshold, classes, track],
        [picture, video, seen, records],
        show_progress_on=records,
        api_name="detect",
    )
