"""A frozen timm model, a Gaussian gate on what its layers give, and a small head.

    encoder = LayerFeatures("vit_small_patch16_224", pretrained=True)
    adapter = GaussianAdapter(encoder, num_classes=10)
    logits = adapter(pictures)

`vision.backbones.gaussian_probe` trains it, and the same without the gate, on cached features.
"""

from __future__ import annotations

from math import isqrt
from typing import Any, Literal, Self, get_args

import timm
import torch
from timm.models._features import feature_take_indices
from torch import Tensor, nn

from vision.attention.gaussian_adaptive import GaussianAdaptiveAttention
from vision.errors import FoveateError

Gate = Literal["density", "fixed", "none", "layer_mix", "linear_probe"]


class LayerFeatures(nn.Module):
    """The mean over tokens of what each layer of a frozen timm model gives.

    Args:
        backbone: name of a timm model, or one; its layers must all have one width.
        layers: which layers; an int for the last so many, None for all.
        pretrained: whether timm loads its weights for the name.
        **options: further arguments of `timm.create_model`.

    Raises:
        FoveateError: the model gives no intermediate layers, or layers of several widths.

    Source: Density Adaptive Attention is All You Need, section 2.
    """

    def __init__(
        self,
        backbone: str | nn.Module,
        *,
        layers: int | list[int] | None = None,
        pretrained: bool = False,
        **options: Any,
    ) -> None:
        super().__init__()
        if isinstance(backbone, str):
            import vision  # noqa: F401  registers our backbones with timm

            backbone = timm.create_model(backbone, pretrained=pretrained, **options)
        info = getattr(backbone, "feature_info", None)
        if info is None or not hasattr(backbone, "forward_intermediates"):
            raise FoveateError(
                f"{type(backbone).__name__} gives no intermediate layers; take a timm model that "
                "has forward_intermediates"
            )
        taken, _ = feature_take_indices(len(info), layers)
        widths = [info[i]["num_chs"] for i in taken]
        if len(set(widths)) > 1:
            raise FoveateError(
                f"the layers of {type(backbone).__name__} have widths {widths}; take a plain "
                "vision transformer, or layers of one width"
            )
        self.backbone = backbone.requires_grad_(False).eval()
        self.layers = list(taken)
        self.width = widths[0]

    def train(self, mode: bool = True) -> Self:
        """The model stays in evaluation mode."""
        super().train(mode)
        self.backbone.eval()
        return self

    @torch.no_grad()
    def forward(self, x: Tensor) -> Tensor:
        """Features (B, L, D) of pictures (B, 3, H, W)."""
        backbone: Any = self.backbone
        maps = backbone.forward_intermediates(
            x, indices=self.layers, output_fmt="NCHW", intermediates_only=True
        )
        return torch.stack([layer.mean((2, 3)) for layer in maps], 1)


class LayerMix(nn.Module):
    """A learned average over layers: (B, L, D) -> (B, 1, D)."""

    def __init__(self, layers: int) -> None:
        super().__init__()
        self.logits = nn.Parameter(torch.zeros(layers))

    def forward(self, x: Tensor) -> Tensor:
        return torch.einsum("l,bld->bd", self.logits.softmax(0), x).unsqueeze(1)


class LastLayer(nn.Module):
    """Nothing but the last layer: (B, L, D) -> (B, 1, D)."""

    def forward(self, x: Tensor) -> Tensor:
        return x[:, -1:]


class ConvHead(nn.Module):
    """Two 3x3 convolutions on the features of each layer laid out as a square picture.

    Args:
        layers: L.
        width: D, a square number.
        hidden: channels between the convolutions.

    Source: Density Adaptive Attention is All You Need, section 2; its code.
    """

    def __init__(self, layers: int, width: int, hidden: int = 512) -> None:
        super().__init__()
        self.side = isqrt(width)
        if self.side**2 != width:
            raise FoveateError(
                f"the conv head lays features out as a square, which {width} are not; "
                "take head='linear'"
            )
        self.conv1 = nn.Conv2d(layers, hidden, 3, padding=1)
        self.conv2 = nn.Conv2d(hidden, layers, 3, padding=1)

    def forward(self, x: Tensor) -> Tensor:
        x = x.unflatten(2, (self.side, self.side))
        return self.conv2(self.conv1(x).relu()).relu().flatten(2)


class GaussianAdapter(nn.Module):
    """Layer features, a gate, and a head; only gate and head have gradients.

    Args:
        encoder: the frozen model.
        num_classes: classes.
        gate: `"density"`, the published gate, its statistics over the layers; `"fixed"`, the same
            without learning; `"none"`; `"layer_mix"`, a learned average of the layers instead; or
            `"linear_probe"`, the last layer alone.
        head: `"linear"`, or `"conv"`, the published convolutions in front of it.
        num_heads: heads of the gate, which share out the layers: 8 published as v1, 1 as v2.

    Raises:
        FoveateError: gate or head is unknown or does not fit the encoder.

    Source: Density Adaptive Attention is All You Need, section 2.
    """

    def __init__(
        self,
        encoder: LayerFeatures,
        num_classes: int,
        *,
        gate: Gate = "density",
        head: Literal["linear", "conv"] = "linear",
        num_heads: int = 1,
    ) -> None:
        super().__init__()
        if gate not in get_args(Gate):
            raise FoveateError(f"gate must be one of {', '.join(get_args(Gate))}, not {gate!r}")
        if head not in ("linear", "conv"):
            raise FoveateError(f"head must be 'linear' or 'conv', not {head!r}")
        layers, width = len(encoder.layers), encoder.width
        self.encoder = encoder
        self.gate = _gate(gate, layers, width, num_heads)
        rows = 1 if gate in ("layer_mix", "linear_probe") else layers
        self.conv = ConvHead(rows, width) if head == "conv" else nn.Identity()
        self.head = nn.Linear(rows * width, num_classes)
        nn.init.xavier_uniform_(self.head.weight)
        nn.init.zeros_(self.head.bias)

    def forward(self, x: Tensor) -> Tensor:
        """Class scores (B, num_classes) of pictures (B, 3, H, W)."""
        return self.classify(self.encoder(x))

    def classify(self, features: Tensor) -> Tensor:
        """Class scores of the encoder's features (B, L, D), which can be kept."""
        return self.head(self.conv(self.gate(features)).flatten(1))

    def learned(self) -> dict[str, int]:
        """How many numbers are learned in `gate`, `conv` and `head`."""
        return {
            name: sum(p.numel() for p in part.parameters() if p.requires_grad)
            for name, part in (("gate", self.gate), ("conv", self.conv), ("head", self.head))
        }


def _gate(kind: Gate, layers: int, width: int, num_heads: int) -> nn.Module:
    if kind == "layer_mix":
        return LayerMix(layers)
    if kind == "linear_probe":
        return LastLayer()
    if kind == "none":
        return nn.Identity()
    if num_heads > layers:
        raise FoveateError(f"{layers} layers cannot be shared out among {num_heads} heads")
    gate = GaussianAdaptiveAttention("density", -2, num_heads, features=width)
    return gate.requires_grad_(kind == "density")
