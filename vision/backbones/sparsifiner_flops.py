"""Multiply-adds of Sparsifiner: by the rule of its publication, and as they are executed."""

from dataclasses import dataclass
from math import ceil
from typing import Any

import torch
from torch import Tensor, nn
from torch.utils.flop_counter import FlopCounterMode

from kernels.sparse_connectivity.cpu import FEW


@dataclass(frozen=True)
class AttentionCost:
    """Multiply-adds of attention in all blocks.

    Args:
        core: dot products and weighted sums of the kept pairs.
        predictor: what chose them.
        dense: of dot products and weighted sums of all pairs.
    """

    core: int
    predictor: int
    dense: int

    @property
    def change(self) -> float:
        """Of core and predictor together against dense; -0.48 is 48 % less."""
        return (self.core + self.predictor) / self.dense - 1


def published_cost(
    keep_rate: float,
    *,
    tokens: int = 197,
    heads: int = 6,
    width: int = 64,
    depth: int = 12,
    reduced_width: int = 32,
    rank: int = 32,
    coefficients: int = 8,
    basis_density: float = 0.32,
) -> AttentionCost:
    """Count as the published savings were counted: 48 % at a keep rate of 0.25.

    Dot products and weighted sums count for kept pairs and the class token only, as if the others
    were not computed; scores count as a product of sparse matrices. Linear layers around them do
    not count at all. It is no measure of time: see `foveate bench sparsifiner`.

    Args:
        keep_rate: share of the tokens that a query keeps.
        tokens: N, the class token included.
        heads: H.
        width: of a head.
        depth: blocks.
        reduced_width: of the predictor's queries and keys.
        rank: R.
        coefficients: that a query keeps.
        basis_density: share of the basis that is not zero; 0.32 is that of a fresh model.

    Source: the rule that reproduces the numbers of Sparsifiner's abstract; its counter was never
    published.
    """
    budget, patches = ceil(keep_rate * tokens), tokens - 1
    core = 2 * heads * width * (patches * budget + tokens)
    predictor = 2 * heads * tokens * width * reduced_width
    predictor += 2 * heads * reduced_width * tokens * rank
    predictor += round(heads * patches * coefficients * tokens * basis_density)
    return AttentionCost(depth * core, depth * predictor, depth * 2 * heads * width * tokens**2)


def executed_macs(model: nn.Module, x: Tensor) -> int:
    """Multiply-adds of the matrix products, convolutions and attentions that a run executes.

    Args:
        model: in evaluation mode, on the CPU.
        x: its input.
    """
    with torch.inference_mode(), FlopCounterMode(display=False, custom_mapping=_OPERATORS) as count:
        model(x)
    return count.get_total_flops() // 2


def _fused(query: Tensor, key: Tensor, *_: Any, **__: Any) -> int:
    return 4 * query.numel() * key.shape[-2]


def _sparse(query: Tensor, key: Tensor, value: Tensor, mask: Tensor, *_: Any, **__: Any) -> int:
    pairs = mask.numel() if key.shape[-2] <= FEW else int(mask.sum())
    return 2 * pairs * (query.shape[-1] + value.shape[-1])


def _routed(query: Tensor, key: Tensor, value: Tensor, index: Tensor, *_: Any, **__: Any) -> int:
    return 4 * query.numel() * index.shape[-1] * key.shape[2]


_OPERATORS: dict[Any, Any] = {
    torch.ops.aten._scaled_dot_product_flash_attention_for_cpu: _fused,
    torch.ops.foveate.sparse_attention_cpu: _sparse,
    torch.ops.foveate.routed_attention_cpu: _routed,
}
"""Operators that PyTorch's counter does not know -> their floating-point operations."""

for _count in _OPERATORS.values():
    _count._get_raw = True  # ask for tensors instead of their shapes
