"""Appearance of objects from their pixels: the small network of OAT."""

from __future__ import annotations

from typing import Literal

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional as F
from torchvision.ops import roi_align

from vision.results import Frame


class SpatialPyramidPool(nn.Module):
    """Pool maps of any size into 1, 4, 16, … bins (He et al. 2015).

    Args:
        levels: how many grids; the i-th has `2**i` bins a side.
        kind: what a bin keeps. Zeros that pad the map to whole bins count as values.
    """

    def __init__(self, levels: int, kind: Literal["max", "avg"] = "max") -> None:
        super().__init__()
        self.levels = levels
        self.pool = F.max_pool2d if kind == "max" else F.avg_pool2d

    def forward(self, x: Tensor) -> Tensor:
        """`(B, C, H, W)` to `(B, C * (1 + 4 + …))`, channels first within each level."""
        height, width = x.shape[-2:]
        levels = []
        for level in range(self.levels):
            bins = 2**level
            down, across = -(-height // bins), -(-width // bins)
            rows, columns = down * bins - height, across * bins - width
            borders = (columns // 2, -(-columns // 2), rows // 2, -(-rows // 2))
            levels.append(self.pool(F.pad(x, borders), (down, across)).flatten(1))
        return torch.cat(levels, 1)


class PatchCNN(nn.Module):
    """Two convolutions over a patch (OAT, section 3.1).

    Args:
        width: of the embedding.
        levels: of the spatial pyramid; 0 flattens instead and takes 150 x 93 pixels only.
    """

    def __init__(self, width: int, levels: int = 0) -> None:
        super().__init__()
        self.cnn1 = nn.Sequential(nn.Conv2d(3, 16, 5), nn.ReLU(), nn.MaxPool2d(5))
        second = (nn.Conv2d(16, 32, 3), nn.ReLU())
        if levels:
            self.cnn2 = nn.Sequential(*second)
            self.pool: nn.Module = SpatialPyramidPool(levels)
        else:
            self.cnn2 = nn.Sequential(*second, nn.MaxPool2d(3))
            self.pool = nn.Flatten()
        bins = sum(4**level for level in range(levels)) if levels else 45
        self.fc = nn.Linear(32 * bins, width)

    def forward(self, patches: Tensor) -> Tensor:
        """Embed patches `(..., H, W, 3)` in [0, 1] as `(..., width)`."""
        x = patches.flatten(0, -4).movedim(-1, 1)
        embedded: Tensor = self.fc(self.pool(self.cnn2(self.cnn1(x))))
        return embedded.unflatten(0, patches.shape[:-3])


def crop_patches(image: Frame, boxes: np.ndarray, size: int) -> Tensor:
    """Cut boxes out of a picture and resize them.

    Args:
        image: `(H, W, 3)` uint8 RGB.
        boxes: `(N, 4)` xyxy as shares of width and height.
        size: side of the square patches in pixels.

    Returns:
        `(N, size, size, 3)` in [0, 1].
    """
    pixels = torch.from_numpy(image).permute(2, 0, 1)[None].float() / 255
    height, width = image.shape[:2]
    scale = np.array([width, height, width, height], np.float32)
    places = torch.from_numpy(boxes.astype(np.float32) * scale)
    return roi_align(pixels, [places], size, aligned=True).permute(0, 2, 3, 1)
