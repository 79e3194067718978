"""The tab of grounded captioning."""

from __future__ import annotations

import base64
import html
from functools import cache
from pathlib import Path
from typing import Any

import cv2
import gradio as gr

from demos import players
from demos.running import SCENES, run_upload
from video.records import results
from vision.images import decode_image
from vision.results import Frame
from vision.tasks import get_task
from vision.tasks.captioning.draw import colours
from vision.tasks.captioning.predict import BEAM, CaptionPredictor
from vision.tasks.captioning.results import Caption

SIDE = 720
"""Long side in pixels of the picture that the words point into."""

STYLE = """
.pointing { position: relative; margin: 0; font-size: 1.25rem }
.pointing svg { width: 100%; display: block }
.pointing rect { fill: none; fill-opacity: .2; stroke-width: 0.6%; transition: opacity .15s }
.pointing mark { background: none; border-bottom: .2em solid; color: inherit; cursor: pointer }
.pointing:has(mark:hover) rect { opacity: .12 }
"""


@cache
def captioner() -> CaptionPredictor:
    """The default captioner, loaded once."""
    return CaptionPredictor.from_weights()


def pointing(image: Frame, result: Caption) -> str:
    """HTML of a picture over its caption, in which a word under the mouse shows its box.

    Args:
        image: `(H, W, 3)` uint8 RGB.
        result: its caption.
    """
    scale = min(1.0, SIDE / max(image.shape[:2]))
    small = cv2.resize(image, None, fx=scale, fy=scale, interpolation=cv2.INTER_AREA)
    _, jpeg = cv2.imencode(".jpg", cv2.cvtColor(small, cv2.COLOR_RGB2BGR))
    data = base64.b64encode(jpeg.tobytes()).decode()
    rules, boxes, words, end = [], [], [], 0
    for n, (phrase, tint) in enumerate(zip(result.phrases, colours(result.phrases), strict=True)):
        if phrase.box is None:
            continue
        x1, y1, x2, y2 = phrase.box
        colour = f"rgb{tint}"
        boxes.append(
            f'<rect class="b{n}" x="{x1}" y="{y1}" width="{x2 - x1:.1f}" height="{y2 - y1:.1f}" '
            f'stroke="{colour}"/>'
        )
        rules.append(f".pointing:has(.w{n}:hover) .b{n} {{ fill: {colour}; opacity: 1 }}")
        title = f"{phrase.label}, {100 * phrase.mass:.0f} % of the attention"
        words.append(html.escape(result.caption[end : phrase.start]))
        words.append(
            f'<mark class="w{n}" title="{html.escape(title)}" style="border-color: {colour}">'
            f"{html.escape(phrase.text)}</mark>"
        )
        end = phrase.end
    words.append(html.escape(result.caption[end:]))
    return (
        f"<style>{STYLE}{''.join(rules)}</style>"
        f'<figure class="pointing"><svg viewBox="0 0 {result.width} {result.height}">'
        f'<image href="data:image/jpeg;base64,{data}" width="100%" height="100%"/>'
        f"{''.join(boxes)}</svg><figcaption>{''.join(words)}</figcaption></figure>"
    )


def caption(
    file: str | None,
    beam: int,
    every: float,
    progress: gr.Progress = gr.Progress(),  # noqa: B008  gradio finds it by its default
) -> tuple[str, Any, Any, list[dict[str, Any]], list[str]]:
    """Describe a picture or video, and say where the things are.

    Args:
        file: path of the upload.
        beam: beginnings that are kept at each word.
        every: seconds of a video from one caption to the next.
        progress: gradio's bar.

    Returns:
        HTML of a picture whose caption points into it (nothing for a video), the annotated
        picture or None, the annotated video or None, a short table of what was said, and the paths
        of the JSON Lines, the COCO captions and, of a video, the subtitles.
    """
    task = get_task("captioning")
    options = {"beam": int(beam)}
    outcome = run_upload(
        task, captioner(), file, options=options, steps=[], every=every, progress=progress
    )
    page = ""
    if outcome.picture is not None and file is not None:
        (result,) = results(outcome.records, Caption)
        page = pointing(decode_image(Path(file).read_bytes(), Path(file).name), result)
    return (
        page,
        outcome.picture,
        outcome.video,
        outcome.digest,
        [str(outcome.records), *outcome.files],
    )


def tab() -> None:
    """Lay out the tab; its one endpoint is `/caption`."""
    with gr.Row():
        with gr.Column():
            file = gr.File(
                value=SCENES[0],
                label="Picture or video",
                file_types=["image", "video"],
            )
            beam = gr.Slider(1, 10, BEAM, step=1, label="Beginnings kept at each word")
            every = gr.Slider(0.5, 10, 2, step=0.5, label="Seconds from caption to caption")
            button = gr.Button("Caption", variant="primary")
            gr.Examples(SCENES, [file])
        with gr.Column():
            page = gr.HTML(label="Point at a word to see its box", elem_classes="result")
            picture = players.picture("Annotated picture", format="jpeg")
            video = players.video()
            said = players.Table("What was said")
            files = gr.File(label="All results", file_count="multiple")
    button.click(
        caption,
        [file, beam, every],
        [page, picture, video, said, files],
        show_progress_on=files,
        api_name="caption",
    )
