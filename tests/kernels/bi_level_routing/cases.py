"""Random inputs of routed attention for the tests."""

from dataclasses import dataclass
from typing import Any

import torch
from hypothesis import strategies as st
from torch import Tensor


@dataclass(frozen=True)
class Case:
    """One shape of the problem; the defaults are small and odd on purpose."""

    batch: int = 2
    query_regions: int = 5
    key_regions: int = 7
    query_tokens: int = 3
    key_tokens: int = 5
    heads: int = 2
    query_channels: int = 3
    value_channels: int = 4
    topk: int = 3
    per_head: bool = False
    weighted: bool = False
    masked: bool = False
    seed: int = 0

    def make(self, dtype: torch.dtype = torch.float32) -> dict[str, Any]:
        """Arguments of `routed_attention`; what can have a gradient requires one."""
        generator = torch.Generator().manual_seed(self.seed)

        def normal(*shape: int) -> Tensor:
            x = torch.randn(shape, generator=generator, dtype=torch.float64)
            return x.to(dtype).requires_grad_()

        keys = (self.batch, self.key_regions, self.key_tokens)
        queries = (self.batch, self.query_regions, self.query_tokens)
        graph = (self.batch, *[self.heads] * self.per_head, self.query_regions, self.topk)
        mask = torch.rand(keys, generator=generator) < 0.7
        mask[:, 0] = False  # whoever chose this region alone is left without any key
        return {
            "query": normal(*queries, self.heads * self.query_channels),
            "key": normal(*keys, self.heads * self.query_channels),
            "value": normal(*keys, self.heads * self.value_channels),
            "index": torch.randint(self.key_regions, graph, generator=generator),
            "heads": self.heads,
            "scale": 0.7,
            "weight": normal(*graph) if self.weighted else None,
            "key_mask": mask if self.masked else None,
        }


small = st.integers(1, 4)
cases = st.builds(
    Case,
    batch=st.integers(0, 2),
    query_regions=small,
    key_regions=small,
    query_tokens=small,
    key_tokens=small,
    heads=st.integers(1, 3),
    query_channels=small,
    value_channels=small,
    topk=small,
    per_head=st.booleans(),
    weighted=st.booleans(),
    masked=st.booleans(),
    seed=st.integers(0, 1000),
)
"""Any combination of features; random graphs name regions twice and leave some unchosen."""

named = {
    "plain": Case(),
    "one region": Case(topk=1),
    "all regions": Case(topk=7),
    "per head": Case(per_head=True),
    "pooled keys": Case(query_tokens=6, key_tokens=1),
    "cross grid": Case(query_regions=2, key_regions=9),
    "weight": Case(weighted=True),
    "mask": Case(masked=True, topk=1),
    "everything": Case(per_head=True, weighted=True, masked=True),
    "empty batch": Case(batch=0),
}


def gradients(out: Tensor, inputs: dict[str, Any]) -> dict[str, Tensor]:
    """Gradients of a fixed random projection of `out`, by argument name."""
    cotangent = torch.randn(out.shape, generator=torch.Generator().manual_seed(1))
    leaves = {n: x for n, x in inputs.items() if isinstance(x, Tensor) and x.requires_grad}
    grads = torch.autograd.grad(out, list(leaves.values()), cotangent.to(out.dtype))
    return dict(zip(leaves, grads, strict=True))
