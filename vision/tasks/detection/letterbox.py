"""Fitting a picture into a detector's input, and boxes back into the picture."""

from __future__ import annotations

from dataclasses import dataclass

import cv2
import numpy as np

from vision.results import Frame
from vision.tasks.detection.augment import GREY
from vision.tasks.detection.pyramid import STRIDES


@dataclass(frozen=True)
class Letterbox:
    """A picture of `height` x `width` scaled to `size` on its long side, on a padded canvas.

    The canvas is the smallest that the coarsest stride divides, the same for every picture of
    one shape, so that frames of a video make a batch and little of it is padding.
    """

    height: int
    width: int
    size: int

    @property
    def scaled(self) -> tuple[int, int]:
        """Height and width of the picture on the canvas, in pixels, at least 1."""
        ratio = self.size / max(self.height, self.width)
        return max(1, round(self.height * ratio)), max(1, round(self.width * ratio))

    @property
    def canvas(self) -> tuple[int, int]:
        """Height and width of the canvas in pixels."""
        step = STRIDES[-1]
        height, width = (-(-side // step) * step for side in self.scaled)
        return height, width

    @property
    def offset(self) -> tuple[int, int]:
        """Where the picture begins on the canvas: top and left, in pixels."""
        top, left = ((c - s) // 2 for c, s in zip(self.canvas, self.scaled, strict=True))
        return top, left

    def apply(self, image: Frame) -> Frame:
        """The canvas `(*canvas, 3)` uint8 with the picture on it."""
        height, width = self.scaled
        top, left = self.offset
        shrinks = height < self.height
        resized = cv2.resize(
            image, (width, height), interpolation=cv2.INTER_AREA if shrinks else cv2.INTER_LINEAR
        )
        result = np.full((*self.canvas, 3), GREY, np.uint8)
        result[top : top + height, left : left + width] = resized
        return result

    def undo(self, boxes: np.ndarray) -> np.ndarray:
        """Boxes `(N, 4)` xyxy on the canvas, in pixels of the picture and clipped to it."""
        height, width = self.scaled
        top, left = self.offset
        scale = np.array([self.width / width, self.height / height] * 2, np.float32)
        moved = (boxes - np.array([left, top] * 2, np.float32)) * scale
        return np.clip(moved, 0, np.array([self.width, self.height] * 2, np.float32))
