"""The fast CPU form against the definition: values, gradients, memory, and what is left exact."""

import pytest
import torch
from hypothesis import given, settings
from torch import Tensor

from kernels import bench
from kernels.bi_level_routing import cpu, routed_attention

from .cases import Case, cases, gradients, named


def both(case: Case, dtype: torch.dtype) -> tuple[dict[str, Tensor], dict[str, Tensor]]:
    """Output and gradients by the cpu form in `dtype` and by the definition in float64."""
    inputs = case.make(dtype)
    exact = {
        n: x.detach().double().requires_grad_() if isinstance(x, Tensor) and x.requires_grad else x
        for n, x in inputs.items()
    }
    out = routed_attention(**inputs, backend="cpu")
    expected = routed_attention(**exact, backend="reference")
    return (
        {"out": out, **gradients(out, inputs)},
        {"out": expected, **gradients(expected, exact)},
    )


# Of the largest value. The definition computed in half precision is as far from float64.
TOLERANCE = {torch.float64: 1e-13, torch.float32: 5e-6, torch.bfloat16: 1.5e-2, torch.float16: 2e-3}


@pytest.mark.parametrize("dtype", TOLERANCE, ids=str)
@pytest.mark.parametrize("case", named.values(), ids=named)
def test_equals_the_definition(case: Case, dtype: torch.dtype) -> None:
    ours, expected = both(case, dtype)
    assert set(ours) == set(expected)
    for name, x in ours.items():
        assert x.dtype == dtype
        allowed = (
            TOLERANCE[dtype] * expected[name].detach().abs().amax().item() if x.numel() else 0.0
        )
        torch.testing.assert_close(x.double(), expected[name], rtol=0, atol=allowed, msg=name)


@given(cases)
@settings(max_examples=60, deadline=None)
def test_equals_the_definition_whatever_the_case(case: Case) -> None:
    ours, expected = both(case, torch.float64)
    for name, x in ours.items():
        torch.testing.assert_close(x, expected[name], msg=name)


@pytest.mark.parametrize("block", [1, 500, 2000], ids=lambda n: f"block {n}")
@pytest.mark.parametrize("case", [named["plain"], named["everything"]], ids=["plain", "everything"])
def test_the_block_size_changes_nothing(
    case: Case, block: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(cpu, "BLOCK", block)
    ours, expected = both(case, torch.float64)
    for name, x in ours.items():
        torch.testing.assert_close(x, expected[name], msg=name)


@pytest.mark.parametrize("case", [named["plain"], named["everything"]], ids=["plain", "everything"])
def test_gradcheck(case: Case) -> None:
    inputs = case.make(torch.float64)
    names = [n for n, x in inputs.items() if isinstance(x, Tensor) and x.requires_grad]

    def function(*tensors: Tensor) -> Tensor:
        return routed_attention(**(inputs | dict(zip(names, tensors, strict=True))), backend="cpu")

    assert torch.autograd.gradcheck(function, [inputs[n] for n in names], fast_mode=True)


def test_strided_inputs_are_read_as_they_lie() -> None:
    inputs = Case().make()
    expected = routed_attention(**inputs, backend="cpu")
    q, k = inputs["query"], inputs["key"]
    fused = torch.cat([torch.nn.functional.pad(q, (0, 0, 0, 2, 0, 2)), k], dim=-1).detach()
    inputs["query"] = fused[:, :5, :3, :6]
    inputs["key"] = fused[..., 6:]
    inputs["value"] = inputs["value"].detach().transpose(1, 2).contiguous().transpose(1, 2)
    inputs["index"] = inputs["index"].repeat_interleave(2, dim=-1)[..., ::2]
    assert not any(inputs[n].is_contiguous() for n in ("query", "key", "value", "index"))
    torch.testing.assert_close(routed_attention(**inputs, backend="cpu"), expected)


def test_an_expanded_cotangent_is_accepted() -> None:
    inputs = Case().make()
    routed_attention(**inputs, backend="cpu").sum().backward()
    ours = inputs["value"].grad.clone()
    inputs["value"].grad = None
    routed_attention(**inputs, backend="reference").sum().backward()
    torch.testing.assert_close(ours, inputs["value"].grad)


def test_regions_chosen_by_nobody_have_exactly_no_gradient() -> None:
    inputs = Case().make()
    inputs["index"] = inputs["index"] % 2 * 3  # regions 0 and 3 only
    grads = gradients(routed_attention(**inputs, backend="cpu"), inputs)
    for name in ("key", "value"):
        unchosen = grads[name][:, [1, 2, 4, 5, 6]]
        assert torch.equal(unchosen, torch.zeros_like(unchosen))
        assert (grads[name][:, [0, 3]] != 0).all()


@pytest.mark.parametrize("backend", ["reference", "cpu"])
def test_a_broken_key_reaches_only_queries_routed_to_it(backend: str) -> None:
    inputs = {n: x.detach() if isinstance(x, Tensor) else x for n, x in Case().make().items()}
    inputs["key"][0, 2, 1, 0] = torch.nan
    broken = routed_attention(**inputs, backend=backend).isnan().any(-1)
    routed = (inputs["index"] == 2).any(-1)
    routed[1] = False
    assert torch.equal(broken, routed[..., None].expand_as(broken))


def test_the_batch_does_not_mix() -> None:
    inputs = Case(batch=3).make()
    out = routed_attention(**inputs, backend="cpu")
    for b in range(3):
        alone = {n: x[b : b + 1] if isinstance(x, Tensor) else x for n, x in inputs.items()}
        torch.testing.assert_close(routed_attention(**alone, backend="cpu"), out[b : b + 1])


def test_runs_the_same_twice_under_deterministic_algorithms() -> None:
    inputs = Case(query_regions=40, key_regions=3).make()
    before = torch.are_deterministic_algorithms_enabled()
    torch.use_deterministic_algorithms(True)
    try:
        runs = [gradients(routed_attention(**inputs, backend="cpu"), inputs) for _ in range(3)]
    finally:
        torch.use_deterministic_algorithms(before)
    for run in runs[1:]:
        assert all(torch.equal(run[name], runs[0][name]) for name in run)


@pytest.mark.parametrize("bad", [-1, 7])
def test_an_index_outside_the_regions_is_named(bad: int) -> None:
    inputs = Case().make()
    inputs["index"][0, 0, 0] = bad  # would read a region of another sample
    with pytest.raises(IndexError, match=r"\[0, 7\)"):
        routed_attention(**inputs, backend="cpu")


def test_second_derivatives_are_refused_not_wrong() -> None:
    inputs = Case().make()
    (grad,) = torch.autograd.grad(
        routed_attention(**inputs, backend="cpu").square().sum(), inputs["query"], create_graph=True
    )
    with pytest.raises(RuntimeError, match="autograd"):
        grad.sum().backward()


def test_memory_is_a_block_and_the_results(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(cpu, "BLOCK", 1 << 15)
    regions, tokens, channels, topk = 64, 16, 32, 16
    query, key, value = (
        torch.randn(1, regions, tokens, channels, requires_grad=True) for _ in range(3)
    )
    index = torch.stack([torch.randperm(regions)[:topk] for _ in range(regions)])[None]

    def run(backend: str) -> Tensor:
        out = routed_attention(query, key, value, index, 2, 0.2, backend=backend)
        return torch.autograd.grad(out.sum(), [query, key, value])[0]

    one = 4 * query.numel()  # bytes of the queries, and of anything of their size
    gathered = 2 * topk * one
    assert bench.peak_memory(lambda: run("reference")) > gathered
    # Output, cotangent and three gradients; keys and values of a block and their gradients.
    assert bench.peak_memory(lambda: run("cpu")) < 6 * one + 4 * 4 * cpu.BLOCK < gathered / 2
