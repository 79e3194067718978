"""Time and memory of the product of Gaussians: the published loop beside ours."""

import math
from collections.abc import Iterable
from typing import NamedTuple

import torch
from torch import Tensor

from kernels.bench import Form, Record, measure, one_thread
from kernels.gaussian_adaptive import gaussian_weights, head_sizes


class Shape(NamedTuple):
    """Tokens (batch, tokens, channels), weighed along `axis`."""

    batch: int
    tokens: int
    channels: int
    heads: int
    gaussians: int
    axis: int = -1

    def __str__(self) -> str:
        size = f"{self.batch}x{self.tokens}x{self.channels}"
        return f"{size} axis {self.axis} h{self.heads} g{self.gaussians}"


SHAPES = (
    Shape(8, 197, 384, heads=4, gaussians=5),
    Shape(8, 197, 384, heads=4, gaussians=1),
    Shape(8, 197, 384, heads=4, gaussians=5, axis=1),
)
"""The tokens of ViT-S/16, weighed along channels and along tokens."""


def bench_gate(shapes: Iterable[Shape] = SHAPES, repeats: int = 15) -> list[Record]:
    """Measure the gate `x * weights` on one thread of the CPU."""
    records = []
    with one_thread():
        for shape in shapes:
            records += measure(f"gate {shape}", gate_forms(shape), repeats)
    return records


def gate_forms(shape: Shape) -> dict[str, Form]:
    """The published loop, the definition, and ours, on one input."""
    generator = torch.Generator().manual_seed(0)
    x = torch.randn(shape.batch, shape.tokens, shape.channels, generator=generator)
    offsets = 0.1 * torch.randn(shape.heads, shape.gaussians, generator=generator)
    scales = 2.0 + 0.1 * torch.randn(shape.heads, shape.gaussians, generator=generator)
    leaves = [tensor.requires_grad_() for tensor in (x, offsets, scales)]

    def published() -> Tensor:
        return published_gate(x, offsets, scales, shape.axis)

    def reference() -> Tensor:
        return x * gaussian_weights(x, offsets, scales, shape.axis, backend="reference")

    def ours() -> Tensor:
        return x * gaussian_weights(x, offsets, scales, shape.axis, backend="cpu")

    return {
        "published": Form(published, leaves),
        "reference": Form(reference, leaves),
        "cpu": Form(ours, leaves),
    }


def published_gate(
    x: Tensor, offsets: Tensor, scales: Tensor, axis: int, eps: float = 1e-8
) -> Tensor:
    """The gate in the way it was published, for comparison only: densities multiplied in a loop."""
    outputs = []
    for chunk, offset, scale in zip(
        x.split(head_sizes(x.shape[axis], len(offsets)), axis), offsets, scales, strict=True
    ):
        mean = chunk.mean(axis, keepdim=True)
        deviation = torch.sqrt(chunk.var(axis, keepdim=True) + eps)
        product = torch.ones_like(chunk)
        for d, c in zip(offset, scale, strict=True):
            z = (chunk - (mean + d)) / deviation
            product = product * (torch.exp(-(z**2) / (2 * c**2)) / torch.sqrt(2 * math.pi * c**2))
        total = product.sum(axis, keepdim=True).clamp(min=eps)
        outputs.append(chunk * (product / total))
    return torch.cat(outputs, axis)
