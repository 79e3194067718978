"""The published mechanisms of Gaussian adaptive attention: x in, a weight for every value out.

Each is a module `forward(x, mask=None) -> weights` with the parameters of all heads, which share
out the axis, see `kernels.gaussian_adaptive.head_sizes`. All compute in float32 at least.
"""

import math
from collections.abc import Sequence
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from kernels.gaussian_adaptive import count, gaussian_weights, head_sizes, statistics


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
        self.c = nn.Parameter(_scales(shape, init_scale, factory))

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


class ByHead(nn.Module):
    """What the forms in plain torch share: each head weighs its own places.

    Args:
        axis: the axis along which weights are given.
        count_padding: padded places count as zeros in the statistics and take weights, as
            published.
    """

    def __init__(self, axis: int, count_padding: bool) -> None:
        super().__init__()
        self.axis = axis
        self.count_padding = count_padding

    def forward(self, x: Tensor, mask: Tensor | None = None) -> Tensor:
        parameters = self.parameters_of_heads()
        heads = len(parameters[0])
        if x.shape[self.axis] < heads:
            raise ValueError(f"axis {self.axis} of {tuple(x.shape)} is shorter than {heads} heads")
        exact = x.to(torch.promote_types(x.dtype, torch.float32))
        if mask is not None:
            mask = mask.expand(x.shape)
            if not self.count_padding:
                exact = exact.masked_fill(~mask, 0.0)  # not even NaN has any influence
        sizes = head_sizes(x.shape[self.axis], heads)
        masks = [None] * heads if mask is None else mask.split(sizes, self.axis)
        weights = [
            self.weigh(*head)
            for head in zip(
                exact.split(sizes, self.axis),
                masks,
                *(values.to(exact.dtype) for values in parameters),
                strict=True,
            )
        ]
        result = torch.cat(weights, self.axis).to(x.dtype)
        if mask is None or self.count_padding:
            return result
        return result.masked_fill(~mask, 0.0)

    def parameters_of_heads(self) -> tuple[Tensor, ...]:
        """Whatever `weigh` takes, with the heads as the first axis."""
        raise NotImplementedError

    def weigh(self, x: Tensor, mask: Tensor | None, *parameters: Tensor) -> Tensor:
        """Weights of one head's places, of the shape of x."""
        raise NotImplementedError


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
        self.c = nn.Parameter(_scales(shape, init_scale, factory))
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
        offsets, scales, shares = (_column(values, x) for values in parameters)
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
        offsets, sigma = (_column(values, x) for values in parameters)
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


TINY = 1e-12
"""Added to squared scales and to variances, so that a scale of zero has a finite precision."""


def _scales(shape: tuple[int, int], init: float | None, factory: dict[str, Any]) -> Tensor:
    if init is None:
        return torch.randn(shape, **factory).exp()
    return torch.full(shape, init, **factory)


def _column(values: Tensor, x: Tensor) -> Tensor:
    """One value a Gaussian in front of the axes of x: (N,) -> (N, 1, ..., 1)."""
    return values.reshape(-1, *[1] * x.dim())
