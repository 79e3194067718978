"""What features are made of: appearance, where the person is, and where something moves.

A part first looks at frames one by one (`look`, the costly half) and then makes its rows of what it
saw in them and in the frame before (`rows`).
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

import cv2
import numpy as np
import timm
import torch
from torch import nn

import vision  # noqa: F401  registers our backbones with timm
from vision.backbones.packaged import load_packaged
from vision.errors import FoveateError
from vision.results import Frame

if TYPE_CHECKING:
    from vision.features.extractor import FeatureConfig

Rows = np.ndarray
"""One row a frame, `(N, C)` float32."""


class Appearance:
    """Global average pooling of a frozen backbone's last map.

    Args:
        config: which backbone, and how frames are put before it.
        device: where it runs.
        half: whether it computes in bfloat16.
    """

    def __init__(self, config: FeatureConfig, device: torch.device, half: bool = False) -> None:
        self.size = (config.size, config.size)
        self.device, self.half = device, half
        self.body = backbone(config).to(device).to(memory_format=torch.channels_last).eval()
        self.mean, self.std = (
            torch.tensor(value, device=device).view(3, 1, 1) for value in (config.mean, config.std)
        )
        self.channels: int = self.look([np.zeros((32, 32, 3), np.uint8)]).shape[1]

    @torch.inference_mode()
    def look(self, frames: Sequence[Frame]) -> np.ndarray:
        """Features of frames, `(N, C)`."""
        small = [cv2.resize(f, self.size, interpolation=cv2.INTER_AREA) for f in frames]
        pixels = torch.from_numpy(np.stack(small)).to(self.device).permute(0, 3, 1, 2).float()
        maps = (pixels / 255 - self.mean) / self.std
        with torch.autocast(self.device.type, torch.bfloat16, enabled=self.half):
            rows: torch.Tensor = self.body(maps.to(memory_format=torch.channels_last))
        return rows.float().cpu().numpy()

    def rows(self, looks: np.ndarray, before: np.ndarray | None) -> Rows:
        """The features as they are: nothing depends on the frame before."""
        return looks

    @staticmethod
    def mirror(rows: Rows) -> Rows:
        """The rows as they are: pooled features hardly know left from right."""
        return rows


def backbone(config: FeatureConfig) -> nn.Module:
    """A timm model that ends in pooled features, filled with its weights."""
    if not timm.is_model(config.backbone):
        raise FoveateError(f"unknown backbone {config.backbone!r}; timm.list_models() names all")
    body: nn.Module = timm.create_model(
        config.backbone, num_classes=0, pretrained=config.weights == "timm"
    )
    if config.weights == "packaged":
        load_packaged(body, config.backbone)
    return body


class Person:
    """Place and shape of the surest person's box and how they change, in parts of the frame.

    What a person does at home is seen in the box more than in the picture: it does not depend on
    the room. A row holds centre, width, height, log aspect, top, bottom and score of the box,
    whether there is one, and the change of the first seven since the frame before.

    Args:
        config: which detector.
        device: where it runs.
        half: whether it computes in bfloat16.
    """

    channels = 16
    LEAST = 0.25
    """Score below which nobody is there: in empty rooms things reach 0.2."""

    def __init__(self, config: FeatureConfig, device: torch.device, half: bool = False) -> None:
        from vision.tasks.detection.predict import Detector

        self.detector = Detector.from_weights(config.detector, device=str(device), half=half)

    def look(self, frames: Sequence[Frame]) -> np.ndarray:
        """Best box of each frame, `(N, 5)`: x1, y1, x2, y2 in parts of the frame, and its score."""
        found = self.detector.predict(frames, threshold=self.LEAST, classes=["person"])
        rows = np.zeros((len(frames), 5), np.float32)
        for row, result in zip(rows, found, strict=True):
            if result.objects:
                best = result.objects[0]
                x1, y1, x2, y2 = best.box
                row[:] = (
                    x1 / result.width,
                    y1 / result.height,
                    x2 / result.width,
                    y2 / result.height,
                    best.score,
                )
        return rows

    def rows(self, looks: np.ndarray, before: np.ndarray | None) -> Rows:
        """Features of boxes `(N, 5)` that come after the box `before` `(1, 5)`."""
        if before is None:
            return box_features(looks)
        return box_features(np.concatenate([before, looks]))[1:]

    @staticmethod
    def mirror(rows: Rows) -> Rows:
        """The rows of the mirrored video."""
        mirrored = rows.copy()
        mirrored[:, 0] = np.where(rows[:, 8] > 0, 2 - rows[:, 0], 0)
        mirrored[:, 9] = 4 * np.diff(mirrored[:, 0], prepend=mirrored[:1, 0])
        return mirrored


def box_features(boxes: np.ndarray) -> Rows:
    """Rows of `Person` from boxes `(N, 5)`; a score of 0 means that there is none."""
    x1, y1, x2, y2, score = boxes.T
    width, height = x2 - x1, y2 - y1
    there = (score > 0).astype(np.float32)
    aspect = np.log((width + 0.02) / (height + 0.02))
    shape = [(x1 + x2) / 2, (y1 + y2) / 2, width, height, aspect, y1, y2, score, there]
    rows = np.stack(shape, 1) * there[:, None]
    change = np.diff(rows[:, :7], axis=0, prepend=rows[:1, :7])
    return np.concatenate([2 * rows, 8 * change], 1).astype(np.float32)


class Motion:
    """Mean change of brightness since the frame before, in the cells of a grid.

    Args:
        config: how fine the grid is.
        device: not used; the work is small.
        half: not used.
    """

    SIDE = 64
    """Pixels a side at which frames are compared."""

    def __init__(self, config: FeatureConfig, device: torch.device, half: bool = False) -> None:
        self.cells = config.motion_cells
        self.channels = self.cells**2

    def look(self, frames: Sequence[Frame]) -> np.ndarray:
        """Small blurred grey pictures of frames, `(N, SIDE, SIDE)`."""
        return np.stack([self._grey(frame) for frame in frames])

    def rows(self, looks: np.ndarray, before: np.ndarray | None) -> Rows:
        """Features of pictures that come after `before` `(1, ...)`; zeros for a video's first."""
        earlier = np.concatenate([looks[:1] if before is None else before, looks[:-1]])
        change = np.abs(looks - earlier)
        cell = self.SIDE // self.cells
        pooled = change.reshape(len(looks), self.cells, cell, self.cells, cell).mean((2, 4))
        return 20 * pooled.reshape(len(looks), -1)

    @staticmethod
    def mirror(rows: Rows) -> Rows:
        """The rows of the mirrored video."""
        cells = round(rows.shape[1] ** 0.5)
        return rows.reshape(-1, cells, cells)[:, :, ::-1].reshape(rows.shape)

    def _grey(self, frame: Frame) -> np.ndarray:
        side = (self.SIDE, self.SIDE)
        grey = cv2.cvtColor(frame, cv2.COLOR_RGB2GRAY)
        small = cv2.resize(grey, side, interpolation=cv2.INTER_AREA)
        return cv2.GaussianBlur(small.astype(np.float32) / 255, (3, 3), 0)


PARTS: dict[str, type[Appearance] | type[Person] | type[Motion]] = {
    "appearance": Appearance,
    "person": Person,
    "motion": Motion,
}
