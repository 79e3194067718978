"""Gaussian adaptive attention whose weights are divided by their sum along the axis.

Each is a module `forward(x, mask=None) -> weights` with the parameters of all heads, which share
out the axis, see `kernels.gaussian_adaptive.head_sizes`. All compute in float32 at least.
"""

from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor, nn

from kernels.gaussian_adaptive import count, gaussian_weights, statistics
from vision.attention.gaussian_heads import TINY, ByHead, column, initial_scales


class Product(nn.Module):
    """A product of Gaussians around the mean, divided by its sum along the axis.

    It is one Gaussian, whatever their number: `num_gaussians` changes how fast it learns, not what
    it can express.

    Args:
        axis: the axis along which weights are given and normalised.
        num_heads: heads.
        num_gaussians: Gaussians a head.
        init_scale: standard deviation of every Gaussian at the start, in those of the row; None
            draws the exponential of a normal number.
        eps: added to the variance; with `clamp`, the least sum that is divided by.
        unit_mean: weights have the mean one over a head's places instead of the sum one.
        count_padding: padded places count as zeros in the statistics and take weights, as
            published.
        clamp: see `kernels.gaussian_adaptive.gaussian_weights`.
        **factory: `device` and `dtype`.

    Source: Density Adaptive Attention is All You Need, algorithm 2.
    """

    def __init__(
        self,
        axis: int = -1,
        num_heads: int = 1,
        num_gaussians: int = 1,
        *,
        init_scale: float | None = 2.0,
        eps: float = 1e-8,
        unit_mean: bool = False,
        count_padding: bool = False,
        clamp: bool = False,
        **factory: Any,
    ) -> None:
        super().__init__()
        self.axis = axis
        self.eps = eps
        self.unit_mean = unit_mean
        self.count_padding = count_padding
        self.clamp = clamp
        shape = (num_heads, num_gaussians)
        self.mean_offsets = nn.Parameter(torch.zeros(shape, **factory))
        self.c = nn.Parameter(initial_scales(shape, init_scale, factory))

    def forward(self, x: Tensor, mask: Tensor | None = None) -> Tensor:
        return gaussian_weights(
            x,
            self.mean_offsets,
            self.c,
            self.axis,
            mask,
            self.eps,
            self.unit_mean,
            self.count_padding,
            self.clamp,
        )


class Mixture(ByHead):
    """A sum of Gaussians of peak one around the mean, divided by its sum along the axis.

    Args:
        axis, num_heads, num_gaussians, init_scale, eps, unit_mean, count_padding: see `Product`.
            Gaussians that start alike stay alike: `init_scale=None` makes them differ.
        clamp: divide by no less than `eps`, as published.
        mixture_weights: shares of the Gaussians, taken as they are and not learned; None learns
            them as a softmax.
        **factory: `device` and `dtype`.

    Source: the first releases of the package `gaussian-adaptive-attention`.
    """

    def __init__(
        self,
        axis: int = -1,
        num_heads: int = 1,
        num_gaussians: int = 1,
        *,
        init_scale: float | None = 2.0,
        eps: float = 1e-8,
        unit_mean: bool = False,
        count_padding: bool = False,
        clamp: bool = False,
        mixture_weights: Sequence[float] | None = None,
        **factory: Any,
    ) -> None:
        super().__init__(axis, count_padding)
        self.eps = eps
        self.unit_mean = unit_mean
        self.clamp = clamp
        shape = (num_heads, num_gaussians)
        self.mean_offsets = nn.Parameter(torch.zeros(shape, **factory))
        self.c = nn.Parameter(initial_scales(shape, init_scale, factory))
        self.mixture_weights = None if mixture_weights is None else tuple(mixture_weights)
        if self.mixture_weights is None:
            self.weights = nn.Parameter(torch.ones(shape, **factory))
        elif len(self.mixture_weights) != num_gaussians:
            raise ValueError(f"mixture_weights must be {num_gaussians} numbers, one a Gaussian")

    def parameters_of_heads(self) -> tuple[Tensor, ...]:
        if self.mixture_weights is None:
            shares = self.weights.softmax(1)
        else:
            shares = self.c.new_tensor(self.mixture_weights).expand(self.c.shape)
        return self.mean_offsets, self.c, shares

    def weigh(self, x: Tensor, mask: Tensor | None, *parameters: Tensor) -> Tensor:
        offsets, scales, shares = (column(values, x) for values in parameters)
        counted = None if self.count_padding else mask
        mean, variance = statistics(x, self.axis, mask, self.count_padding)
        z = (x - mean - offsets) / (variance + self.eps).sqrt()
        exponent = -0.5 * z.square() / (scales.square() + TINY)
        if counted is not None:
            exponent = exponent.masked_fill(~counted, torch.finfo(x.dtype).min)
        # Weights are ratios: with the largest term of a row as the unit, they do not all vanish.
        unit = exponent.amax(0).amax(self.axis, keepdim=True)
        density = (shares * (exponent - unit).exp()).sum(0)
        if counted is not None:
            density = density.masked_fill(~counted, 0.0)
        total = density.sum(self.axis, keepdim=True)
        least = self.eps * (-unit).exp() if self.clamp else torch.finfo(x.dtype).tiny
        weights = density / torch.where(total.abs() < least, least, total)
        return weights * count(x, self.axis, counted) if self.unit_mean else weights
