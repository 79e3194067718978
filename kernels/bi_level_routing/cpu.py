"""Routed attention on the CPU: PyTorch's fused attention over one block of query regions at a time.

A block gathers the key and value regions it was routed to, whole regions being rows of memory, and
lets them go once it has attended. The backward gathers them again and adds each block's gradients
to the regions they came from. Beyond inputs and results nothing is held but one block.
"""

from collections.abc import Iterator
from typing import Any

import torch
from torch import Tensor
from torch.nn.functional import pad

BLOCK = 1 << 18
"""Numbers gathered in a block: with their gradients they stay in a core's cache."""

_attend = torch.ops.aten._scaled_dot_product_flash_attention_for_cpu
_attend_backward = torch.ops.aten._scaled_dot_product_flash_attention_for_cpu_backward


def routed_attention(
    query: Tensor,
    key: Tensor,
    value: Tensor,
    index: Tensor,
    heads: int,
    scale: float,
    weight: Tensor | None = None,
    key_mask: Tensor | None = None,
) -> Tensor:
    """Compute `reference.routed_attention`; differentiable once.

    Raises:
        IndexError: `index` names a region that does not exist.
    """
    if index.dim() == 4:  # a graph of its own per head: one head in a batch of all heads
        query, key, value = (
            x.unflatten(-1, (heads, -1)).permute(0, 3, 1, 2, 4).flatten(0, 1)
            for x in (query, key, value)
        )
        weight = None if weight is None else weight.flatten(0, 1)
        key_mask = None if key_mask is None else key_mask.repeat_interleave(heads, dim=0)
        out = routed_attention(query, key, value, index.flatten(0, 1), 1, scale, weight, key_mask)
        return out.unflatten(0, (-1, heads)).permute(0, 2, 3, 1, 4).flatten(-2)
    # The fused kernel wants heads of one width: more zeros change neither scores nor values.
    narrow = value.shape[-1] // heads
    width = max(query.shape[-1] // heads, narrow)
    query, key, value = (_widen(x, heads, width) for x in (query, key, value))
    out, _ = _forward(query, key, value, index, heads, scale, weight, key_mask)
    return out if width == narrow else out.unflatten(-1, (heads, width))[..., :narrow].flatten(-2)


@torch.library.custom_op("foveate::routed_attention_cpu", mutates_args=(), device_types="cpu")
@torch.autocast("cpu", enabled=False)
def _forward(
    query: Tensor,
    key: Tensor,
    value: Tensor,
    index: Tensor,
    heads: int,
    scale: float,
    weight: Tensor | None,
    key_mask: Tensor | None,
) -> tuple[Tensor, Tensor]:
    """Output, and the logarithm of each query's softmax denominator (B * Pq, heads, Lq)."""
    rows = _rows(index, key.shape[1])
    queries, keys, values = (_regions(x, heads) for x in (query, key, value))
    out = query.new_empty(queries.shape)
    log_sum = query.new_empty(len(rows), heads, query.shape[2], dtype=_exact(query))
    for block in _blocks(keys, rows):
        chosen, factors = rows[block], _factors(weight, block)
        block_out, log_sum[block] = _attend(
            queries[block].transpose(1, 2),
            _gather(keys, chosen, factors).transpose(1, 2),
            _gather(values, chosen, factors).transpose(1, 2),
            attn_mask=_bias(key_mask, chosen, query),
            scale=scale,
        )
        out[block] = block_out.transpose(1, 2)
    return out.view(query.shape), log_sum


@torch.library.custom_op(
    "foveate::routed_attention_cpu_backward", mutates_args=(), device_types="cpu"
)
@torch.autocast("cpu", enabled=False)
def _backward(
    grad: Tensor,
    out: Tensor,
    log_sum: Tensor,
    query: Tensor,
    key: Tensor,
    value: Tensor,
    index: Tensor,
    heads: int,
    scale: float,
    weight: Tensor | None,
    key_mask: Tensor | None,
) -> tuple[Tensor, Tensor, Tensor, Tensor]:
    """Gradients of query, key, value and weight; the last is empty where there is no weight."""
    rows = _rows(index, key.shape[1])
    queries, keys, values, grads, outs = (
        _regions(x, heads) for x in (query, key, value, grad, out)
    )
    grad_query = query.new_empty(queries.shape)
    grad_key, grad_value = (x.new_zeros(x.shape, dtype=_exact(x)) for x in (keys, values))
    grad_weight = query.new_zeros(rows.shape if weight is not None else 0, dtype=_exact(query))
    for block in _blocks(keys, rows):
        chosen, factors = rows[block], _factors(weight, block)
        block_query, block_key, block_value = _attend_backward(
            grads[block].transpose(1, 2),
            queries[block].transpose(1, 2),
            _gather(keys, chosen, factors).transpose(1, 2),
            _gather(values, chosen, factors).transpose(1, 2),
            outs[block].transpose(1, 2),
            log_sum[block],
            0.0,  # dropout
            False,  # causal
            attn_mask=_bias(key_mask, chosen, query),
            scale=scale,
        )
        grad_query[block] = block_query.transpose(1, 2)
        for x, grad_x, total in (
            (keys, block_key, grad_key),
            (values, block_value, grad_value),
        ):
            grad_x = grad_x.transpose(1, 2).to(total.dtype)
            if factors is not None:
                grad_x = grad_x.unflatten(1, (chosen.shape[1], -1))  # (n, k, Lk, heads, d)
                plain = _gather(x, chosen, None).view(grad_x.shape)
                grad_weight[block] += (grad_x * plain).sum((2, 3, 4))
                grad_x = (grad_x * factors).flatten(1, 2)
            total.index_add_(0, chosen.flatten(), grad_x.reshape(-1, *total.shape[1:]))
    return (
        grad_query.view(query.shape),
        grad_key.to(key.dtype).view(key.shape),
        grad_value.to(value.dtype).view(value.shape),
        query.new_empty(0) if weight is None else grad_weight.to(weight.dtype).view(weight.shape),
    )


@_forward.register_fake
def _(
    query: Tensor, key: Tensor, value: Tensor, index: Tensor, heads: int, *_: Any
) -> tuple[Tensor, Tensor]:
    regions, tokens = query.shape[0] * query.shape[1], query.shape[2]
    log_sum = query.new_empty(regions, heads, tokens, dtype=_exact(query))
    return query.new_empty(query.shape), log_sum


@_backward.register_fake
def _(
    grad: Tensor,
    out: Tensor,
    log_sum: Tensor,
    query: Tensor,
    key: Tensor,
    value: Tensor,
    *rest: Any,
) -> tuple[Tensor, Tensor, Tensor, Tensor]:
    weight = rest[3]
    grad_weight = query.new_empty(0) if weight is None else weight.new_empty(weight.shape)
    grads = (query.new_empty(query.shape), key.new_empty(key.shape), value.new_empty(value.shape))
    return (*grads, grad_weight)


def _setup_context(ctx: Any, inputs: tuple[Any, ...], output: tuple[Tensor, Tensor]) -> None:
    query, key, value, index, ctx.heads, ctx.scale, weight, key_mask = inputs
    ctx.save_for_backward(*output, query, key, value, index, weight, key_mask)


def _differentiate(ctx: Any, grad: Tensor, _: Tensor) -> tuple[Tensor | None, ...]:
    *tensors, weight, key_mask = ctx.saved_tensors
    *grads, grad_weight = _backward(grad, *tensors, ctx.heads, ctx.scale, weight, key_mask)
    return *grads, None, None, None, None if weight is None else grad_weight, None


_forward.register_autograd(_differentiate, setup_context=_setup_context)


def _widen(x: Tensor, heads: int, width: int) -> Tensor:
    """Fill every head of (B, P, L, heads * d) up to `width` channels with zeros."""
    missing = width - x.shape[-1] // heads
    return pad(x.unflatten(-1, (heads, -1)), (0, missing)).flatten(-2) if missing else x


def _regions(x: Tensor, heads: int) -> Tensor:
    """Regions of the whole batch with their heads apart: (B * P, L, heads, d)."""
    return x.flatten(0, 1).unflatten(-1, (heads, -1))


def _rows(index: Tensor, regions: int) -> Tensor:
    """Number the regions of the whole batch through: (B, Pq, k) -> (B * Pq, k)."""
    if index.numel() and (index.min() < 0 or index.max() >= regions):
        raise IndexError(f"index must lie in [0, {regions}), the key regions there are")
    first = torch.arange(len(index)) * regions
    return (index + first[:, None, None]).flatten(0, 1)


def _blocks(keys: Tensor, rows: Tensor) -> Iterator[slice]:
    """Slices of query regions that gather about `BLOCK` numbers, keys and values together."""
    gathered = 2 * rows.shape[1] * keys.shape[1:].numel()
    step = max(BLOCK // gathered, 1)
    for first in range(0, len(rows), step):
        yield slice(first, first + step)


def _gather(x: Tensor, rows: Tensor, factors: Tensor | None) -> Tensor:
    """Tokens of the chosen regions: (n, k * L, heads, d)."""
    chosen = x.index_select(0, rows.flatten()).view(*rows.shape, *x.shape[1:])
    return (chosen if factors is None else chosen.mul_(factors)).flatten(1, 2)


def _factors(weight: Tensor | None, block: slice) -> Tensor | None:
    """Soft routing's factors on chosen regions: (n, k, 1, 1, 1)."""
    return None if weight is None else weight.flatten(0, 1)[block, :, None, None, None]


def _bias(key_mask: Tensor | None, rows: Tensor, query: Tensor) -> Tensor | None:
    """What to add to the scores: minus infinity for masked keys, (n, 1, Lq, k * Lk)."""
    if key_mask is None:
        return None
    hidden = ~key_mask.flatten(0, 1)[rows].flatten(1)[:, None, None]
    bias = query.new_zeros(hidden.shape).masked_fill_(hidden, -torch.inf)
    return bias.expand(-1, -1, query.shape[2], -1)


def _exact(x: Tensor) -> torch.dtype:
    """The dtype to add up in."""
    return torch.promote_types(x.dtype, torch.float32)
