"""Gaussian adaptive attention: weights along an axis by nearness to its (shifted) mean."""

import torch
from torch import Tensor

from kernels import dispatch
from kernels.gaussian_adaptive import cpu, reference
from kernels.gaussian_adaptive.reference import count, head_sizes, statistics

__all__ = ["count", "gaussian_weights", "head_sizes", "statistics"]


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
    backend: str | None = None,
) -> Tensor:
    """Weigh the values of each row by a product of Gaussians around the row's mean.

    Gaussian i of a head has the mean `mean + offsets[i]`, in the units of x, and the standard
    deviation `scales[i]` times the row's. Weights are divided by their sum over the row. Heads
    share out the axis: n // heads places each, the last one also what is left.

    One operator to `torch.fx`, `torch.jit.script`, `torch.export` and the meta device; plain torch
    operators to `torch.onnx.export` with `dynamo=True`. Computes in float32 at least, whatever the
    dtype of x; autocast leaves that alone.

    Args:
        x: any shape, floating.
        offsets: (heads, Gaussians).
        scales: (heads, Gaussians); their sign has no influence.
        axis: the axis that rows lie along, at least as long as there are heads.
        mask: bool, broadcastable to x; True for real places. The others have the weight 0.
        eps: added to the variance, and what `clamp` compares with.
        unit_mean: let the weights of a row's real places have the mean one instead of the sum one.
        count_padding: the published treatment of padding: padded places count as zeros in mean
            and variance, and are given weights by the value that stands there.
        clamp: divide by no less than `eps`, as published: many Gaussians, or wide ones in rows of
            large variance, then give weights whose sum is below 1.
        backend: "reference", "cpu" or "triton"; None leaves it to `FOVEATE_KERNELS`, then to the
            device. Only "reference" clamps or can be differentiated more than once.

    Returns:
        Weights of the shape and dtype of x. A row of equal values gets equal weights where all
        offsets are zero, a row of one value the weight 1.

    Raises:
        ValueError: shapes or dtypes do not fit, or the backend is unknown or cannot run.

    Source: Gaussian Adaptive Attention is All You Need (2024), algorithm 2.
    """
    return torch.ops.foveate.gaussian_weights(
        x, offsets, scales, axis, mask, eps, unit_mean, count_padding, clamp, backend
    )


torch.library.define(
    "foveate::gaussian_weights",
    "(Tensor x, Tensor offsets, Tensor scales, int axis=-1, Tensor? mask=None, float eps=1e-08, "
    "bool unit_mean=False, bool count_padding=False, bool clamp=False, str? backend=None) "
    "-> Tensor",
)


@torch.library.impl("foveate::gaussian_weights", "CompositeImplicitAutograd")
def _gaussian_weights(
    x: Tensor,
    offsets: Tensor,
    scales: Tensor,
    axis: int = -1,
    mask: Tensor | None = None,
    eps: float = 1e-8,
    unit_mean: bool = False,
    count_padding: bool = False,
    clamp: bool = False,
    backend: str | None = None,
) -> Tensor:
    """Check, choose a form and call it.

    Being composite it is one node to whatever traces, while autograd and decompositions see what
    it calls, which is differentiable itself.
    """
    _check(x, offsets, scales, axis, mask)
    form = dispatch.choose(backend, x.device)
    with dispatch.no_autocast(x.device.type):
        # An exported graph must not hold an operator that only this package knows.
        if clamp or form == "reference" or torch.onnx.is_in_onnx_export():
            return reference.gaussian_weights(
                x, offsets, scales, axis, mask, eps, unit_mean, count_padding, clamp
            )
        return cpu.gaussian_weights(x, offsets, scales, axis, mask, eps, unit_mean, count_padding)


def _check(x: Tensor, offsets: Tensor, scales: Tensor, axis: int, mask: Tensor | None) -> None:
    if not x.is_floating_point() or not -x.dim() <= axis < x.dim():
        raise ValueError(f"x must be floating and have an axis {axis}, not {x.dtype} {_shape(x)}")
    if offsets.dim() != 2 or offsets.shape != scales.shape or not offsets.numel():
        raise ValueError(
            f"offsets {_shape(offsets)} and scales {_shape(scales)} must both be (heads, Gaussians)"
        )
    if x.shape[axis] < len(offsets):
        raise ValueError(f"axis {axis} of {_shape(x)} is shorter than {len(offsets)} heads")
    if mask is not None:
        fits = mask.dim() <= x.dim() and all(
            m in (1, n) for m, n in zip(mask.shape[::-1], x.shape[::-1], strict=False)
        )
        if mask.dtype != torch.bool or not fits:
            raise ValueError(
                f"mask must be bool and broadcast to {_shape(x)}, not {mask.dtype} {_shape(mask)}"
            )


def _shape(x: Tensor) -> tuple[int, ...]:
    return tuple(x.shape)
