"""Multi-scale localizer without anchors: every step of every level says which action and its ends.

Source: Zhang et al., "ActionFormer", ECCV 2022 (arXiv 2202.07925); with `backbone="maxpool"` Tang
et al., "TemporalMaxer", 2023 (arXiv 2303.09055).
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from itertools import pairwise
from typing import Literal, NamedTuple

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from vision.tasks.localization.blocks import (
    AttentionBlock,
    ConvBlock,
    LayerNorm,
    MaskedConv1d,
    MaxPoolBlock,
    sinusoids,
)

FAR = 10000.0
"""Upper end of the last level's range of distances."""


@dataclass(frozen=True)
class AnchorFreeConfig:
    """What it takes to rebuild an anchor-free localizer.

    Args:
        channels: C of the input features.
        classes: K.
        backbone: `"attention"` (ActionFormer), `"maxpool"` (TemporalMaxer) or `"conv"`.
        layers: embedding convolutions, blocks at full length, blocks that shorten.
        width: channels of the backbone.
        heads: attention heads.
        window: steps that attention sees, one number or one a level; all when 1 or less.
        kernel: of the embedding.
        stride: by which each level is shorter than the last.
        norm: whether embedding, neck and heads are normalised.
        neck: `"identity"` (norms alone) or `"fpn"` (top-down).
        neck_width: channels of the neck and of what the heads see.
        first_level: level at which the pyramid begins.
        head_width: channels of the heads.
        head_layers: convolutions of a head, its last included.
        head_kernel: of the heads.
        ranges: distances in steps that each level regresses; doubling from 4 when empty.
        max_steps: T to which shorter sequences are padded.
        absolute: whether positions are encoded by sinusoids.
        relative: whether attention in a window has a learned bias a distance.
        prior: probability with which every class begins.
        empty: classes without examples, which begin at a millionth.
        dropout: in attention and MLPs.
        drop_path: stochastic depth; with it branches have a learned scale.
    """

    channels: int = 2048
    classes: int = 20
    backbone: Literal["attention", "maxpool", "conv"] = "maxpool"
    layers: tuple[int, int, int] = (2, 0, 5)
    width: int = 512
    heads: int = 4
    window: int | tuple[int, ...] = 19
    kernel: int = 3
    stride: int = 2
    norm: bool = True
    neck: Literal["identity", "fpn"] = "identity"
    neck_norm: bool = True
    neck_width: int | None = None
    first_level: int = 0
    head_width: int | None = None
    head_layers: int = 3
    head_kernel: int = 3
    head_norm: bool = True
    ranges: tuple[tuple[float, float], ...] = ()
    max_steps: int = 2304
    absolute: bool = False
    relative: bool = False
    prior: float = 0.01
    empty: tuple[int, ...] = ()
    dropout: float = 0.0
    drop_path: float = 0.0

    @property
    def strides(self) -> tuple[int, ...]:
        """Steps between the points of each level."""
        return tuple(self.stride**n for n in range(self.first_level, self.layers[2] + 1))

    @property
    def windows(self) -> tuple[int, ...]:
        """Attention window of each level of the backbone."""
        if isinstance(self.window, int):
            return (self.window,) * (self.layers[2] + 1)
        return self.window

    @property
    def regression_ranges(self) -> tuple[tuple[float, float], ...]:
        """Distances in steps that each level regresses."""
        if self.ranges:
            return self.ranges
        edges = [0.0, *(4.0 * 2**n for n in range(len(self.strides) - 1)), FAR]
        return tuple(pairwise(edges))

    def padded(self, steps: int) -> int:
        """Length to which a sequence of `steps` is padded."""
        if steps <= self.max_steps:
            return self.max_steps
        unit = self.stride ** self.layers[2]
        if self.backbone == "attention":
            # The published code attends by chunks and needs whole ones at every level.
            unit = max(
                self.stride**n * (w // 2 * 2 if w > 1 else 1) for n, w in enumerate(self.windows)
            )
        return -(-steps // unit) * unit


class LevelOutput(NamedTuple):
    """What one level says: class logits `(B, T, K)`, distances to start and end in strides
    `(B, T, 2)`, and which steps are there `(B, T)`."""

    logits: Tensor
    offsets: Tensor
    mask: Tensor


class Backbone(nn.Module):
    """Embedding, blocks at full length, and blocks that each shorten the sequence."""

    pos_embd: Tensor

    def __init__(self, config: AnchorFreeConfig) -> None:
        super().__init__()
        c = config
        embedding, stem, branch = c.layers
        self.embd = nn.ModuleList(
            MaskedConv1d(c.width if n else c.channels, c.width, c.kernel, bias=not c.norm)
            for n in range(embedding)
        )
        self.embd_norm = nn.ModuleList(
            LayerNorm(c.width) if c.norm else nn.Identity() for _ in range(embedding)
        )
        self.absolute = c.absolute
        if c.absolute:
            self.register_buffer("pos_embd", sinusoids(c.max_steps, c.width), persistent=False)
        self.stem = nn.ModuleList(self._block(c, c.windows[0], 1) for _ in range(stem))
        self.branch = nn.ModuleList(
            self._block(c, c.windows[1 + n], c.stride) for n in range(branch)
        )
        for module in self.modules():
            if isinstance(module, nn.Conv1d) and module.bias is not None:
                nn.init.zeros_(module.bias)

    @staticmethod
    def _block(c: AnchorFreeConfig, window: int, stride: int) -> nn.Module:
        if c.backbone == "maxpool":
            return MaxPoolBlock(stride)
        if c.backbone == "conv":
            return ConvBlock(c.width, stride)
        return AttentionBlock(
            c.width,
            c.heads,
            window=window,
            stride=stride,
            dropout=c.dropout,
            drop_path=c.drop_path,
            relative=c.relative,
        )

    def forward(self, x: Tensor, mask: Tensor) -> list[tuple[Tensor, Tensor]]:
        """Features and mask of every level."""
        for conv, norm in zip(self.embd, self.embd_norm, strict=True):
            x = norm(conv(x, mask)[0]).relu()
        if self.absolute:
            x = x + self._positions(x.shape[-1]) * mask
        for block in self.stem:
            x, mask = block(x, mask)
        levels = [(x, mask)]
        for block in self.branch:
            x, mask = block(x, mask)
            levels.append((x, mask))
        return levels

    def _positions(self, steps: int) -> Tensor:
        """Encodings of `steps`, stretched where there are more than in training."""
        if steps > self.pos_embd.shape[-1]:
            return F.interpolate(self.pos_embd, steps, mode="linear", align_corners=False)
        return self.pos_embd[..., :steps]


class Neck(nn.Module):
    """What stands between backbone and heads: norms alone, or a top-down pyramid."""

    def __init__(self, config: AnchorFreeConfig) -> None:
        super().__init__()
        width = config.neck_width or config.width
        levels = len(config.strides)
        self.first, self.stride = config.first_level, config.stride
        self.fpn_norms = nn.ModuleList(
            LayerNorm(width) if config.neck_norm else nn.Identity() for _ in range(levels)
        )
        self.top_down = config.neck == "fpn"
        if self.top_down:
            self.lateral_convs = nn.ModuleList(
                MaskedConv1d(config.width, width, 1, bias=False) for _ in range(levels)
            )
            self.fpn_convs = nn.ModuleList(
                MaskedConv1d(width, width, 3, groups=width, bias=False) for _ in range(levels)
            )

    def forward(self, levels: list[tuple[Tensor, Tensor]]) -> list[tuple[Tensor, Tensor]]:
        levels = levels[self.first :]
        maps = [x for x, _ in levels]
        if self.top_down:
            maps = [conv(*level)[0] for conv, level in zip(self.lateral_convs, levels, strict=True)]
            for n in range(len(maps) - 1, 0, -1):
                maps[n - 1] = maps[n - 1] + maps[n].repeat_interleave(self.stride, -1)
            maps = [
                conv(x, mask)[0]
                for conv, x, (_, mask) in zip(self.fpn_convs, maps, levels, strict=True)
            ]
        return [
            (norm(x), mask) for norm, x, (_, mask) in zip(self.fpn_norms, maps, levels, strict=True)
        ]


class Tower(nn.Module):
    """The convolutions of a head, shared by all levels."""

    def __init__(self, config: AnchorFreeConfig) -> None:
        super().__init__()
        width = config.head_width or config.width
        inputs = config.neck_width or config.width
        self.head = nn.ModuleList(
            MaskedConv1d(
                width if n else inputs, width, config.head_kernel, bias=not config.head_norm
            )
            for n in range(config.head_layers - 1)
        )
        self.norm = nn.ModuleList(
            LayerNorm(width) if config.head_norm else nn.Identity()
            for _ in range(config.head_layers - 1)
        )

    def forward(self, x: Tensor, mask: Tensor) -> Tensor:
        for conv, norm in zip(self.head, self.norm, strict=True):
            x = norm(conv(x, mask)[0]).relu()
        return x


class ClassHead(Tower):
    """Class logits."""

    def __init__(self, config: AnchorFreeConfig) -> None:
        super().__init__(config)
        width = config.head_width or config.width
        self.cls_head = MaskedConv1d(width, config.classes, config.head_kernel)
        bias = self.cls_head.conv.bias
        assert bias is not None
        nn.init.constant_(bias, -math.log((1 - config.prior) / config.prior))
        with torch.no_grad():
            bias[list(config.empty)] = -math.log((1 - 1e-6) / 1e-6)

    def forward(self, x: Tensor, mask: Tensor) -> Tensor:
        logits: Tensor = self.cls_head(super().forward(x, mask), mask)[0]
        return logits


class Scale(nn.Module):
    """One learned factor."""

    def __init__(self) -> None:
        super().__init__()
        self.scale = nn.Parameter(torch.tensor(1.0))


class OffsetHead(Tower):
    """Distances to start and end in strides, with a learned factor a level."""

    def __init__(self, config: AnchorFreeConfig) -> None:
        super().__init__(config)
        width = config.head_width or config.width
        self.offset_head = MaskedConv1d(width, 2, config.head_kernel)
        self.scale = nn.ModuleList(Scale() for _ in config.strides)

    def forward(self, x: Tensor, mask: Tensor, level: int = 0) -> Tensor:
        offsets: Tensor = self.offset_head(super().forward(x, mask), mask)[0]
        return (offsets * self.scale[level].get_parameter("scale")).relu()


class AnchorFree(nn.Module):
    """Anchor-free localizer.

    Args:
        config: its architecture.
    """

    def __init__(self, config: AnchorFreeConfig) -> None:
        super().__init__()
        self.config = config
        self.backbone = Backbone(config)
        self.neck = Neck(config)
        self.cls_head = ClassHead(config)
        self.reg_head = OffsetHead(config)

    def forward(self, features: Tensor, mask: Tensor | None = None) -> list[LevelOutput]:
        """What every level says.

        Args:
            features: `(B, C, T)`; padded here to the length that the levels need.
            mask: `(B, T)` bool, which steps are there; all when None.
        """
        batch, _, steps = features.shape
        if mask is None:
            mask = torch.ones(batch, steps, dtype=torch.bool, device=features.device)
        more = self.config.padded(steps) - steps
        x = F.pad(features, (0, more))
        levels = self.neck(self.backbone(x, F.pad(mask, (0, more))[:, None]))
        return [
            LevelOutput(
                self.cls_head(y, there).transpose(1, 2),
                self.reg_head(y, there, n).transpose(1, 2),
                there.squeeze(1),
            )
            for n, (y, there) in enumerate(levels)
        ]
