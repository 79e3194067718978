"""Grouped-query attention as it should be, and the published form of it by switches."""

import pytest
import torch
from torch import Tensor

from vision.attention.grouped_query import GroupedQueryAttention


@pytest.fixture
def x() -> Tensor:
    return torch.randn(2, 5, 24, generator=torch.Generator().manual_seed(0))


@pytest.mark.parametrize("causal", [False, True])
@pytest.mark.parametrize("published", [False, True])
def test_output_is_attention_times_values(x, causal, published):
    torch.manual_seed(0)
    module = GroupedQueryAttention(
        24, 6, 2, causal=causal, norm=True, sum_groups=published, scale_twice=published
    )
    attention = module.attention(x)
    assert attention.shape == (2, 2 if published else 6, 5, 5)
    torch.testing.assert_close(attention.sum(-1), torch.ones(attention.shape[:-1]))
    assert causal == bool((attention.triu(1) == 0).all())
    value = module.v_proj(x).view(2, 5, 2, 4).transpose(1, 2)
    if not published:
        value = value.repeat_interleave(3, 1)
    out = module.norm((attention @ value).transpose(1, 2).flatten(2))
    torch.testing.assert_close(module(x), module.out_proj(out))


def test_as_many_key_heads_as_query_heads_is_ordinary_attention(x):
    torch.manual_seed(0)
    module = GroupedQueryAttention(24, 4, 4)
    ordinary = torch.nn.MultiheadAttention(24, 4, batch_first=True)
    with torch.no_grad():
        parts = (module.q_proj, module.k_proj, module.v_proj)
        ordinary.in_proj_weight.copy_(torch.cat([p.weight for p in parts]))
        ordinary.in_proj_bias.copy_(torch.cat([p.bias for p in parts]))
    ordinary.out_proj = module.out_proj
    torch.testing.assert_close(module(x), ordinary(x, x, x, need_weights=False)[0])


@pytest.mark.parametrize(("dim", "heads", "kv"), [(25, 6, 2), (24, 6, 4)])
def test_numbers_that_do_not_fit_are_named(dim, heads, kv):
    with pytest.raises(ValueError, match=f"dim {dim} must be a multiple"):
        GroupedQueryAttention(dim, heads, kv)
