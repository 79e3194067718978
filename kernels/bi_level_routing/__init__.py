"""Bi-level routing attention: every query region attends to the key regions it was routed to."""

import torch
from torch import Tensor

from kernels import dispatch
from kernels.bi_level_routing import cpu, reference
from kernels.bi_level_routing.reference import region_descriptors, route, routed_attention_map

__all__ = ["region_descriptors", "route", "routed_attention", "routed_attention_map"]


def routed_attention(
    query: Tensor,
    key: Tensor,
    value: Tensor,
    index: Tensor,
    heads: int,
    scale: float,
    weight: Tensor | None = None,
    key_mask: Tensor | None = None,
    backend: str | None = None,
) -> Tensor:
    """Attend from every query region to all tokens of the key regions it was routed to.

    One operator to `torch.fx`, `torch.jit.script`, `torch.export` and the meta device; plain torch
    operators to `torch.onnx.export` with `dynamo=True`. Autocast leaves its dtype alone.

    Args:
        query: (B, Pq, Lq, heads * c), region-major; channel h * c + j is channel j of head h.
        key: (B, Pk, Lk, heads * c).
        value: (B, Pk, Lk, heads * C).
        index: chosen key regions, int64 in [0, Pk): (B, Pq, k), or (B, heads, Pq, k) for a graph
            of its own per head. A region named twice counts twice.
        heads: number of attention heads.
        scale: factor on the query-key dot products.
        weight: soft routing: factors of the shape of `index` on the gathered keys and values.
        key_mask: (B, Pk, Lk) bool, True = attend. A query left without any key gives zeros.
        backend: "reference", "cpu" or "triton"; None leaves it to `FOVEATE_KERNELS`, then to the
            device. Only "reference" can be differentiated more than once.

    Returns:
        (B, Pq, Lq, heads * C), in the inputs' dtype.

    Raises:
        ValueError: shapes or dtypes do not fit, or the backend is unknown or cannot run.
        IndexError: `index` names a region that does not exist.

    Source: BiFormer, section 3.2 (token-to-token attention).
    """
    return torch.ops.foveate.routed_attention(
        query, key, value, index, heads, scale, weight, key_mask, backend
    )


torch.library.define(
    "foveate::routed_attention",
    "(Tensor query, Tensor key, Tensor value, Tensor index, int heads, float scale, "
    "Tensor? weight=None, Tensor? key_mask=None, str? backend=None) -> Tensor",
)


@torch.library.impl("foveate::routed_attention", "CompositeImplicitAutograd")
def _routed_attention(
    query: Tensor,
    key: Tensor,
    value: Tensor,
    index: Tensor,
    heads: int,
    scale: float,
    weight: Tensor | None = None,
    key_mask: Tensor | None = None,
    backend: str | None = None,
) -> Tensor:
    """Check, choose a form and call it.

    Being composite it is one node to whatever traces, while autograd and decompositions see what
    it calls, which is differentiable itself.
    """
    _check(query, key, value, index, heads, weight, key_mask)
    form = dispatch.choose(backend, query.device)
    with dispatch.no_autocast(query.device.type):
        # An exported graph must not hold an operator that only this package knows.
        if form == "reference" or torch.onnx.is_in_onnx_export():
            return reference.routed_attention(
                query, key, value, index, heads, scale, weight, key_mask
            )
        return cpu.routed_attention(query, key, value, index, heads, scale, weight, key_mask)


def _check(
    query: Tensor,
    key: Tensor,
    value: Tensor,
    index: Tensor,
    heads: int,
    weight: Tensor | None,
    key_mask: Tensor | None,
) -> None:
    for name, x in (("query", query), ("key", key), ("value", value)):
        if x.dim() != 4 or heads < 1 or x.shape[-1] % heads:
            raise ValueError(f"{name} must be (B, P, L, {heads} heads * d), not {tuple(x.shape)}")
        if x.shape[0] != query.shape[0] or x.dtype != query.dtype or not x.is_floating_point():
            raise ValueError(
                f"{name} must be floating and share batch and dtype with query "
                f"{tuple(query.shape)} {query.dtype}, not {tuple(x.shape)} {x.dtype}"
            )
    if key.shape[-1] != query.shape[-1]:
        raise ValueError(f"key has {key.shape[-1]} channels, query {query.shape[-1]}")
    if value.shape[:-1] != key.shape[:-1]:
        raise ValueError(f"value {tuple(value.shape)} differs from key {tuple(key.shape)}")
    graph = (query.shape[0], *[heads] * (index.dim() == 4), query.shape[1])
    if index.shape[:-1] != graph or index.shape[-1] < 1 or index.dtype != torch.int64:
        raise ValueError(
            f"index must be int64 (B, [heads,] Pq, k) with Pq {query.shape[1]}, "
            f"not {index.dtype} {tuple(index.shape)}"
        )
    if weight is not None and weight.shape != index.shape:
        raise ValueError(f"weight {tuple(weight.shape)} differs from index {tuple(index.shape)}")
    if key_mask is not None and (key_mask.shape != key.shape[:3] or key_mask.dtype != torch.bool):
        raise ValueError(
            f"key_mask must be bool {tuple(key.shape[:3])}, "
            f"not {key_mask.dtype} {tuple(key_mask.shape)}"
        )
