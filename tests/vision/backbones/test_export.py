"""Copies, compiled forms and exported forms of the backbones compute the same."""

import copy
import pickle

import pytest
import torch
from torch import Tensor, nn

from vision.backbones.biformer import biformer_pico, biformer_stl_nchw

BATCH = ({0: torch.export.Dim.DYNAMIC},)


@pytest.fixture(params=[biformer_pico, biformer_stl_nchw], ids=lambda create: create.__name__)
def model(request) -> nn.Module:
    torch.manual_seed(0)
    size = {"depths": (1, 1, 1, 1), "embed_dims": (24, 48, 96, 192), "num_heads": (1, 2, 4, 8)}
    return request.param(**size).eval()


@pytest.fixture
def x() -> Tensor:
    return torch.randn(2, 3, 72, 90)


@pytest.mark.parametrize(
    "clone", [copy.deepcopy, lambda m: pickle.loads(pickle.dumps(m))], ids=["deepcopy", "pickle"]
)
def test_copies(model, x, clone):
    assert clone(model)(x).equal(model(x))


def test_compile_finds_one_graph(model, x):
    compiled = torch.compile(model, backend="aot_eager", fullgraph=True)
    torch.testing.assert_close(compiled(x), model(x))
    model.train()(x).sum().backward()
    gradients = [p.grad.clone() for p in model.parameters()]
    model.zero_grad()
    compiled(x).sum().backward()
    for ours, theirs in zip(model.parameters(), gradients, strict=True):
        torch.testing.assert_close(ours.grad, theirs, rtol=1e-4, atol=1e-5)


@pytest.mark.slow
def test_compile_with_inductor(model, x):
    with torch.inference_mode():
        torch.testing.assert_close(torch.compile(model)(x), model(x), rtol=1e-4, atol=1e-4)


def test_export_takes_any_batch(model, x):
    exported = torch.export.export(model, (x,), dynamic_shapes=BATCH).module()
    more = torch.randn(5, 3, 72, 90)
    torch.testing.assert_close(exported(more), model(more))


def test_onnx_runs_elsewhere(model, x, tmp_path):
    onnxruntime = pytest.importorskip("onnxruntime", reason="needs foveate[onnx]")
    path = tmp_path / "model.onnx"
    torch.onnx.export(model, (x,), path, dynamo=True, dynamic_shapes=BATCH, verbose=False)
    session = onnxruntime.InferenceSession(path)
    more = torch.randn(5, 3, 72, 90)
    (out,) = session.run(None, {session.get_inputs()[0].name: more.numpy()})
    torch.testing.assert_close(torch.from_numpy(out), model(more), rtol=0, atol=1e-4)


def test_bfloat16(model, x):
    half = copy.deepcopy(model).bfloat16()(x.bfloat16())
    assert half.dtype == torch.bfloat16
    torch.testing.assert_close(half.float(), model(x), rtol=0.1, atol=0.05)
