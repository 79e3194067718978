"""The web demo: a tab for each task."""

from __future__ import annotations

import os
import tempfile

# Before gradio is imported: what it stores and whom it calls.
os.environ.setdefault("GRADIO_TEMP_DIR", tempfile.mkdtemp(prefix="foveate-demo-"))
os.environ["GRADIO_ANALYTICS_ENABLED"] = "False"

import gradio as gr

from demos import players
from vision.tasks import TASKS, get_task

STYLE = """
footer .divider { display: none }
@media (max-width: 480px) { [role=tablist] button, .tab-container button { padding: 0 .4em } }
"""
"""All tabs fit on a phone."""

MAX_UPLOAD = "200mb"
HOUR = 3600


def build() -> gr.Blocks:
    """The app with the tab of every task. It deletes its files when they are an hour old."""
    with gr.Blocks(title="foveate", analytics_enabled=False, delete_cache=(HOUR, HOUR)) as app:
        gr.Markdown("# foveate\nLook where it matters.")
        for name in TASKS:
            task = get_task(name)
            with gr.Tab(task.verb.capitalize()):
                task.load("demo")()
    return app


def launch(port: int | None = None, *, block: bool = True) -> str:
    """Serve the demo on this machine alone.

    Args:
        port: TCP port; the first free one from 7860 on when None.
        block: whether to serve until interrupted.

    Returns:
        The address, such as `"http://127.0.0.1:7860/"`.
    """
    app = build().queue(max_size=16, default_concurrency_limit=1)
    _, address, _ = app.launch(
        server_name="127.0.0.1",
        server_port=port,
        share=False,
        max_file_size=MAX_UPLOAD,
        allowed_paths=[],
        css=STYLE + players.STYLE,
        prevent_thread_lock=True,
        quiet=True,
        footer_links=["api"],
    )
    if block:
        print(f"foveate demo at {address} (Ctrl-C ends it)", flush=True)
        app.block_thread()
    return str(address)
