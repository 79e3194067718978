"""Selection and attention over chosen keys on the CPU.

Selection partitions the values of a row by numpy's vectorised quickselect and compares them with
the least that is kept: many times faster than `torch.topk`, which moves indices along. Attention
runs on compressed sparse rows: dot products, softmax and sums for chosen pairs only. Among few keys
it is PyTorch's fused attention with a mask, which then takes less time than rows are worth.
"""

import warnings
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn.functional import scaled_dot_product_attention

from kernels.sparse_connectivity import reference

FEW = 128
"""Keys up to which all pairs are computed and masked."""

# Said once a process, of a format that is used here for two products only.
warnings.filterwarnings("ignore", message="Sparse CSR tensor support is in beta")


@torch.library.custom_op("foveate::keep_largest_cpu", mutates_args=(), device_types="cpu")
def keep_largest(scores: Tensor, budget: int) -> Tensor:
    """Compute `reference.keep_largest`."""
    values = scores.detach().to(_exact(scores))
    rows = values.numpy()
    first = rows.shape[-1] - budget
    least = torch.from_numpy(np.partition(rows, first, axis=-1)[..., first : first + 1])
    mask = values >= least
    if np.count_nonzero(mask.numpy()) > least.numel() * budget:
        tied = mask.sum(-1) > budget  # more scores equal the least than there is room for
        mask[tied] = reference.keep_largest(values[tied], budget)
    return mask


@torch.library.custom_op("foveate::sparse_attention_cpu", mutates_args=(), device_types="cpu")
@torch.autocast("cpu", enabled=False)
def sparse_attention(
    query: Tensor, key: Tensor, value: Tensor, mask: Tensor, scale: float
) -> Tensor:
    """Compute `reference.sparse_attention` without bias; not differentiable."""
    rows = query.shape[:3].numel()
    if not rows:
        return query.new_empty(*query.shape[:3], value.shape[3])
    if key.shape[2] <= FEW:
        return scaled_dot_product_attention(query, key, value, mask, scale=scale)
    queries, keys, values = (x.flatten(0, 2).to(_exact(x)) for x in (query, key, value))
    # One matrix for all heads of the batch, each head a block on its diagonal.
    ends, columns, counts = _compress(mask)
    shape = (rows, len(keys))
    scores = _csr(ends, columns, queries.new_zeros(len(columns)), shape)
    torch.sparse.sampled_addmm(scores, queries, keys.T, alpha=scale, out=scores)
    attention = _csr(ends, columns, _softmax(scores.values(), rows, counts), shape)
    return (attention @ values).to(query.dtype).view(*query.shape[:3], -1)


def _csr(ends: Tensor, columns: Tensor, values: Tensor, shape: tuple[int, int]) -> Tensor:
    return torch.sparse_csr_tensor(ends, columns, values, shape, check_invariants=False)


def _compress(mask: Tensor) -> tuple[Tensor, Tensor, Tensor | None]:
    """Mask (B, H, Nq, Nk) as one block-diagonal matrix of B * H * Nq rows.

    Returns:
        Where each row ends, the columns, and how many each row has; None if all have as many.
    """
    batch, heads, queries, tokens = mask.shape
    places = torch.from_numpy(np.flatnonzero(mask.contiguous().numpy()))  # row by row
    starts = torch.arange(0, mask.numel(), tokens)
    # Row r of head h holds places from r * Nk on, and columns from h * Nk on.
    shift = torch.arange(0, batch * heads * tokens, tokens)[:, None] - starts.view(-1, queries)
    each = len(places) // max(len(starts), 1)
    if each and each * len(starts) == len(places):
        by_row = places.view(-1, each)
        if (by_row[:, 0] >= starts).all() and (by_row[:, -1] < starts + tokens).all():
            ends = torch.arange(0, len(places) + 1, each)
            return ends, by_row.add_(shift.view(-1, 1)).view(-1), None
    counts = mask.flatten(0, 2).sum(-1)
    ends = nn.functional.pad(counts.cumsum(0), (1, 0))
    return ends, places.add_(shift.view(-1).repeat_interleave(counts)), counts


def _softmax(scores: Tensor, rows: int, counts: Tensor | None) -> Tensor:
    """Softmax of each row's scores, which lie one row after the other."""
    if counts is None:
        return scores.view(rows, -1).softmax(-1).view(-1)
    largest = torch.segment_reduce(scores, "max", lengths=counts)
    powers = (scores - largest.repeat_interleave(counts)).exp_()
    totals = torch.segment_reduce(powers, "sum", lengths=counts)
    return powers.div_(totals.repeat_interleave(counts))


def _exact(x: Tensor) -> torch.dtype:
    """The dtype to add up in."""
    return torch.promote_types(x.dtype, torch.float32)


@keep_largest.register_fake
def _(scores: Tensor, budget: int) -> Tensor:
    return torch.empty_like(scores, dtype=torch.bool)


@sparse_attention.register_fake
def _(query: Tensor, key: Tensor, value: Tensor, *_: Any) -> Tensor:
    return query.new_empty(*query.shape[:-1], value.shape[-1])
