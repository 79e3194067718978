"""Sparse connectivity: every query attends to the keys it was connected to."""

import torch
from torch import Tensor

import kernels.bi_level_routing  # noqa: F401  defines the operator that `blocks` calls
from kernels import dispatch
from kernels.sparse_connectivity import cpu, reference
from kernels.sparse_connectivity.blocks import block_attention
from kernels.sparse_connectivity.reference import masked_softmax

__all__ = ["block_attention", "keep_largest", "masked_softmax", "sparse_attention"]


def keep_largest(scores: Tensor, budget: int, backend: str | None = None) -> Tensor:
    """Mark the largest scores of each row; among equal ones the first.

    One operator to `torch.fx`, `torch.jit.script`, `torch.export` and the meta device; plain torch
    operators to `torch.onnx.export` with `dynamo=True`.

    Args:
        scores: (..., N), floating, without NaN.
        budget: how many to mark in each row, 1 to N.
        backend: "reference", "cpu" or "triton"; None leaves it to `FOVEATE_KERNELS`, then to the
            device.

    Returns:
        Bool mask of the shape of `scores`, without gradient.

    Raises:
        ValueError: the budget does not fit, or the backend is unknown or cannot run.

    Source: Sparsifiner, section 3.2 (connectivity mask).
    """
    return torch.ops.foveate.keep_largest(scores, budget, backend)


def sparse_attention(
    query: Tensor,
    key: Tensor,
    value: Tensor,
    mask: Tensor,
    scale: float,
    bias: Tensor | None = None,
    backend: str | None = None,
) -> Tensor:
    """Attend from every query to the keys that its row of the mask names.

    One operator to `torch.fx`, `torch.jit.script`, `torch.export` and the meta device; plain torch
    operators to `torch.onnx.export` with `dynamo=True`. Autocast leaves its dtype alone.

    The cpu form computes the named pairs only. Where a gradient is wanted, or a bias given, the
    reference runs instead, which computes all pairs and masks them.

    Args:
        query: (B, H, Nq, d).
        key: (B, H, Nk, d).
        value: (B, H, Nk, D).
        mask: (B, H, Nq, Nk) bool, True = attend; rows may differ in how many they name. A row
            without any gives zeros.
        scale: factor on the dot products.
        bias: added to the scaled dot products, (B, H, Nq, Nk).
        backend: "reference", "cpu" or "triton"; None leaves it to `FOVEATE_KERNELS`, then to the
            device.

    Returns:
        (B, H, Nq, D), in the inputs' dtype.

    Raises:
        ValueError: shapes or dtypes do not fit, or the backend is unknown or cannot run.

    Source: Sparsifiner, section 3.3 (sparse attention).
    """
    return torch.ops.foveate.sparse_attention(query, key, value, mask, scale, bias, backend)


torch.library.define(
    "foveate::keep_largest", "(Tensor scores, SymInt budget, str? backend=None) -> Tensor"
)
torch.library.define(
    "foveate::sparse_attention",
    "(Tensor query, Tensor key, Tensor value, Tensor mask, float scale, Tensor? bias=None, "
    "str? backend=None) -> Tensor",
)


@torch.library.impl("foveate::keep_largest", "CompositeImplicitAutograd")
def _keep_largest(scores: Tensor, budget: int, backend: str | None = None) -> Tensor:
    if not 1 <= budget <= scores.shape[-1]:
        raise ValueError(f"budget must be 1 to {scores.shape[-1]}, the row's length, not {budget}")
    form = dispatch.choose(backend, scores.device)
    # An exported graph must not hold an operator that only this package knows.
    if form == "reference" or torch.onnx.is_in_onnx_export():
        return reference.keep_largest(scores.detach(), budget)
    return cpu.keep_largest(scores.detach(), budget)


@torch.library.impl("foveate::sparse_attention", "CompositeImplicitAutograd")
def _sparse_attention(
    query: Tensor,
    key: Tensor,
    value: Tensor,
    mask: Tensor,
    scale: float,
    bias: Tensor | None = None,
    backend: str | None = None,
) -> Tensor:
    _check(query, key, value, mask, bias)
    form = dispatch.choose(backend, query.device)
    wanted = torch.is_grad_enabled() and any(x.requires_grad for x in (query, key, value))
    plain = bias is not None or wanted or not torch.backends.mkl.is_available()
    with dispatch.no_autocast(query.device.type):
        if form == "reference" or plain or torch.onnx.is_in_onnx_export():
            return reference.sparse_attention(query, key, value, mask, scale, bias)
        return cpu.sparse_attention(query, key, value, mask, scale)


def _check(query: Tensor, key: Tensor, value: Tensor, mask: Tensor, bias: Tensor | None) -> None:
    for name, x in (("query", query), ("key", key), ("value", value)):
        if x.dim() != 4 or x.dtype != query.dtype or not x.is_floating_point():
            raise ValueError(
                f"{name} must be floating (B, H, N, d), of the query's dtype {query.dtype}, "
                f"not {x.dtype} {tuple(x.shape)}"
            )
    if key.shape[:2] != query.shape[:2] or key.shape[3] != query.shape[3]:
        raise ValueError(f"key {tuple(key.shape)} does not fit query {tuple(query.shape)}")
    if value.shape[:3] != key.shape[:3]:
        raise ValueError(f"value {tuple(value.shape)} does not fit key {tuple(key.shape)}")
    pairs = (*query.shape[:3], key.shape[2])
    if mask.shape != pairs or mask.dtype != torch.bool:
        raise ValueError(f"mask must be bool {pairs}, not {mask.dtype} {tuple(mask.shape)}")
    if bias is not None and bias.shape != pairs:
        raise ValueError(f"bias must be {pairs}, not {tuple(bias.shape)}")
