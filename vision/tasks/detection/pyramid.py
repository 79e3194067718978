"""Feature pyramids over any timm backbone: FPN for pyramids, a simple pyramid for plain ViTs."""

from __future__ import annotations

from collections import OrderedDict
from typing import Any

import timm
from timm.layers import LayerNorm2d
from torch import Tensor, nn
from torchvision.ops import FeaturePyramidNetwork

from vision.errors import FoveateError

STRIDES = (8, 16, 32)


def create_pyramid(backbone: str, channels: int, *, pretrained: bool = False) -> nn.Module:
    """Build the pyramid that fits the backbone, judged by the strides it declares.

    Args:
        backbone: name of a timm model, ours included.
        channels: width of every output map.
        pretrained: whether timm loads its weights for the backbone.

    Returns:
        A module `(B, 3, H, W) -> {"0": (B, channels, H/8, W/8), "1": .../16, "2": .../32}` with
        the attribute `out_channels`, as torchvision's detectors want it.

    Raises:
        FoveateError: timm has no such model, or it gives no maps that a pyramid can use.
    """
    import vision  # noqa: F401  registers our backbones with timm

    body = _features(backbone, pretrained)
    reduction = tuple(body.feature_info.reduction())
    if reduction == STRIDES:
        return PyramidBackbone(body, body.feature_info.channels(), channels)
    if reduction == (16, 16, 16):
        if not getattr(body.model, "dynamic_img_size", True):  # timm's ViTs are built for one size
            body = _features(backbone, pretrained, dynamic_img_size=True)
        return PlainBackbone(body, body.feature_info.channels()[-1], channels)
    raise FoveateError(
        f"backbone {backbone!r} has strides {reduction}; detection needs {STRIDES} or a plain "
        "ViT with 16 px patches"
    )


def _features(backbone: str, pretrained: bool, **kwargs: Any) -> Any:
    try:
        return timm.create_model(
            backbone,
            features_only=True,
            out_indices=(-3, -2, -1),
            pretrained=pretrained,
            **kwargs,
        )
    except (RuntimeError, ValueError, AttributeError, TypeError) as error:
        raise FoveateError(f"backbone {backbone!r}: {str(error).splitlines()[0]}") from error


class PyramidBackbone(nn.Module):
    """A timm pyramid followed by torchvision's FPN."""

    def __init__(self, body: nn.Module, widths: list[int], channels: int) -> None:
        super().__init__()
        self.body = body
        self.fpn = FeaturePyramidNetwork(widths, channels)
        self.out_channels = channels

    def forward(self, x: Tensor) -> OrderedDict[str, Tensor]:
        maps: OrderedDict[str, Tensor] = self.fpn(
            OrderedDict((str(i), feature) for i, feature in enumerate(self.body(x)))
        )
        return maps


class PlainBackbone(nn.Module):
    """A plain ViT whose last stride-16 map is resampled to strides 8, 16 and 32.

    Source: ViTDet (Li et al., 2022), section 3, "simple feature pyramid".
    """

    def __init__(self, body: nn.Module, width: int, channels: int) -> None:
        super().__init__()
        self.body = body
        up = nn.ConvTranspose2d(width, width // 2, kernel_size=2, stride=2)
        self.levels = nn.ModuleList(
            [
                nn.Sequential(up, _smooth(width // 2, channels)),
                _smooth(width, channels),
                nn.Sequential(nn.MaxPool2d(2, ceil_mode=True), _smooth(width, channels)),
            ]
        )
        self.out_channels = channels

    def forward(self, x: Tensor) -> OrderedDict[str, Tensor]:
        last = self.body(x)[-1]
        return OrderedDict((str(i), level(last)) for i, level in enumerate(self.levels))


def _smooth(in_channels: int, out_channels: int) -> nn.Sequential:
    return nn.Sequential(
        nn.Conv2d(in_channels, out_channels, 1, bias=False),
        LayerNorm2d(out_channels),
        nn.Conv2d(out_channels, out_channels, 3, padding=1, bias=False),
        LayerNorm2d(out_channels),
    )


def freeze(body: nn.Module, stages: int) -> None:
    """Freeze the stem and the first `stages` stages, and every batch norm's statistics.

    Batches on small machines are too small to re-estimate them. Call again after `.train()`.
    """
    for module in body.modules():
        if isinstance(module, nn.modules.batchnorm._BatchNorm):
            module.eval()
    if stages < 0:
        return
    frozen = 0
    inner = getattr(body, "model", body)  # timm wraps models without a pyramid
    for name, child in inner.named_children():
        groups = list(child) if name == "blocks" and isinstance(child, nn.Sequential) else [child]
        for group in groups:
            is_stage = name == "blocks" or "stage" in name or "layer" in name
            if is_stage and frozen >= stages:
                return
            frozen += is_stage
            for parameter in group.parameters():
                parameter.requires_grad_(False)
