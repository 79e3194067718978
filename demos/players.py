"""Where tabs show pictures and videos that came out; out of sight while there are none."""

from __future__ import annotations

from typing import Any

import gradio as gr

STYLE = ".result:has(> .empty) { display: none }"


def picture(label: str, **settings: Any) -> gr.Image:
    """A picture that came out. Gradio's own button to share it would send it to another site."""
    return gr.Image(
        label=label,
        interactive=False,
        buttons=["download", "fullscreen"],
        elem_classes="result",
        **settings,
    )


def video(label: str = "Annotated video", **settings: Any) -> gr.Video:
    """A video that came out."""
    return gr.Video(label=label, interactive=False, elem_classes="result", **settings)
