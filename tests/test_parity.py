"""The parity command, and parity itself on every fixture there is."""

import json
import os
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file, save_file

from tests import parity
from tests.parity import Check

FIXTURES = Path(__file__).parent / "data" / "fixtures"
STORED = sorted(FIXTURES.iterdir())


def more_fixtures() -> list[Path]:
    """Files of the folder named by FOVEATE_FIXTURES that an adapter knows."""
    folder = os.environ.get("FOVEATE_FIXTURES")
    files = sorted(Path(folder).iterdir()) if folder else []
    return [f for f in files if any(f.name.startswith(p) for p in parity.adapters())]


@pytest.mark.parametrize("path", [*STORED, *more_fixtures()], ids=lambda path: path.name)
def test_parity(path: Path):
    checks = parity.run(path)
    assert checks
    assert not [(check.name, check.error) for check in checks if not check.passed]


@pytest.fixture
def spoiled(tmp_path: Path) -> Path:
    """A fixture whose recorded output is slightly wrong."""
    source = FIXTURES / "biformer_attn_full.safetensors"
    tensors = load_file(source)
    tensors["output.y"] += 1e-3
    path = tmp_path / source.name
    save_file(tensors, path, {"config": json.dumps(parity.load(source).config)})
    return path


def test_command_reports_every_output(capsys):
    assert parity.main([str(FIXTURES / "biformer_attn_full.safetensors")]) == 0
    printed = capsys.readouterr().out
    for name in ("y", "grad.input.x", "grad.weights.qkv.weight", "grad.weights.proj.bias"):
        assert f"ok   {name} " in printed


def test_command_fails_above_tolerance(spoiled, capsys):
    good = str(FIXTURES / "biformer_attn_full.safetensors")
    assert parity.main([good, str(spoiled), good]) == 1
    assert "FAIL y " in capsys.readouterr().out


@pytest.mark.parametrize(
    ("name", "content", "message"),
    [
        ("biformer_x.safetensors", b"no header", "not a readable fixture"),
        ("biformer_state_dict_layouts.json", b"{", "not a readable fixture"),
        ("biformer_absent.safetensors", None, "not a readable fixture"),
        ("unheard_of.safetensors", b"", "no adapter"),
    ],
)
def test_command_names_files_it_cannot_use(tmp_path, capsys, name, content, message):
    if content is not None:
        (tmp_path / name).write_bytes(content)
    assert parity.main([str(tmp_path / name)]) == 2
    error = capsys.readouterr().err
    assert message in error
    assert name in error
    assert error.count("\n") == 1


def test_command_names_an_unknown_kind(tmp_path, capsys):
    path = tmp_path / "biformer_other.safetensors"
    save_file({"input.x": torch.zeros(1)}, path, {"config": '{"kind": "a.b", "args": {}}'})
    assert parity.main([str(path)]) == 2
    assert "unknown kind 'a.b'" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("actual", "expected", "error"),
    [
        (torch.tensor([1.0, 2.0]), torch.tensor([1.0, 4.0]), 0.5),
        (torch.tensor([1.0]), torch.tensor([1.0, 1.0]), float("inf")),
        (torch.tensor([float("nan")]), torch.tensor([1.0]), float("inf")),
        (torch.tensor([float("nan"), 1.0]), torch.tensor([float("nan"), 2.0]), 0.5),
        (torch.tensor([float("inf"), 1.0]), torch.tensor([float("inf"), 2.0]), 0.5),
        (None, torch.tensor([1.0]), float("inf")),
        (torch.zeros(0, 3), torch.zeros(0, 3), 0.0),
        (0.1, 0.0, 0.1),
        (3, 4, 0.25),
        ("a", "a", 0.0),
        ("a", "b", float("inf")),
        ({"a": [1, 2]}, {"a": [1, 4]}, 0.5),
        ({"a": 1}, {"b": 1}, float("inf")),
        ([[1], [2, 3]], [[1], [2, 6]], 0.5),
        (["a"], ["a", "b"], float("inf")),
        (["a", "b"], ["a", "b"], 0.0),
    ],
)
def test_error_is_relative_to_the_largest_expected(actual, expected, error):
    assert Check("x", actual, expected).error == error


def test_scale_is_for_outputs_that_are_zero_but_for_rounding():
    rounding = torch.tensor([1e-8])
    assert not Check("x", -rounding, rounding, 1e-4).passed
    assert Check("x", -rounding, rounding, 1e-4, scale=1.0).passed
