"""Product of Gaussians, one after the other: the definition that every fast form is tested against.

Densities are multiplied by adding their logarithms, so that no row of weights vanishes in rounding.
"""

import math

import torch
from torch import Tensor


def gaussian_weights(
    x: Tensor,
    offsets: Tensor,
    scales: Tensor,
    axis: int = -1,
    mask: Tensor | None = None,
    eps: float = 1e-8,
    unit_mean: bool = False,
    count_padding: bool = False,
    clamp: bool = False,
) -> Tensor:
    """Define `kernels.gaussian_adaptive.gaussian_weights`; differentiable as it stands."""
    exact = torch.promote_types(x.dtype, torch.float32)
    sizes = head_sizes(x.shape[axis], len(offsets))
    masks = [None] * len(sizes) if mask is None else mask.expand(x.shape).split(sizes, axis)
    weights = [
        _head_weights(*head, axis, eps, unit_mean, count_padding, clamp)
        for head in zip(
            x.to(exact).split(sizes, axis), offsets.to(exact), scales.to(exact), masks, strict=True
        )
    ]
    return torch.cat(weights, axis).to(x.dtype)


def head_sizes(length: int, heads: int) -> list[int]:
    """How an axis is shared out among heads: equally, and the rest to the last one."""
    size = length // heads
    return [size] * (heads - 1) + [length - size * (heads - 1)]


def count(x: Tensor, axis: int, mask: Tensor | None) -> Tensor:
    """How many places of each row along an axis are real, in the dtype of x."""
    real = torch.ones_like(x) if mask is None else mask.to(x.dtype)
    return real.sum(axis, keepdim=True)


def statistics(
    x: Tensor, axis: int, mask: Tensor | None, count_padding: bool, correction: int = 1
) -> tuple[Tensor, Tensor]:
    """Mean and variance along an axis, which stays with length one.

    Args:
        x: any shape.
        axis: the axis.
        mask: bool of the same shape, True for real places; None where all are.
        count_padding: take padded places for zeros and count them, instead of leaving them out.
        correction: subtracted from the number of values in the variance's denominator, which is
            one at least: a single value has the variance zero.
    """
    number = count(x, axis, None if count_padding else mask)
    known = x if mask is None else x.masked_fill(~mask, 0.0)
    mean = known.sum(axis, keepdim=True) / number.clamp(min=1.0)
    deviation = known - mean
    if mask is not None and not count_padding:
        deviation = deviation.masked_fill(~mask, 0.0)
    squares = deviation.square().sum(axis, keepdim=True)
    return mean, squares / (number - correction).clamp(min=1.0)


def _head_weights(
    x: Tensor,
    offsets: Tensor,
    scales: Tensor,
    mask: Tensor | None,
    axis: int,
    eps: float,
    unit_mean: bool,
    count_padding: bool,
    clamp: bool,
) -> Tensor:
    mean, variance = statistics(x, axis, mask, count_padding)
    variance = variance + eps
    hidden = None if mask is None or count_padding else ~mask
    if hidden is not None:
        x = x.masked_fill(hidden, 0.0)  # whatever stood there, even NaN, has no influence
    log_density = torch.zeros_like(x)
    for offset, scale in zip(offsets, scales, strict=True):
        spread = scale.square() + FLOOR
        log_density = log_density - (x - mean - offset).square() / (2.0 * variance * spread)
        log_density = log_density - 0.5 * (2.0 * math.pi * spread).log()
    if hidden is not None:
        log_density = log_density.masked_fill(hidden, torch.finfo(x.dtype).min)
    log_sum = log_density.logsumexp(axis, keepdim=True)
    if clamp:
        log_sum = log_sum.clamp(min=math.log(eps))
    weights = (log_density - log_sum).exp()
    if unit_mean:
        weights = weights * count(x, axis, None if count_padding else mask)
    return weights if hidden is None else weights.masked_fill(hidden, 0.0)


FLOOR = 1e-12
"""Added to squared scales, so that a scale of zero has a finite precision."""
