"""`foveate eval droppos`: how well weights find positions in pictures they have not seen."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import torch
from rich.console import Console
from rich.table import Table
from torch.utils.data import DataLoader

from vision.pretraining.data import Pictures
from vision.pretraining.metrics import PositionMetrics
from vision.pretraining.model import load_model

BATCH = 50


@torch.inference_mode()
def evaluate(weights: str | None, *, images: Path, device: str | None = None) -> dict[str, Any]:
    """Find positions in a folder or tar of pictures; the masks are the same every time.

    Args:
        weights: catalogue name or path; the default when None.
        images: uncompressed tar or folder.
        device: where to run.

    Returns:
        `images` and the figures of `PositionMetrics.compute`.

    Raises:
        FoveateError: weights, pictures or a device that are not there.
    """
    model, config = load_model(weights, device)
    pictures = Pictures(images, config.view.evaluation())
    found = PositionMetrics(model.grid)
    place = next(model.parameters()).device
    for index, (batch, _) in enumerate(DataLoader(pictures, batch_size=BATCH)):
        noise = model.draw_noise(len(batch), torch.Generator().manual_seed(index))
        found.update(model(batch.to(place), model.smoothing(0.0), noise))
    return {"images": len(pictures), **found.compute()}


def print_report(report: dict[str, Any], console: Console | None = None) -> None:
    """Print what `evaluate` returned."""
    table = Table("", "found", "without learning", title=f"{report['images']} pictures")
    rows = (
        ("exact (%)", "accuracy", "constant accuracy", 100),
        ("exact, weighted as the loss (%)", "accuracy weighted", "chance", 100),
        ("exact, one cell a patch (%)", "accuracy assigned", "chance", 100),
        ("among the five best (%)", "top5", None, 100),
        ("row (%)", "row", None, 100),
        ("column (%)", "column", None, 100),
        ("distance (cells)", "distance", "constant distance", 1),
    )
    for label, name, base, scale in rows:
        blind = "" if base is None else f"{scale * report[base]:.2f}"
        table.add_row(label, f"{scale * report[name]:.2f}", blind)
    (console or Console()).print(table)
