"""The definition against a loop over single queries written from the formula."""

import math
from typing import Any

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor

from kernels.bi_level_routing import region_descriptors, route, routed_attention_map
from kernels.bi_level_routing.reference import routed_attention

from .cases import Case, cases, named


def attend_one_by_one(inputs: dict[str, Any]) -> tuple[Tensor, Tensor]:
    """Output and probabilities of every query by itself, in Python numbers and vectors."""
    query, key, value, index = (inputs[n].detach() for n in ("query", "key", "value", "index"))
    heads, scale, weight, mask = (inputs[n] for n in ("heads", "scale", "weight", "key_mask"))
    batch, regions, tokens, channels = query.shape
    c, d, keys = channels // heads, value.shape[-1] // heads, index.shape[-1] * key.shape[2]
    out = torch.zeros(batch, regions, tokens, heads * d, dtype=query.dtype)
    probabilities = torch.zeros(batch, regions, heads, tokens, keys, dtype=query.dtype)
    for b, p, t, h in torch.cartesian_prod(*map(torch.arange, (batch, regions, tokens, heads))):
        at = (b, h, p) if index.dim() == 4 else (b, p)
        q = query[b, p, t, h * c : (h + 1) * c]
        exponentials, values = [], []
        for j, region in enumerate(index[at]):
            w = 1.0 if weight is None else weight[at][j].item()
            for token in range(key.shape[2]):
                k = key[b, region, token, h * c : (h + 1) * c]
                seen = mask is None or bool(mask[b, region, token])
                exponentials.append(math.exp(w * scale * float(q @ k)) if seen else 0.0)
                values.append(w * value[b, region, token, h * d : (h + 1) * d])
        total = sum(exponentials)
        for i, (e, v) in enumerate(zip(exponentials, values, strict=True)):
            if total:
                probabilities[b, p, h, t, i] = e / total
                out[b, p, t, h * d : (h + 1) * d] += e / total * v
    return out, probabilities


@pytest.mark.parametrize("case", named.values(), ids=named)
def test_equals_a_loop_over_queries(case: Case) -> None:
    inputs = case.make(torch.float64)
    out, probabilities = attend_one_by_one(inputs)
    torch.testing.assert_close(routed_attention(**inputs).detach(), out)
    del inputs["value"]
    torch.testing.assert_close(routed_attention_map(**inputs).detach(), probabilities)


@given(cases)
@settings(max_examples=25, deadline=None)
def test_equals_a_loop_over_queries_whatever_the_case(case: Case) -> None:
    inputs = case.make(torch.float64)
    torch.testing.assert_close(routed_attention(**inputs).detach(), attend_one_by_one(inputs)[0])


def test_all_regions_in_any_order_is_dense_attention() -> None:
    inputs = Case(batch=1, query_regions=4, key_regions=4, topk=4).make(torch.float64)
    inputs["index"] = torch.stack([torch.randperm(4) for _ in range(4)])[None]
    q, k, v = (
        inputs[n].reshape(1, -1, 2, inputs[n].shape[-1] // 2) for n in ("query", "key", "value")
    )
    dense = torch.nn.functional.scaled_dot_product_attention(
        q.transpose(1, 2), k.transpose(1, 2), v.transpose(1, 2), scale=inputs["scale"]
    )
    torch.testing.assert_close(
        routed_attention(**inputs).reshape(1, -1, 2, 4), dense.transpose(1, 2)
    )


def test_a_query_without_any_key_is_zero_and_its_gradient_too() -> None:
    inputs = Case(batch=1, topk=1, masked=True).make(torch.float64)
    inputs["index"][0, 2] = 0  # the region whose keys are all masked
    out = routed_attention(**inputs)
    assert torch.equal(out[0, 2], torch.zeros_like(out[0, 2]))
    out.square().sum().backward()
    assert torch.equal(inputs["query"].grad[0, 2], torch.zeros_like(inputs["query"][0, 2]))
    for name in ("query", "key", "value"):
        assert inputs[name].grad.isfinite().all()


def test_region_descriptors_are_means() -> None:
    x = torch.arange(12.0).reshape(1, 2, 3, 2)
    assert region_descriptors(x).tolist() == [[[2.0, 3.0], [8.0, 9.0]]]


@given(st.integers(1, 5), st.integers(1, 5), st.booleans(), st.integers(0, 99))
@settings(max_examples=25, deadline=None)
def test_route_returns_the_best_in_order(pq: int, pk: int, per_head: bool, seed: int) -> None:
    generator = torch.Generator().manual_seed(seed)
    lead = (2, 3) if per_head else (2,)
    query, key = (torch.randn(*lead, p, 4, generator=generator) for p in (pq, pk))
    topk = seed % pk + 1
    index, logits = route(query, key, topk, scale=0.5)
    everything = 0.5 * torch.einsum("...pc,...qc->...pq", query, key)
    assert index.shape == (*lead, pq, topk)
    assert index.dtype == torch.int64
    torch.testing.assert_close(logits, everything.gather(-1, index))
    torch.testing.assert_close(logits, everything.sort(descending=True).values[..., :topk])


def test_route_lets_gradients_through_the_logits() -> None:
    query = torch.randn(1, 3, 4, requires_grad=True)
    route(query, torch.randn(1, 5, 4), 2)[1].sum().backward()
    assert query.grad.abs().sum() > 0


def test_route_rejects_more_regions_than_there_are() -> None:
    with pytest.raises(RuntimeError, match="out of range"):
        route(torch.randn(1, 3, 4), torch.randn(1, 5, 4), 6)
