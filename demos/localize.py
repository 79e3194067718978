"""The tab of action localization."""

from __future__ import annotations

from functools import cache
from typing import Any

import gradio as gr

from demos import players
from demos.running import SCENES, run_upload
from demos.timeline import Segment, panel, timeline
from vision.tasks import get_task
from vision.tasks.localization.predict import Localizer


@cache
def localizer() -> Localizer:
    """The default localizer, loaded once."""
    return Localizer.from_weights()


def localize(
    file: str | None,
    threshold: float,
    live: bool,
    progress: gr.Progress = gr.Progress(),  # noqa: B008  gradio finds it by its default
) -> tuple[str | None, str, list[dict[str, Any]], list[str]]:
    """Find what happens in a video, from when to when.

    Args:
        file: path of the upload.
        threshold: smallest score in [0, 1].
        live: whether to use the causal head, which says an action right after its end.
        progress: gradio's bar.

    Returns:
        The annotated video, HTML of its timeline, a short table of what happened, and the paths
        of the JSON Lines, the ActivityNet JSON, the CSV and the timeline as a picture.
    """
    outcome = run_upload(
        get_task("localization"),
        localizer(),
        file,
        options={"threshold": threshold, "live": live},
        progress=progress,
    )
    found = outcome.result
    segments = [
        Segment(a.start, a.end, a.label, a.score, f"final after {a.delay:.1f} s")
        for a in found.actions
    ]
    page = timeline(segments, found.end, start=found.start, labels=found.labels)
    return outcome.video, page, outcome.digest, [str(outcome.records), *outcome.files]


def tab() -> None:
    """Lay out the tab; its one endpoint is `/localize`."""
    videos = [path for path in SCENES if path.endswith(".mp4")]
    with gr.Row():
        with gr.Column():
            file = gr.File(value=videos[0], label="Video", file_types=["video"])
            threshold = gr.Slider(0, 1, localizer().threshold, step=0.05, label="Smallest score")
            live = gr.Checkbox(label="Live: say an action right after its end")
            button = gr.Button("Localize", variant="primary")
            gr.Examples(videos, [file])
            gr.Markdown(f"It knows {', '.join(localizer().labels)}.")
        with gr.Column():
            video = gr.Video(label="Annotated video", interactive=False, elem_id="localized")
            page = panel(video)
            seen = players.Table("What happened")
            files = gr.File(label="All results", file_count="multiple")
    button.click(
        localize,
        [file, threshold, live],
        [video, page, seen, files],
        show_progress_on=video,
        api_name="localize",
    )
