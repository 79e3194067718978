"""Gaussian adaptive attention whose weights are densities, not divided by anything.

Each is a module `forward(x, mask=None) -> weights` with the parameters of all heads, which share
out the axis, see `kernels.gaussian_adaptive.head_sizes`. All compute in float32 at least.
"""

import math
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from kernels.gaussian_adaptive import statistics
from vision.attention.gaussian_heads import TINY, ByHead, column


class Density(ByHead):
    """One Gaussian a feature, its peak at one: weights in (0, 1] that are not normalised.

    A negative `c` counts as positive; as published, it made the weights explode.

    Args:
        axis: the axis of the statistics: layers, or tokens.
        num_heads: heads that share out the axis.
        features: length F of the last axis; each feature has its own Gaussian.
        init_scale: *variance* of every Gaussian at the start, in those of the row.
        eps: added to the variance, and 1e-8 as well.
        count_padding: see `ByHead`.
        **factory: `device` and `dtype`.

    Source: Density Adaptive Attention is All You Need, algorithm 1.
    """

    def __init__(
        self,
        axis: int,
        num_heads: int = 1,
        *,
        features: int,
        init_scale: float = 2.0,
        eps: float = 1e-5,
        count_padding: bool = False,
        **factory: Any,
    ) -> None:
        if axis == -1:
            raise ValueError("density has a Gaussian a feature: axis must not be the last one")
        super().__init__(axis, count_padding)
        self.eps = eps + 1e-8
        self.mean_offset = nn.Parameter(torch.zeros(num_heads, features, **factory))
        self.c = nn.Parameter(torch.full((num_heads, features), init_scale, **factory))

    def parameters_of_heads(self) -> tuple[Tensor, ...]:
        return self.mean_offset, self.c

    def weigh(self, x: Tensor, mask: Tensor | None, *parameters: Tensor) -> Tensor:
        offset, scale = parameters
        mean, variance = statistics(x, self.axis, mask, self.count_padding, correction=0)
        z = (x - mean - offset) / (variance + self.eps).sqrt()
        return (-0.5 * z.square() / (scale.abs() + TINY)).exp()


class LogMix(ByHead):
    """The mean of normalised Gaussian densities: weights that may exceed one.

    The standard deviation of a Gaussian is `softplus(log_sigma) + 1e-3`, in those of the row.

    Args:
        axis, num_heads, num_gaussians, count_padding: see `Product`.
        **factory: `device` and `dtype`.

    Source: Density Adaptive JEPA (2025), its first published code.
    """

    def __init__(
        self,
        axis: int = -1,
        num_heads: int = 1,
        num_gaussians: int = 1,
        *,
        count_padding: bool = False,
        **factory: Any,
    ) -> None:
        super().__init__(axis, count_padding)
        shape = (num_heads, num_gaussians)
        self.mean_offsets = nn.Parameter(torch.zeros(shape, **factory))
        self.log_sigma = nn.Parameter(torch.full(shape, math.log(0.5), **factory))

    def parameters_of_heads(self) -> tuple[Tensor, ...]:
        return self.mean_offsets, F.softplus(self.log_sigma) + 1e-3

    def weigh(self, x: Tensor, mask: Tensor | None, *parameters: Tensor) -> Tensor:
        offsets, sigma = (column(values, x) for values in parameters)
        mean, variance = statistics(x, self.axis, mask, self.count_padding, correction=0)
        deviation = variance.clamp(min=1e-6).sqrt()
        z = (x - mean - offsets) / (deviation * sigma + 1e-8)
        return ((-0.5 * z.square()).exp() / (sigma * math.sqrt(2.0 * math.pi))).mean(0)


class Gate1d(nn.Module):
    """One weight a time step, for all channels: `1 + alpha * LogMix` of their projection to one.

    Args:
        axis: must be -1, time; the input is (B, C, T).
        num_heads, num_gaussians, count_padding: see `LogMix`.
        features: channels C.
        **factory: `device` and `dtype`.

    Source: Density Adaptive JEPA (2025), its first published code.
    """

    def __init__(
        self,
        axis: int = -1,
        num_heads: int = 1,
        num_gaussians: int = 1,
        *,
        features: int,
        count_padding: bool = False,
        **factory: Any,
    ) -> None:
        super().__init__()
        if axis != -1:
            raise ValueError(f"gate1d takes (B, C, T) and weighs time: axis must be -1, not {axis}")
        self.to_attn = nn.Conv1d(features, 1, 1, **factory)
        self.gaa = LogMix(axis, num_heads, num_gaussians, count_padding=count_padding, **factory)
        self.alpha = nn.Parameter(torch.tensor(0.05, **factory))

    def forward(self, x: Tensor, mask: Tensor | None = None) -> Tensor:
        return 1.0 + self.alpha * self.density(x, mask)

    def density(self, x: Tensor, mask: Tensor | None = None) -> Tensor:
        """Density (B, 1, T) of the steps of x (B, C, T), which `mask` (B, 1, T) tells apart."""
        return self.gaa(self.to_attn(x), mask)
