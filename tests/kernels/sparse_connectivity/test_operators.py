"""Selection and sparse attention: fast forms against the definition, and bad input."""

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor

from kernels.sparse_connectivity import (
    block_attention,
    cpu,
    keep_largest,
    reference,
    sparse_attention,
)


def random(*shape: int, seed: int = 0, dtype: torch.dtype = torch.float32) -> Tensor:
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed)).to(dtype)


def heads(queries: int = 7, keys: int = 9, width: int = 8, **options) -> list[Tensor]:
    sizes = (queries, keys, keys)
    return [random(2, 3, n, width, seed=i, **options) for i, n in enumerate(sizes)]


def masks(queries: int = 7, keys: int = 9) -> dict[str, Tensor]:
    scores = random(2, 3, queries, keys, seed=5)
    ragged = scores > 0.3
    ragged[0, 1, 2] = False
    return {
        "even": keep_largest(scores, 4),
        "ragged": ragged,
        "one": keep_largest(scores, 1),
        "all": torch.ones_like(ragged),
        "none": torch.zeros_like(ragged),
    }


@settings(max_examples=60, deadline=None)
@given(
    data=st.data(),
    rows=st.integers(0, 4),
    length=st.integers(1, 12),
    values=st.integers(1, 5),
    backend=st.sampled_from(["reference", "cpu"]),
)
def test_keeps_the_largest_and_of_equal_ones_the_first(data, rows, length, values, backend):
    numbers = st.lists(st.integers(0, values), min_size=rows * length, max_size=rows * length)
    scores = torch.tensor(data.draw(numbers), dtype=torch.float32).view(rows, length)
    budget = data.draw(st.integers(1, length))
    mask = keep_largest(scores, budget, backend)
    for row, kept in zip(scores.tolist(), mask.tolist(), strict=True):
        best = sorted(range(length), key=lambda i: (-row[i], i))[:budget]
        assert [i for i in range(length) if kept[i]] == sorted(best)


@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float64])
def test_selection_in_other_dtypes(dtype):
    scores = random(3, 50, dtype=dtype).transpose(0, 1)
    assert keep_largest(scores, 2, "cpu").equal(keep_largest(scores, 2, "reference"))


@pytest.mark.parametrize("budget", [0, 10])
def test_budget_must_fit(budget):
    with pytest.raises(ValueError, match="budget must be 1 to 9"):
        keep_largest(torch.rand(2, 9), budget)


@pytest.fixture(params=["rows", "fused"])
def either_form(request, monkeypatch):
    """Compressed rows, and what takes their place among few keys."""
    monkeypatch.setattr(cpu, "FEW", 0 if request.param == "rows" else 9)


@pytest.mark.parametrize("name", masks())
@pytest.mark.parametrize("dtype", [torch.float32, torch.float64, torch.bfloat16])
def test_chosen_keys_equal_the_definition(name, dtype, either_form):
    query, key, value = heads(dtype=dtype)
    value = value[..., :5]
    mask = masks()[name]
    ours = sparse_attention(query, key, value, mask, 0.4, backend="cpu")
    exact = (x.double() for x in (query, key, value))
    expected = reference.sparse_attention(*exact, mask, 0.4)
    tolerance = 2e-2 if dtype == torch.bfloat16 else 1e-6
    assert ours.dtype == dtype
    torch.testing.assert_close(ours.double(), expected, rtol=tolerance, atol=tolerance)


def test_all_keys_make_dense_attention(either_form):
    query, key, value = heads()
    dense = torch.nn.functional.scaled_dot_product_attention(query, key, value, scale=0.4)
    for backend in ("cpu", "reference"):
        ours = sparse_attention(query, key, value, masks()["all"], 0.4, backend=backend)
        torch.testing.assert_close(ours, dense)


@pytest.mark.parametrize("backend", ["reference", "cpu"])
def test_empty_batch(backend):
    query, key, value = (x[:0] for x in heads())
    mask = keep_largest(random(0, 3, 7, 9), 4, backend)
    assert sparse_attention(query, key, value, mask, 1.0, backend=backend).shape == (0, 3, 7, 8)
    index = torch.zeros(0, 3, 2, 1, dtype=torch.int64)
    assert block_attention(query, key, value, index, 1.0, 4, 4, None, backend).shape == (0, 3, 7, 8)


def test_large_scores(either_form):
    query, key, value = (100 * x for x in heads())
    for mask in masks().values():
        ours = sparse_attention(query, key, value, mask, 1.0, backend="cpu")
        assert ours.isfinite().all()


def test_gradients():
    tensors = [x.double().requires_grad_() for x in heads(4, 5, 3)]
    mask = keep_largest(random(2, 3, 4, 5), 2)
    mask[0, 0, 0] = False
    bias = random(2, 3, 4, 5, seed=9).double().requires_grad_()
    assert torch.autograd.gradcheck(
        lambda q, k, v, b: sparse_attention(q, k, v, mask, 0.5, b), (*tensors, bias)
    )


def test_a_wanted_gradient_is_given_whatever_the_form():
    query, key, value = (x.requires_grad_() for x in heads())
    sparse_attention(query, key, value, masks()["ragged"], 0.4, backend="cpu").sum().backward()
    assert all(x.grad is not None and x.grad.isfinite().all() for x in (query, key, value))


@settings(max_examples=25, deadline=None)
@given(
    queries=st.integers(1, 20),
    keys=st.integers(1, 20),
    query_block=st.integers(1, 8),
    key_block=st.integers(1, 8),
    weighted=st.booleans(),
    data=st.data(),
)
def test_blocks_equal_the_definition(queries, keys, query_block, key_block, weighted, data):
    tensors = heads(queries, keys, 4)
    blocks = -(-queries // query_block), -(-keys // key_block)
    count = data.draw(st.integers(1, blocks[1]))
    index = random(2, 3, *blocks, seed=3).topk(count).indices
    weight = random(*index.shape, seed=4).exp() if weighted else None
    arguments = (*tensors, index, 0.5, query_block, key_block, weight)
    torch.testing.assert_close(
        block_attention(*arguments), reference.block_attention(*arguments), rtol=1e-4, atol=1e-5
    )


def test_gradients_of_blocks():
    tensors = [x.double().requires_grad_() for x in heads(5, 6, 3)]
    index = random(2, 3, 2, 2, seed=3).topk(1).indices
    weight = random(*index.shape, seed=4).exp().double().requires_grad_()
    arguments = (index, 0.5, 3, 4)
    ours, expected = (
        torch.autograd.grad(form(*tensors, *arguments, weight).square().sum(), [*tensors, weight])
        for form in (block_attention, reference.block_attention)
    )
    for a, b in zip(ours, expected, strict=True):
        torch.testing.assert_close(a, b)


@pytest.mark.parametrize("backend", ["reference", "cpu"])
def test_opcheck(backend):
    query, key, value = heads()
    torch.library.opcheck(torch.ops.foveate.keep_largest.default, (random(3, 9), 4, backend))
    arguments = (query, key, value, masks()["ragged"], 0.4, None, backend)
    torch.library.opcheck(torch.ops.foveate.sparse_attention.default, arguments)


def test_opcheck_of_what_they_call(either_form):
    query, key, value = heads()
    torch.library.opcheck(torch.ops.foveate.keep_largest_cpu.default, (random(3, 9), 4))
    arguments = (query, key, value, masks()["even"], 0.4)
    torch.library.opcheck(torch.ops.foveate.sparse_attention_cpu.default, arguments)


def test_autocast_leaves_the_dtype_alone():
    query, key, value = heads()
    with torch.autocast("cpu", dtype=torch.bfloat16):
        out = sparse_attention(query, key, value, masks()["even"], 0.4)
    assert out.dtype == torch.float32


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"key": torch.zeros(2, 3, 9, 7)}, "key"),
        ({"value": torch.zeros(2, 3, 8, 8)}, "value"),
        ({"query": torch.zeros(3, 7, 8)}, "query"),
        ({"key": torch.zeros(2, 3, 9, 8, dtype=torch.int64)}, "key must be floating"),
        ({"mask": torch.zeros(2, 3, 7, 9)}, "mask must be bool"),
        ({"mask": torch.zeros(2, 3, 7, 8, dtype=torch.bool)}, "mask"),
        ({"bias": torch.zeros(7, 9)}, "bias"),
        ({"backend": "fast"}, "unknown"),
    ],
)
def test_bad_input(change, message):
    query, key, value = heads()
    arguments = {"query": query, "key": key, "value": value, "mask": masks()["even"]}
    with pytest.raises(ValueError, match=message):
        sparse_attention(**{**arguments, "scale": 1.0, **change})
