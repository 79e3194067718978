"""The public names, their laziness, and the check of package names."""

import subprocess
import sys

import pytest

import foveate


@pytest.mark.parametrize("name", foveate.EXPORTS)
def test_every_public_name_is_there(name):
    assert getattr(foveate, name) is not None
    assert name in dir(foveate)


def test_an_unknown_name_is_an_attribute_error():
    with pytest.raises(AttributeError, match="no attribute 'Detectr'"):
        _ = foveate.Detectr


def python(code: str, **kwargs) -> subprocess.CompletedProcess:
    return subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, check=False, **kwargs
    )


def test_importing_costs_nothing():
    heavy = "{'torch', 'timm', 'cv2', 'gradio', 'pydantic'}"
    run = python(f"import sys, foveate, vision; print(sorted({heavy} & set(sys.modules)))")
    assert run.stdout.strip() == "[]", run.stderr


@pytest.mark.parametrize("order", ["import vision, timm", "import timm, vision"])
def test_backbones_are_registered_in_either_order(order):
    run = python(f"{order}; print(timm.is_model('biformer_tiny'))")
    assert run.stdout.strip() == "True", run.stderr


def test_a_foreign_kernels_package_is_named(tmp_path):
    (tmp_path / "kernels").mkdir()
    (tmp_path / "kernels/__init__.py").write_text("")
    code = f"import sys; sys.path.insert(0, {str(tmp_path)!r}); import foveate; foveate.main()"
    run = python(code)
    assert run.returncode == 2
    assert "pip uninstall kernels" in run.stderr
    assert len(run.stderr.strip().splitlines()) == 1
