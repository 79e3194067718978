"""The operator among PyTorch's tools: opcheck, compile, export, ONNX, fx, TorchScript, autocast."""

from pathlib import Path
from typing import Any

import onnxruntime
import pytest
import torch
from torch import Tensor, nn

from kernels.gaussian_adaptive import gaussian_weights

from .cases import Case, gradients, named

SOME = ["plain", "channels", "mask and unit mean", "empty batch"]


class Gate(nn.Module):
    """A model around the operator as a user writes one."""

    def __init__(self) -> None:
        super().__init__()
        self.offsets = nn.Parameter(torch.tensor([[0.1], [-0.2]]))
        self.scales = nn.Parameter(torch.tensor([[1.0], [2.0]]))

    def forward(self, x: Tensor) -> Tensor:
        return x * gaussian_weights(x, self.offsets, self.scales, axis=-1, unit_mean=True)


@pytest.fixture
def model() -> Gate:
    return Gate().eval()


@pytest.fixture
def x() -> Tensor:
    return torch.randn(2, 5, 9, generator=torch.Generator().manual_seed(0))


@pytest.mark.parametrize("name", SOME)
@pytest.mark.parametrize("backend", ["reference", "cpu"])
def test_opcheck(name: str, backend: str) -> None:
    inputs = named[name].make()
    arguments = [inputs.pop(n) for n in ("x", "offsets", "scales", "axis", "mask")]
    torch.library.opcheck(
        torch.ops.foveate.gaussian_weights.default, tuple(arguments), {**inputs, "backend": backend}
    )


@pytest.mark.parametrize("masked", [False, True], ids=["plain", "mask"])
@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16], ids=str)
def test_opcheck_of_what_it_calls(masked: bool, dtype: torch.dtype) -> None:
    inputs = Case(masked=masked).make()
    x, mask = inputs["x"].detach().to(dtype), inputs["mask"]
    precision, pull = torch.tensor([0.5, 1.0, 2.0]), torch.tensor([0.1, 0.0, -0.1])
    arguments = (x, precision, pull, 1, mask, 1e-8, True, False)
    operator = torch.ops.foveate.gaussian_weights_cpu.default
    torch.library.opcheck(operator, arguments)
    torch.library.opcheck(operator, (x.clone().requires_grad_(), *arguments[1:]))
    outputs = operator(*arguments)
    torch.library.opcheck(
        torch.ops.foveate.gaussian_weights_cpu_backward.default,
        (torch.randn_like(x), *outputs, x, precision, pull, 1, mask, True, False),
    )


@pytest.mark.parametrize("name", SOME[:3])
def test_compile(name: str) -> None:
    inputs = named[name].make()
    eager = gaussian_weights(**inputs)
    expected = gradients(eager, inputs)
    out = torch.compile(gaussian_weights, backend="aot_eager", fullgraph=True)(**inputs)
    torch.testing.assert_close(out, eager)
    for name_, grad in gradients(out, inputs).items():
        torch.testing.assert_close(grad, expected[name_])


def test_export_keeps_one_node_and_a_free_batch(model: Gate, x: Tensor, tmp_path: Path) -> None:
    batch = torch.export.Dim("batch", min=1)
    program = torch.export.export(model, (x,), dynamic_shapes=({0: batch},))
    operator = torch.ops.foveate.gaussian_weights.default
    assert [node.target for node in program.graph.nodes].count(operator) == 1
    torch.export.save(program, tmp_path / "model.pt2")
    loaded = torch.export.load(tmp_path / "model.pt2").module()
    more = torch.cat([x, 2 * x, -x])
    torch.testing.assert_close(loaded(more), model(more))


@pytest.mark.filterwarnings("ignore")
def test_onnx_needs_nothing_of_the_user(model: Gate, x: Tensor, tmp_path: Path) -> None:
    dynamic: dict[str, Any] = {"dynamic_shapes": ({0: torch.export.Dim("batch", min=1)},)}
    program = torch.onnx.export(model, (x,), dynamo=True, verbose=False, **dynamic)
    program.save(tmp_path / "model.onnx")
    session = onnxruntime.InferenceSession(tmp_path / "model.onnx")
    more = torch.cat([x, 2 * x, -x])
    (out,) = session.run(None, {session.get_inputs()[0].name: more.numpy()})
    torch.testing.assert_close(torch.from_numpy(out), model(more), rtol=1e-4, atol=1e-5)


@pytest.mark.filterwarnings("ignore")  # TorchScript announces its own end
def test_fx_and_torchscript(model: Gate, x: Tensor) -> None:
    traced = torch.fx.symbolic_trace(model)
    for copy in (traced, torch.jit.script(model), torch.jit.script(traced)):
        assert torch.equal(copy(x), model(x))


def test_meta_device_gives_shapes(model: Gate, x: Tensor) -> None:
    assert model.to("meta")(x.to("meta")).shape == x.shape


@pytest.mark.parametrize("backend", ["reference", "cpu"])
@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16], ids=str)
def test_autocast_changes_nothing(backend: str, dtype: torch.dtype) -> None:
    inputs = Case().make(dtype)
    expected = gaussian_weights(**inputs, backend=backend)
    grads = gradients(expected, inputs)
    with torch.autocast("cpu", torch.bfloat16):
        out = gaussian_weights(**inputs, backend=backend)
    assert torch.equal(out, expected)
    for name, grad in gradients(out, inputs).items():
        assert torch.equal(grad, grads[name])


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"x": torch.zeros(2, 11, 3, dtype=torch.int64)}, "x must be floating"),
        ({"axis": 3}, "have an axis 3"),
        ({"axis": -4}, "have an axis -4"),
        ({"offsets": torch.zeros(3)}, "must both be"),
        ({"offsets": torch.zeros(3, 1)}, "must both be"),
        ({"offsets": torch.zeros(3, 0), "scales": torch.zeros(3, 0)}, "must both be"),
        ({"x": torch.zeros(2, 2, 3)}, "shorter than 3 heads"),
        ({"mask": torch.ones(2, 11, 3)}, "mask must be bool"),
        ({"mask": torch.ones(2, 10, 3, dtype=torch.bool)}, "mask must be bool"),
        ({"mask": torch.ones(1, 2, 11, 3, dtype=torch.bool)}, "mask must be bool"),
        ({"backend": "triton"}, "triton"),
    ],
)
def test_bad_input_is_named(change: dict[str, Any], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        gaussian_weights(**(Case().make() | change))
