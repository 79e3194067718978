"""Product of Gaussians on the CPU: one softmax over a quadratic, and its gradient by formula.

Normalised along the axis, a product of Gaussians has two degrees of freedom. With the precision
A = sum 1/c^2, the pull B = sum d/c^2, and the deviation u from the mean,

    weights = softmax((B u - A u^2 / 2) / variance).

A block of rows is worked on at a time, so that what it needs stays in a core's cache.
"""

from collections.abc import Iterator
from math import prod
from typing import Any

import torch
from torch import Tensor

from kernels.gaussian_adaptive.reference import FLOOR, head_sizes

BLOCK = 1 << 18
"""Numbers in a block."""


def gaussian_weights(
    x: Tensor,
    offsets: Tensor,
    scales: Tensor,
    axis: int = -1,
    mask: Tensor | None = None,
    eps: float = 1e-8,
    unit_mean: bool = False,
    count_padding: bool = False,
) -> Tensor:
    """Compute `reference.gaussian_weights` without its clamp; differentiable once."""
    exact = _exact(x)
    inverse = 1.0 / (scales.to(exact).square() + FLOOR)
    precision, pull = inverse.sum(1), (offsets.to(exact) * inverse).sum(1)
    if mask is not None:
        mask = mask.expand(x.shape)
    axis %= x.dim()
    return _forward(x, precision, pull, axis, mask, eps, unit_mean, count_padding)[0]


@torch.library.custom_op("foveate::gaussian_weights_cpu", mutates_args=(), device_types="cpu")
@torch.autocast("cpu", enabled=False)
def _forward(
    x: Tensor,
    precision: Tensor,
    pull: Tensor,
    axis: int,
    mask: Tensor | None,
    eps: float,
    unit_mean: bool,
    count_padding: bool,
) -> tuple[Tensor, Tensor, Tensor]:
    """Weights, and each row's mean and variance (outer, heads, 1, inner)."""
    x, mask = x.contiguous(), None if mask is None else mask.contiguous()
    weights = torch.empty_like(x)
    rows = _row_shape(x, precision, axis)
    mean, variance = (precision.new_empty(rows) for _ in range(2))
    for heads, span, block in _blocks(x, len(precision), axis):
        u = _rows(x, axis, heads, span)[block].to(mean.dtype)
        hidden = None if mask is None else ~_rows(mask, axis, heads, span)[block]
        number = _number(u, hidden, count_padding)
        known = u if hidden is None else u.masked_fill(hidden, 0.0)
        if not count_padding:
            u = known  # whatever stood in padded places, even NaN, has no influence
        mean[block, heads] = m = known.sum(2, keepdim=True) / number
        u = u - m
        squares = (u if hidden is None else u.masked_fill(hidden, 0.0)).square()
        squares = squares.sum(2, keepdim=True)
        if hidden is not None and count_padding:
            squares += hidden.sum(2, keepdim=True) * m.square()  # they count as zeros
        variance[block, heads] = v = squares / (number - 1.0).clamp(min=1.0) + eps
        a, b = (y[heads, None, None] / v for y in (precision, pull))
        logits = (u * (-0.5 * a)).add_(b).mul_(u)
        if hidden is not None and not count_padding:
            logits.masked_fill_(hidden, torch.finfo(u.dtype).min)
        # PyTorch's softmax is slow wherever the axis is not the last one.
        w = logits.sub_(logits.amax(2, keepdim=True)).exp_()
        w.mul_((number if unit_mean else 1.0) / w.sum(2, keepdim=True))
        if hidden is not None and not count_padding:
            w.masked_fill_(hidden, 0.0)
        _rows(weights, axis, heads, span)[block] = w
    return weights, mean, variance


@torch.library.custom_op(
    "foveate::gaussian_weights_cpu_backward", mutates_args=(), device_types="cpu"
)
@torch.autocast("cpu", enabled=False)
def _backward(
    grad: Tensor,
    weights: Tensor,
    mean: Tensor,
    variance: Tensor,
    x: Tensor,
    precision: Tensor,
    pull: Tensor,
    axis: int,
    mask: Tensor | None,
    unit_mean: bool,
    count_padding: bool,
) -> tuple[Tensor, Tensor, Tensor]:
    """Gradients of x, precision and pull."""
    x, grad = x.contiguous(), grad.contiguous()
    mask = None if mask is None else mask.contiguous()
    grad_x = torch.empty_like(x)
    grad_precision, grad_pull = torch.zeros_like(precision), torch.zeros_like(pull)
    for heads, span, block in _blocks(x, len(precision), axis):
        w, u, g = (_rows(y, axis, heads, span)[block].to(mean.dtype) for y in (weights, x, grad))
        hidden = None if mask is None else ~_rows(mask, axis, heads, span)[block]
        number = _number(u, hidden, count_padding)
        m, v = mean[block, heads], variance[block, heads]
        a, b = (y[heads, None, None] / v for y in (precision, pull))
        if hidden is not None and not count_padding:
            u = u.masked_fill(hidden, 0.0)
        u = u - m
        total = number if unit_mean else 1.0
        logits = (g - (w * g).sum(2, keepdim=True) / total).mul_(w)  # their gradient
        moment = logits * u
        first = moment.sum(2, keepdim=True)
        second = moment.mul_(u).sum(2, keepdim=True)
        grad_precision[heads] -= 0.5 * (second / v).sum((0, 2, 3))
        grad_pull[heads] += (first / v).sum((0, 2, 3))
        # What mean and variance pass on is a line in u, the same for all real places of a row.
        constant = a * first / number
        slope = (a * second - 2.0 * b * first) / v / (number - 1.0).clamp(min=1.0)
        line = (u * slope).add_(constant)
        if hidden is not None:
            line.masked_fill_(hidden, 0.0)
        _rows(grad_x, axis, heads, span)[block] = u.mul_(-a).add_(b).mul_(logits).add_(line)
    return grad_x, grad_precision, grad_pull


@_forward.register_fake
def _(x: Tensor, precision: Tensor, pull: Tensor, axis: int, *_: Any) -> tuple[Tensor, ...]:
    rows = _row_shape(x, precision, axis)
    return x.new_empty(x.shape), precision.new_empty(rows), precision.new_empty(rows)


@_backward.register_fake
def _(
    grad: Tensor, weights: Tensor, mean: Tensor, variance: Tensor, x: Tensor, *rest: Any
) -> tuple[Tensor, ...]:
    precision, pull = rest[:2]
    return x.new_empty(x.shape), torch.empty_like(precision), torch.empty_like(pull)


def _setup_context(ctx: Any, inputs: tuple[Any, ...], output: tuple[Tensor, ...]) -> None:
    x, precision, pull, ctx.axis, mask, _, ctx.unit_mean, ctx.count_padding = inputs
    ctx.save_for_backward(*output, x, precision, pull, mask)


def _differentiate(ctx: Any, grad: Tensor, *_: Tensor) -> tuple[Tensor | None, ...]:
    *tensors, mask = ctx.saved_tensors
    grads = _backward(grad, *tensors, ctx.axis, mask, ctx.unit_mean, ctx.count_padding)
    return *grads, None, None, None, None, None


_forward.register_autograd(_differentiate, setup_context=_setup_context)


def _exact(x: Tensor) -> torch.dtype:
    """The dtype to compute in."""
    return torch.promote_types(x.dtype, torch.float32)


def _row_shape(x: Tensor, precision: Tensor, axis: int) -> tuple[int, int, int, int]:
    """(outer, heads, 1, inner): axes before and after the normalised one, each as one."""
    return prod(x.shape[:axis]), len(precision), 1, prod(x.shape[axis + 1 :])


def _rows(x: Tensor, axis: int, heads: slice, span: slice) -> Tensor:
    """Rows of some heads of one size, (outer, heads, size, inner): a view of a contiguous x."""
    outer, inner = prod(x.shape[:axis]), prod(x.shape[axis + 1 :])
    x = x.reshape(outer, x.shape[axis], inner)[:, span]
    return x.unflatten(1, (heads.stop - heads.start, -1))


def _blocks(x: Tensor, heads: int, axis: int) -> Iterator[tuple[slice, slice, slice]]:
    """Slices of heads of one size, of their span of the axis, and of the axes in front of it."""
    length, outer, inner = x.shape[axis], prod(x.shape[:axis]), prod(x.shape[axis + 1 :])
    first, *_, last = head_sizes(length, heads) * 2
    equal = heads if first == last else heads - 1
    parts = [(slice(0, equal), slice(0, equal * first))]
    if equal < heads:
        parts.append((slice(equal, heads), slice(equal * first, length)))
    for part, span in parts:
        step = max(BLOCK // max((span.stop - span.start) * inner, 1), 1)
        for start in range(0, outer, step):
            yield part, span, slice(start, start + step)


def _number(x: Tensor, hidden: Tensor | None, count_padding: bool) -> Tensor:
    """How many values of each row (outer, heads, size, inner) count, at least one."""
    if hidden is None or count_padding:
        return x.new_tensor(float(x.shape[2]))
    return (~hidden).sum(2, keepdim=True).clamp(min=1).to(x.dtype)
