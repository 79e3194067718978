"""The operator among PyTorch's tools: opcheck, compile, export, ONNX, fx, TorchScript, autocast."""

from pathlib import Path
from typing import Any

import onnxruntime
import pytest
import torch
from torch import Tensor, nn

from kernels.bi_level_routing import region_descriptors, route, routed_attention

from .cases import Case, gradients, named

SOME = ["plain", "per head", "everything", "empty batch"]


class Attention(nn.Module):
    """A model around the operator as a user writes one."""

    def __init__(self, topk: int = 2, heads: int = 2) -> None:
        super().__init__()
        self.qkv = nn.Linear(4, 12)
        self.topk = topk
        self.heads = heads

    def forward(self, x: Tensor) -> Tensor:
        q, k, v = self.qkv(x).chunk(3, dim=-1)
        index, logits = route(region_descriptors(q), region_descriptors(k), self.topk)
        weight = logits.softmax(dim=-1)
        return routed_attention(q, k, v, index, heads=self.heads, scale=0.5, weight=weight)


@pytest.fixture
def model() -> Attention:
    torch.manual_seed(0)
    return Attention().eval()


@pytest.fixture
def x() -> Tensor:
    return torch.randn(2, 5, 3, 4, generator=torch.Generator().manual_seed(0))


@pytest.mark.parametrize("name", SOME)
@pytest.mark.parametrize("backend", ["reference", "cpu"])
def test_opcheck(name: str, backend: str) -> None:
    arguments = tuple(named[name].make().values())
    torch.library.opcheck(torch.ops.foveate.routed_attention.default, (*arguments, backend))


@pytest.mark.parametrize("soft", [False, True], ids=["plain", "soft"])
@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16], ids=str)
def test_opcheck_of_what_it_calls(soft: bool, dtype: torch.dtype) -> None:
    case = Case(value_channels=3, weighted=soft, masked=soft)
    arguments = tuple(case.make(dtype).values())
    torch.library.opcheck(torch.ops.foveate.routed_attention_cpu.default, arguments)
    detached = [x.detach() if isinstance(x, Tensor) else x for x in arguments]
    out, log_sum = torch.ops.foveate.routed_attention_cpu(*detached)
    torch.library.opcheck(
        torch.ops.foveate.routed_attention_cpu_backward.default,
        (torch.randn_like(out), out, log_sum, *detached),
    )


@pytest.mark.parametrize("name", SOME[:3])
def test_compile(name: str) -> None:
    inputs = named[name].make()
    eager = routed_attention(**inputs)
    expected = gradients(eager, inputs)
    compiled = torch.compile(routed_attention, backend="aot_eager", fullgraph=True)
    out = compiled(**inputs)
    torch.testing.assert_close(out, eager)
    for name_, grad in gradients(out, inputs).items():
        torch.testing.assert_close(grad, expected[name_])


@pytest.mark.slow
def test_compile_with_inductor(model: Attention, x: Tensor) -> None:
    torch.testing.assert_close(torch.compile(model, fullgraph=True)(x), model(x))


def test_export_keeps_one_node_and_a_free_batch(
    model: Attention, x: Tensor, tmp_path: Path
) -> None:
    batch = torch.export.Dim("batch", min=1)
    program = torch.export.export(model, (x,), dynamic_shapes=({0: batch},))
    calls = [
        n for n in program.graph.nodes if n.target is torch.ops.foveate.routed_attention.default
    ]
    assert len(calls) == 1
    torch.export.save(program, tmp_path / "model.pt2")
    loaded = torch.export.load(tmp_path / "model.pt2").module()
    more = torch.cat([x, 2 * x, -x])
    torch.testing.assert_close(loaded(more), model(more))


@pytest.mark.parametrize("exported_first", [False, True], ids=["model", "program"])
@pytest.mark.filterwarnings("ignore")
def test_onnx_needs_nothing_of_the_user(
    model: Attention, x: Tensor, exported_first: bool, tmp_path: Path
) -> None:
    dynamic: dict[str, Any] = {"dynamic_shapes": ({0: torch.export.Dim("batch", min=1)},)}
    source = torch.export.export(model, (x,), **dynamic) if exported_first else model
    program = torch.onnx.export(source, (x,), dynamo=True, verbose=False, **dynamic)
    program.save(tmp_path / "model.onnx")
    session = onnxruntime.InferenceSession(tmp_path / "model.onnx")
    more = torch.cat([x, 2 * x, -x])
    (out,) = session.run(None, {session.get_inputs()[0].name: more.numpy()})
    torch.testing.assert_close(torch.from_numpy(out), model(more), rtol=1e-4, atol=1e-5)


@pytest.mark.filterwarnings("ignore")  # TorchScript announces its own end
def test_fx_and_torchscript(model: Attention, x: Tensor) -> None:
    traced = torch.fx.symbolic_trace(model)
    for copy in (traced, torch.jit.script(model), torch.jit.script(traced)):
        assert torch.equal(copy(x), model(x))


def test_meta_device_gives_shapes(model: Attention, x: Tensor) -> None:
    assert model.to("meta")(x.to("meta")).shape == (2, 5, 3, 4)


@pytest.mark.parametrize("backend", ["reference", "cpu"])
def test_vmap(backend: str) -> None:
    inputs = Case(batch=6).make()
    expected = routed_attention(**inputs, backend=backend)
    names = ["query", "key", "value", "index"]

    def one(*tensors: Tensor) -> Tensor:
        return routed_attention(*tensors, heads=2, scale=inputs["scale"], backend=backend)

    stacked = [inputs[n].unflatten(0, (3, 2)) for n in names]
    torch.testing.assert_close(torch.vmap(one)(*stacked).flatten(0, 1), expected)


@pytest.mark.parametrize("backend", ["reference", "cpu"])
@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16], ids=str)
def test_autocast_changes_nothing(backend: str, dtype: torch.dtype) -> None:
    inputs = Case(weighted=True).make(dtype)
    expected = routed_attention(**inputs, backend=backend)
    grads = gradients(expected, inputs)
    with torch.autocast("cpu", torch.bfloat16):
        out = routed_attention(**inputs, backend=backend)
    assert torch.equal(out, expected)
    for name, grad in gradients(out, inputs).items():
        assert torch.equal(grad, grads[name])


def test_the_environment_chooses(monkeypatch: pytest.MonkeyPatch) -> None:
    inputs = Case().make()
    monkeypatch.setenv("FOVEATE_KERNELS", "fastest")
    with pytest.raises(ValueError, match="FOVEATE_KERNELS='fastest'"):
        routed_attention(**inputs)
    monkeypatch.setenv("FOVEATE_KERNELS", "reference")
    out = routed_attention(**inputs)
    monkeypatch.delenv("FOVEATE_KERNELS")
    assert torch.equal(out, routed_attention(**inputs, backend="reference"))


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"query": torch.zeros(2, 5, 3)}, "query must be"),
        ({"heads": 4}, "query must be"),
        ({"heads": 0}, "query must be"),
        ({"key": torch.zeros(1, 7, 5, 6)}, "key must .* share batch"),
        ({"value": torch.zeros(2, 7, 5, 8).double()}, "value must .* dtype"),
        ({"key": torch.zeros(2, 7, 5, 8)}, "key has 8 channels, query 6"),
        ({"value": torch.zeros(2, 7, 4, 8)}, "value .* differs from key"),
        ({"index": torch.zeros(2, 4, 3, dtype=torch.int64)}, "index must be int64"),
        ({"index": torch.zeros(2, 3, 5, 3, dtype=torch.int64)}, "index must be int64"),
        ({"index": torch.zeros(2, 5, 3)}, "index must be int64"),
        ({"index": torch.zeros(2, 5, 0, dtype=torch.int64)}, "index must be int64"),
        ({"index": torch.zeros((), dtype=torch.int64)}, "index must be int64"),
        ({"weight": torch.zeros(2, 5, 2)}, "weight .* differs from index"),
        ({"key_mask": torch.ones(2, 7, 5)}, "key_mask must be bool"),
        ({"key_mask": torch.ones(2, 5, 5, dtype=torch.bool)}, "key_mask must be bool"),
        ({"backend": "triton"}, "no triton form yet"),
    ],
)
def test_bad_input_is_named(change: dict[str, Any], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        routed_attention(**(Case().make() | change))
