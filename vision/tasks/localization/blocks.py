"""Blocks over masked sequences `(B, C, T)`: what a multi-scale localizer is built of.

Source: Zhang et al., "ActionFormer: Localizing Moments of Actions with Transformers", ECCV 2022
(arXiv 2202.07925), section 3.2; Tang et al., "TemporalMaxer", 2023 (arXiv 2303.09055). Parameters
are named as in the published code, so that its checkpoints load.
"""

from __future__ import annotations

import math

import torch
from timm.layers import DropPath
from torch import Tensor, nn
from torch.nn import functional as F

Sequence = tuple[Tensor, Tensor]
"""Features `(B, C, T)` and a mask `(B, 1, T)` bool of the steps that are there."""


class MaskedConv1d(nn.Module):
    """Convolution whose output is zero where nothing is; a stride thins the mask likewise."""

    def __init__(
        self,
        channels: int,
        out: int,
        kernel: int,
        *,
        stride: int = 1,
        groups: int = 1,
        bias: bool = True,
    ) -> None:
        super().__init__()
        self.stride = stride
        self.conv = nn.Conv1d(channels, out, kernel, stride, kernel // 2, groups=groups, bias=bias)
        if self.conv.bias is not None:
            nn.init.zeros_(self.conv.bias)

    def forward(self, x: Tensor, mask: Tensor) -> Sequence:
        mask = mask[..., :: self.stride]
        return self.conv(x) * mask, mask


class LayerNorm(nn.Module):
    """Layer norm over the channels of `(B, C, T)`."""

    def __init__(self, channels: int, eps: float = 1e-5) -> None:
        super().__init__()
        self.eps = eps
        self.weight = nn.Parameter(torch.ones(1, channels, 1))
        self.bias = nn.Parameter(torch.zeros(1, channels, 1))

    def forward(self, x: Tensor) -> Tensor:
        shape = (x.shape[1],)
        weight, bias = self.weight.view(shape), self.bias.view(shape)
        return F.layer_norm(x.transpose(1, 2), shape, weight, bias, self.eps).transpose(1, 2)


class ConvAttention(nn.Module):
    """Self-attention whose query, key and value come through depthwise convolutions.

    Args:
        channels: C.
        heads: attention heads.
        window: steps that a step sees, itself in the middle; all when 1 or less.
        stride: of the convolutions, which shortens the sequence.
        dropout: after the projection.
        relative: whether a learned bias a head depends on the distance; only with a window.
    """

    def __init__(
        self,
        channels: int,
        heads: int,
        *,
        window: int = -1,
        stride: int = 1,
        dropout: float = 0.0,
        relative: bool = False,
    ) -> None:
        super().__init__()
        self.heads, self.window = heads, window
        kernel = stride + 1 if stride > 1 else 3
        for name in ("query", "key", "value"):
            conv = MaskedConv1d(
                channels, channels, kernel, stride=stride, groups=channels, bias=False
            )
            self.add_module(f"{name}_conv", conv)
            self.add_module(f"{name}_norm", LayerNorm(channels))
            self.add_module(name, nn.Conv1d(channels, channels, 1))
        self.proj = nn.Conv1d(channels, channels, 1)
        self.proj_drop = nn.Dropout(dropout)
        self.rel_pe: nn.Parameter | None = None
        if relative and window > 1:
            self.rel_pe = nn.Parameter(torch.empty(1, 1, heads, window))
            nn.init.trunc_normal_(self.rel_pe, std=math.sqrt(2.0 / channels))

    def forward(self, x: Tensor, mask: Tensor) -> Sequence:
        parts = []
        out_mask = mask
        for name in ("query", "key", "value"):
            part, out_mask = self.get_submodule(f"{name}_conv")(x, mask)
            part = self.get_submodule(name)(self.get_submodule(f"{name}_norm")(part))
            parts.append(part.unflatten(1, (self.heads, -1)).transpose(2, 3))
        query, key, value = parts
        bias = self._bias(out_mask, query.dtype)
        out = F.scaled_dot_product_attention(query, key, value, attn_mask=bias)
        out = self.proj(out.transpose(2, 3).flatten(1, 2))
        return self.proj_drop(out) * out_mask, out_mask

    def _bias(self, mask: Tensor, dtype: torch.dtype) -> Tensor:
        """What is added to the scores, `(B, 1 or heads, T, T)`; a finite minimum keeps rows of
        steps that are not there from becoming NaN."""
        steps = mask.shape[-1]
        seen = mask[:, :, None]
        if self.window <= 1:
            return torch.zeros_like(seen, dtype=dtype).masked_fill(~seen, torch.finfo(dtype).min)
        places = torch.arange(steps, device=mask.device)
        distance = places[None, :] - places[:, None]
        half = self.window // 2
        seen = seen & (distance.abs() <= half)
        bias = torch.zeros_like(seen, dtype=dtype)
        if self.rel_pe is not None:
            bias = bias + self.rel_pe[0, 0][:, (distance + half).clamp(0, self.window - 1)]
        return bias.masked_fill(~seen, torch.finfo(dtype).min)


class Scaled(nn.Module):
    """Stochastic depth of a branch that a learned scale a channel begins almost without."""

    def __init__(self, channels: int, drop: float, start: float = 1e-4) -> None:
        super().__init__()
        self.scale = nn.Parameter(torch.full((1, channels, 1), start))
        self.drop = DropPath(drop)

    def forward(self, x: Tensor) -> Tensor:
        dropped: Tensor = self.drop(self.scale * x)
        return dropped


class AttentionBlock(nn.Module):
    """Pre-norm transformer block; with a stride it also halves (and so on) the sequence."""

    def __init__(
        self,
        channels: int,
        heads: int,
        *,
        window: int = -1,
        stride: int = 1,
        dropout: float = 0.0,
        drop_path: float = 0.0,
        relative: bool = False,
    ) -> None:
        super().__init__()
        self.ln1, self.ln2 = LayerNorm(channels), LayerNorm(channels)
        self.attn = ConvAttention(
            channels, heads, window=window, stride=stride, dropout=dropout, relative=relative
        )
        self.pool_skip = (
            nn.MaxPool1d(stride + 1, stride, (stride + 1) // 2) if stride > 1 else nn.Identity()
        )
        self.mlp = nn.Sequential(
            nn.Conv1d(channels, 4 * channels, 1),
            nn.GELU(),
            nn.Dropout(dropout),
            nn.Conv1d(4 * channels, channels, 1),
            nn.Dropout(dropout),
        )
        self.drop_path_attn: nn.Module = nn.Identity()
        self.drop_path_mlp: nn.Module = nn.Identity()
        if drop_path > 0:
            self.drop_path_attn = Scaled(channels, drop_path)
            self.drop_path_mlp = Scaled(channels, drop_path)

    def forward(self, x: Tensor, mask: Tensor) -> Sequence:
        attended, out_mask = self.attn(self.ln1(x), mask)
        out = self.pool_skip(x) * out_mask + self.drop_path_attn(attended)
        out = out + self.drop_path_mlp(self.mlp(self.ln2(out)) * out_mask)
        return out, out_mask


class ConvBlock(nn.Module):
    """Residual block of two convolutions."""

    def __init__(self, channels: int, stride: int = 1) -> None:
        super().__init__()
        self.conv1 = MaskedConv1d(channels, 2 * channels, 3, stride=stride)
        self.conv2 = MaskedConv1d(2 * channels, channels, 3)
        self.downsample = MaskedConv1d(channels, channels, 1, stride=stride) if stride > 1 else None

    def forward(self, x: Tensor, mask: Tensor) -> Sequence:
        out, out_mask = self.conv1(x, mask)
        out, _ = self.conv2(out.relu(), out_mask)
        skip = x if self.downsample is None else self.downsample(x, mask)[0]
        return (out + skip).relu(), out_mask


class MaxPoolBlock(nn.Module):
    """Maximum over three neighbours: all that TemporalMaxer puts in the place of attention."""

    def __init__(self, stride: int) -> None:
        super().__init__()
        self.pool = nn.MaxPool1d(3, stride, 1)

    def forward(self, x: Tensor, mask: Tensor) -> Sequence:
        mask = mask[..., :: self.pool.stride]
        return self.pool(x) * mask, mask


def sinusoids(steps: int, channels: int) -> Tensor:
    """Absolute position encoding `(1, C, T)`, scaled by one over the root of C."""
    place = torch.arange(steps, dtype=torch.float64)[None]
    band = torch.arange(channels, dtype=torch.float64)[:, None].div(2).floor()
    angle = place / 10000 ** (2 * band / channels)
    even = torch.arange(channels)[:, None] % 2 == 0
    return (torch.where(even, angle.sin(), angle.cos()) / math.sqrt(channels)).float()[None]
