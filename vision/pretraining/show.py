"""`foveate droppos-show`: where a model puts the patches of a picture."""

from __future__ import annotations

import cv2
import numpy as np
import torch

from vision.pretraining.metrics import assign
from vision.pretraining.model import load_model
from vision.results import Frame

PANEL = 432
"""Height of a panel in pixels."""

HEADER = 28
GREY, WHITE = (60, 60, 60), (255, 255, 255)
KEPT, RIGHT, WRONG = (60, 120, 240), (40, 190, 80), (230, 80, 50)
"""Frames of patches that kept their position, were put right, and were put wrong."""


@torch.inference_mode()
def show(
    image: Frame, weights: str | None, *, seed: int = 0, device: str | None = None
) -> tuple[Frame, str]:
    """Drop positions of a picture, find them, and draw it.

    Args:
        image: `(H, W, 3)` uint8 RGB.
        weights: catalogue name or path; the default when None.
        seed: of what is removed and dropped.
        device: where to run.

    Returns:
        Three panels side by side: the patches as the model gets them, those without position in
        random order; where it puts them, one cell a patch; the truth, removed patches dark. And
        one line that says how many are right.
    """
    model, config = load_model(weights, device)
    pixels = config.view.crop()(torch.from_numpy(image).permute(2, 0, 1))
    generator = torch.Generator().manual_seed(seed)
    noise = model.draw_noise(1, generator)
    batch = config.view.normalisation()(pixels)[None].to(next(model.parameters()).device)
    output = model(batch, model.smoothing(0.0), noise)
    truth, dropped = output.patches.keep[0].cpu(), output.positions.removed[0].cpu()
    placed = assign(output.logits[0].float().cpu(), truth, dropped)
    mixed = truth.clone()
    mixed[dropped] = truth[dropped][torch.randperm(int(dropped.sum()), generator=generator)]

    picture = pixels.permute(1, 2, 0).numpy()
    scale = max(1, round(PANEL / picture.shape[0]))
    picture = cv2.resize(picture, None, fx=scale, fy=scale, interpolation=cv2.INTER_CUBIC)
    right = placed == truth
    frames = [KEPT if not d else RIGHT if r else WRONG for d, r in zip(dropped, right, strict=True)]
    count = f"{int(right[dropped].sum())} of {int(dropped.sum())}"
    blank = np.full_like(picture, GREY)
    unknown = [WHITE if d else KEPT for d in dropped]
    panels = (
        ("without position", blank, mixed, unknown),
        (f"put: {count} right", blank, placed, frames),
        ("truth", picture // 4, truth, frames),
    )
    gap = np.full((picture.shape[0] + HEADER, 8, 3), WHITE, np.uint8)
    columns: list[Frame] = []
    for title, ground, places, colours in panels:
        panel = paste(picture, ground, model.grid, truth.tolist(), places.tolist(), colours)
        columns += [_titled(panel, title), gap]
    return np.hstack(columns[:-1]), f"{count} patches found"


def paste(
    picture: Frame,
    ground: Frame,
    grid: tuple[int, int],
    sources: list[int],
    targets: list[int],
    colours: list[tuple[int, int, int]],
) -> Frame:
    """Copy cells of a picture onto a copy of `ground`, each with a frame of its colour.

    Args:
        picture: `(H, W, 3)` uint8.
        ground: likewise, of the same size.
        grid: rows and columns.
        sources: cells to copy, in raster order.
        targets: where each goes.
        colours: of their frames, RGB.
    """
    canvas = ground.copy()
    height, width = picture.shape[0] // grid[0], picture.shape[1] // grid[1]
    for source, target, colour in zip(sources, targets, colours, strict=True):
        (y, x), (v, u) = (divmod(cell, grid[1]) for cell in (source, target))
        patch = picture[y * height : (y + 1) * height, x * width : (x + 1) * width].copy()
        cv2.rectangle(patch, (0, 0), (width - 1, height - 1), colour, 2)
        canvas[v * height : (v + 1) * height, u * width : (u + 1) * width] = patch
    return canvas


def _titled(panel: Frame, title: str) -> Frame:
    header = np.full((HEADER, panel.shape[1], 3), WHITE, np.uint8)
    cv2.putText(header, title, (4, 20), cv2.FONT_HERSHEY_SIMPLEX, 0.55, (0, 0, 0), 1, cv2.LINE_AA)
    return np.vstack([header, panel])
