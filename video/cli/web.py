"""`foveate demo`: the web demo."""

from __future__ import annotations

from typing import Annotated

import typer


def add_to(app: typer.Typer) -> None:
    """Add the command."""
    app.command()(demo)


def demo(
    port: Annotated[
        int | None, typer.Option(min=1, max=65535, help="TCP port; free one from 7860 by default")
    ] = None,
) -> None:
    """Open the web demo on this machine (127.0.0.1 only)."""
    from importlib import import_module

    # By name: the demo stands above this package and imports it.
    import_module("demos.app").launch(port)
