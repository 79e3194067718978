"""Detectors: torchvision's FCOS and RetinaNet on any timm backbone, at a size a CPU can serve."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Literal

from torch import Tensor, nn
from torchvision.models.detection import FCOS, RetinaNet
from torchvision.models.detection.anchor_utils import AnchorGenerator
from torchvision.models.detection.transform import GeneralizedRCNNTransform

from vision.tasks.detection.losses import WeightedFCOSHead, WeightedRetinaNetHead
from vision.tasks.detection.pyramid import STRIDES, create_pyramid

RATIOS = (0.5, 1.0, 2.0)
SCALES = (1.0, 2 ** (1 / 3), 2 ** (2 / 3))


@dataclass(frozen=True)
class DetectorConfig:
    """What it takes to rebuild a detector.

    Args:
        backbone: name of a timm model, ours included.
        head: `"fcos"` or `"retinanet"`.
        channels: width of pyramid and head; a multiple of 32 (group norm).
        convs: convolutions in each tower of the head.
        size: long side in pixels to which pictures are resized.
        mean: per-channel mean that the backbone expects, of values in [0, 1].
        std: likewise, standard deviation.
    """

    backbone: str = "tf_efficientnet_lite0"
    head: Literal["fcos", "retinanet"] = "fcos"
    channels: int = 64
    convs: int = 2
    size: int = 288
    mean: tuple[float, float, float] = (0.5, 0.5, 0.5)
    std: tuple[float, float, float] = (0.5, 0.5, 0.5)


class Normalize(GeneralizedRCNNTransform):
    """torchvision's input transform without its resizing, which letterboxing has done."""

    def __init__(self, config: DetectorConfig) -> None:
        super().__init__(config.size, config.size, list(config.mean), list(config.std))

    def resize(
        self, image: Tensor, target: dict[str, Tensor] | None = None
    ) -> tuple[Tensor, dict[str, Tensor] | None]:
        """Image and target as they are."""
        return image, target


def create_detector(
    config: DetectorConfig, num_classes: int, *, pretrained: bool = False
) -> nn.Module:
    """Build a detector.

    It takes a list of `(3, H, W)` images in [0, 1] and, in training mode, a list of targets with
    `boxes` `(N, 4)` xyxy, `labels` `(N,)` in `0..num_classes-1`, `weights` and `labelled` (see
    `losses`). It resizes nothing: height and width should be multiples of 32. In evaluation mode
    it returns a dict of `boxes`, `scores` and `labels` for each image, best first, with every
    score above 0.02, so that precision-recall curves are whole.

    Args:
        config: the architecture.
        num_classes: classes without background.
        pretrained: whether timm loads its weights for the backbone.

    Raises:
        FoveateError: the backbone does not exist or gives no usable maps.
    """
    pyramid = create_pyramid(config.backbone, config.channels, pretrained=pretrained)
    shared: dict[str, Any] = {
        "num_classes": num_classes,
        "score_thresh": 0.02,
        "nms_thresh": 0.6,
        "detections_per_img": 100,
        "topk_candidates": 400,
    }
    if config.head == "fcos":
        # One cell an anchor: FCOS takes the stride as the anchor's size.
        anchors = AnchorGenerator(tuple((s,) for s in STRIDES), ((1.0,),) * len(STRIDES))
        fcos_head = WeightedFCOSHead(config.channels, 1, num_classes, config.convs)
        # The head ends in a ReLU: begun at zero, it can die there and never box anything.
        nn.init.constant_(fcos_head.regression_head.bbox_reg.bias, 2.0)
        model = FCOS(pyramid, anchor_generator=anchors, head=fcos_head, **shared)
        model.transform = Normalize(config)
        return model
    # Four strides a side: boxes of 32 to 203 px at 288 px; RetinaNet's 8 would miss small ones.
    sizes = tuple(tuple(4 * stride * scale for scale in SCALES) for stride in STRIDES)
    anchors = AnchorGenerator(sizes, (RATIOS,) * len(STRIDES))
    per_cell = len(RATIOS) * len(SCALES)
    retina_head = WeightedRetinaNetHead(config.channels, per_cell, num_classes)
    model = RetinaNet(pyramid, anchor_generator=anchors, head=retina_head, **shared)
    model.transform = Normalize(config)
    return model
