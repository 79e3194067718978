"""Appearance of boxes: maps of a frozen timm backbone, pooled in each box."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import cv2
import numpy as np
import timm
import torch
from torch import Tensor, nn

from vision.errors import FoveateError
from vision.features.boxes import average_in_boxes
from vision.results import Frame

FLEXIBLE: tuple[dict[str, Any], ...] = (
    {},
    {"dynamic_img_size": True},
    {"strict_img_size": False},
)
"""Arguments with which timm's models take pictures of any size: most need none."""


@dataclass(frozen=True)
class FeatureConfig:
    """Where features come from.

    Args:
        backbone: name of a timm model, ours included.
        levels: which of its maps, counted from the finest.
        size: pictures are resized so that their area is that of a square of this side in pixels.
        mean: per-channel mean that the backbone expects, of values in [0, 1].
        std: likewise, standard deviation.
    """

    backbone: str = "tf_efficientnet_lite0"
    levels: tuple[int, ...] = (2, 3, 4)
    size: int = 352
    mean: tuple[float, float, float] = (0.5, 0.5, 0.5)
    std: tuple[float, float, float] = (0.5, 0.5, 0.5)


class BoxFeatures(nn.Module):
    """A frozen backbone whose maps are averaged in boxes.

    Args:
        config: which backbone and maps.
        pretrained: whether timm loads its weights.

    Raises:
        FoveateError: the backbone does not exist or has no such maps.
    """

    def __init__(self, config: FeatureConfig, *, pretrained: bool = False) -> None:
        super().__init__()
        self.config = config
        self.body, self.channels = _create_body(config, pretrained)
        self.requires_grad_(False)
        self.width = sum(self.channels)
        """Length of a box's features."""

    def train(self, mode: bool = True) -> BoxFeatures:
        """Stay in evaluation mode: batch statistics are frozen as well."""
        return super().train(False)

    @torch.no_grad()
    def maps(self, image: Frame) -> list[Tensor]:
        """Maps of one picture.

        Args:
            image: `(H, W, 3)` uint8 RGB, of any size.

        Returns:
            `(C, h, w)` a level, finest first.
        """
        height, width = image.shape[:2]
        scale = self.config.size / (height * width) ** 0.5
        # Whole multiples of 32, so that every map covers the picture exactly.
        across, down = (max(32, round(side * scale / 32) * 32) for side in (width, height))
        shrinks = across < width
        resized = cv2.resize(
            image, (across, down), interpolation=cv2.INTER_AREA if shrinks else cv2.INTER_LINEAR
        )
        weight = next(self.body.parameters())
        pixels = torch.from_numpy(resized).to(weight.device).permute(2, 0, 1)[None] / 255
        mean, std = (
            pixels.new_tensor(v)[:, None, None] for v in (self.config.mean, self.config.std)
        )
        found = self.body(((pixels - mean) / std).to(weight.dtype))
        return [
            (level[0] if level.shape[1] == channels else level[0].movedim(-1, 0)).float()
            for level, channels in zip(found, self.channels, strict=True)
        ]


def _create_body(config: FeatureConfig, pretrained: bool) -> tuple[nn.Module, list[int]]:
    """A backbone that takes pictures of any size, and the channels of its maps."""
    reason = ""
    for more in FLEXIBLE:
        try:
            body: Any = timm.create_model(
                config.backbone,
                pretrained=pretrained,
                features_only=True,
                out_indices=config.levels,
                **more,
            ).eval()
            with torch.no_grad():
                body(torch.zeros(1, 3, 64, 96))
        except Exception as error:  # what timm's models raise has no common kind
            reason = reason or str(error).split("\n")[0]
        else:
            return body, body.feature_info.channels()
    raise FoveateError(f"backbone {config.backbone!r} gives no maps: {reason}")


def pool_boxes(maps: Sequence[Tensor], boxes: np.ndarray) -> Tensor:
    """Average maps in boxes.

    Args:
        maps: `(C, h, w)` a level, each covering the picture.
        boxes: `(N, 4)` xyxy as shares of width and height.

    Returns:
        `(N, sum of C)`.
    """
    places = torch.from_numpy(boxes.astype(np.float32)).to(maps[0].device)
    return torch.cat([average_in_boxes(level, places, (1, 1)) for level in maps], 1)
