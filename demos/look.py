"""The tab of scanpaths."""

from __future__ import annotations

from functools import cache
from typing import Any

import gradio as gr

from demos import players
from demos.running import SCENES, run_upload
from vision.tasks import get_task
from vision.tasks.scanpath.predict import Looker

ANYTHING = "anything (free viewing)"


@cache
def looker() -> Looker:
    """The default scanpath model, loaded once."""
    return Looker.from_weights()


def look(
    file: str | None,
    target: str,
    samples: int,
    seed: int,
    temperature: float,
    progress: gr.Progress = gr.Progress(),  # noqa: B008  gradio finds it by its default
) -> tuple[Any, Any, Any, Any, list[dict[str, Any]], list[str]]:
    """Predict how people look at a picture or video.

    Args:
        file: path of the upload.
        target: label of what is looked for.
        samples: paths a picture.
        seed: of all draws.
        temperature: of the choice among objects.
        progress: gradio's bar.

    Returns:
        The animated first path, the picture with the paths and that with the chances of each step
        or None, the annotated video or None, a short table of what was looked at, and the paths of
        JSON Lines, CSV and JSON.
    """
    options = {
        # A label of the list and nothing else: other texts may name files of this machine.
        "target": target if target in looker().config.labels else None,
        "samples": int(samples),
        "seed": int(seed),
        "temperature": temperature,
    }
    outcome = run_upload(
        get_task("scanpath"),
        looker(),
        file,
        options=options,
        file_options={"animation": "gif", "heatmap": True},
        progress=progress,
    )
    tables = [path for path in outcome.files if path.endswith((".csv", ".json"))]
    return (
        outcome.file(".gif"),
        outcome.picture,
        outcome.file("-heat.png"),
        outcome.video,
        outcome.digest,
        [str(outcome.records), *tables],
    )


def tab() -> None:
    """Lay out the tab; its one endpoint is `/look`."""
    with gr.Row():
        with gr.Column():
            file = gr.File(
                value=SCENES[0],
                label="Picture or video",
                file_types=["image", "video"],
            )
            target = gr.Dropdown(
                [ANYTHING, *looker().config.labels], value=ANYTHING, label="Looking for"
            )
            samples = gr.Slider(1, 20, 5, step=1, label="Paths")
            temperature = gr.Slider(
                0, 2, looker().temperature, step=0.05, label="Temperature: 0 is the likeliest path"
            )
            seed = gr.Number(0, precision=0, minimum=0, label="Seed")
            button = gr.Button("Look", variant="primary")
            gr.Examples(SCENES, [file])
        with gr.Column():
            animation = players.picture("One path as it goes")
            picture = players.picture("All paths", format="jpeg")
            heat = players.picture("Where each step may go")
            video = players.video()
            seen = players.Table("What was looked at")
            tables = gr.File(label="All results", file_count="multiple")
    button.click(
        look,
        [file, target, samples, seed, temperature],
        [animation, picture, heat, video, seen, tables],
        show_progress_on=tables,
        api_name="look",
    )
