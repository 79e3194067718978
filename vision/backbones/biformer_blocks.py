"""What BiFormer is built of: blocks, stages, and the convolutions between them."""

from collections.abc import Sequence
from typing import Any

import torch
from timm.layers import DropPath, LayerNorm2d, LayerScale
from timm.models import checkpoint_seq
from torch import Tensor, nn

from vision.attention.depthwise import DepthwiseConv

Norm = type[nn.BatchNorm2d] | type[LayerNorm2d]


class ConvMixer(nn.Module):
    """Mix the tokens of an NHWC map by a depthwise 5x5 convolution between two linear layers."""

    def __init__(self, dim: int, **factory: Any) -> None:
        super().__init__()
        self.expand = nn.Linear(dim, dim, **factory)
        self.conv = DepthwiseConv(dim, 5, **factory)
        self.proj = nn.Linear(dim, dim, **factory)

    def forward(self, x: Tensor) -> Tensor:
        return self.proj(self.conv(self.expand(x)))


class Mlp(nn.Module):
    """Two linear layers with a GELU between them, and a depthwise 3x3 convolution if wanted."""

    def __init__(self, dim: int, hidden: int, dwconv: bool, **factory: Any) -> None:
        super().__init__()
        self.fc1 = nn.Linear(dim, hidden, **factory)
        self.dwconv = DepthwiseConv(hidden, 3, **factory) if dwconv else nn.Identity()
        self.act = nn.GELU()
        self.fc2 = nn.Linear(hidden, dim, **factory)

    def forward(self, x: Tensor) -> Tensor:
        return self.fc2(self.act(self.dwconv(self.fc1(x))))


class Block(nn.Module):
    """Positional convolution, token mixer and MLP on an NHWC map, each with a residual path.

    Args:
        dim: channels C.
        mixer: module (B, H, W, C) -> (B, H, W, C).
        mlp_ratio: hidden width of the MLP as a multiple of C.
        mlp_dwconv: put a depthwise convolution into the MLP.
        pos_conv: begin with a depthwise 3x3 convolution, which carries position.
        pre_norm: normalise before mixer and MLP; False normalises after the residual sum.
        layer_scale: initial factor on mixer and MLP, one a channel; None for no factor.
        drop_path: rate of stochastic depth.
        **factory: `device` and `dtype`.

    Source: BiFormer, section 3.3 and figure 3.
    """

    def __init__(
        self,
        dim: int,
        mixer: nn.Module,
        *,
        mlp_ratio: float = 4.0,
        mlp_dwconv: bool = False,
        pos_conv: bool = True,
        pre_norm: bool = True,
        layer_scale: float | None = None,
        drop_path: float = 0.0,
        **factory: Any,
    ) -> None:
        super().__init__()

        def scale() -> nn.Module:
            return nn.Identity() if layer_scale is None else LayerScale(dim, layer_scale, **factory)

        self.pre_norm = pre_norm
        self.pos_conv = DepthwiseConv(dim, 3, **factory) if pos_conv else None
        self.norm1 = nn.LayerNorm(dim, eps=1e-6, **factory)
        self.attn = mixer
        self.ls1 = scale()
        self.norm2 = nn.LayerNorm(dim, eps=1e-6, **factory)
        self.mlp = Mlp(dim, int(mlp_ratio * dim), mlp_dwconv, **factory)
        self.ls2 = scale()
        self.drop_path = DropPath(drop_path) if drop_path else nn.Identity()

    def forward(self, x: Tensor) -> Tensor:
        if self.pos_conv is not None:
            x = x + self.pos_conv(x)
        if self.pre_norm:
            x = x + self.drop_path(self.ls1(self.attn(self.norm1(x))))
            return x + self.drop_path(self.ls2(self.mlp(self.norm2(x))))
        x = self.norm1(x + self.drop_path(self.ls1(self.attn(x))))
        return self.norm2(x + self.drop_path(self.ls2(self.mlp(x))))


class Stage(nn.Module):
    """Downsampling and blocks, NCHW in and out; the blocks work in NHWC."""

    def __init__(self, downsample: nn.Module, blocks: Sequence[Block]) -> None:
        super().__init__()
        self.grad_checkpointing = False
        self.downsample = downsample
        self.blocks = nn.Sequential(*blocks)

    def forward(self, x: Tensor) -> Tensor:
        x = self.downsample(x).permute(0, 2, 3, 1).contiguous()
        if self.grad_checkpointing and not torch.jit.is_scripting():
            x = checkpoint_seq(self.blocks, x)
        else:
            x = self.blocks(x)
        return x.permute(0, 3, 1, 2)


def _overlap_stem(in_chans: int, dim: int, norm: Norm, **factory: Any) -> nn.Module:
    return nn.Sequential(
        nn.Conv2d(in_chans, dim // 2, 3, 2, 1, **factory),
        norm(dim // 2, **factory),
        nn.GELU(),
        nn.Conv2d(dim // 2, dim, 3, 2, 1, **factory),
        norm(dim, **factory),
    )


def _overlap_downsample(dim: int, out: int, norm: Norm, **factory: Any) -> nn.Module:
    return nn.Sequential(nn.Conv2d(dim, out, 3, 2, 1, **factory), norm(out, **factory))


def _patch_stem(in_chans: int, dim: int, norm: Norm, **factory: Any) -> nn.Module:
    return nn.Sequential(nn.Conv2d(in_chans, dim, 4, 4, **factory), norm(dim, **factory))


def _patch_downsample(dim: int, out: int, norm: Norm, **factory: Any) -> nn.Module:
    return nn.Sequential(norm(dim, **factory), nn.Conv2d(dim, out, 2, 2, **factory))


STEMS = {
    "overlap": (_overlap_stem, _overlap_downsample),
    "patch": (_patch_stem, _patch_downsample),
}
"""How a model begins, `(in_chans, dim, norm)`, and what lies between stages, `(dim, out, norm)`."""
