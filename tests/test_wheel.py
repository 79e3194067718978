"""The wheel: built, installed outside the checkout, and used with the network off."""

import os
import subprocess
import sys
import venv
import zipfile
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent

USE = """
import sys
from pathlib import Path
import foveate, kernels, vision, video, demos
inside = Path(sys.prefix)
for module in (foveate, kernels, vision, video, demos):
    assert inside in Path(module.__file__).parents, module.__file__
import numpy as np
from foveate import Detector
detector = Detector.from_weights(device="cpu")
(result,) = detector.predict([np.zeros((64, 96, 3), np.uint8)])
print(result.width, result.height)
"""


def run(*command: str | Path, cwd: Path) -> str:
    """Run a command away from the checkout, with every way to a network pointing nowhere."""
    nowhere = "http://127.0.0.1:9"
    environment = {
        **{k: v for k, v in os.environ.items() if k != "PYTHONPATH"},
        "HTTP_PROXY": nowhere,
        "HTTPS_PROXY": nowhere,
        "HF_HUB_OFFLINE": "1",
    }
    done = subprocess.run(
        [str(part) for part in command],
        cwd=cwd,
        env=environment,
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


@pytest.fixture(scope="module")
def wheel(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("dist")
    # Without isolation the build backend comes from this environment, not from the network.
    run(sys.executable, "-m", "build", "--wheel", "--no-isolation", "-o", folder, ROOT, cwd=folder)
    (path,) = folder.glob("*.whl")
    return path


def test_the_wheel_holds_what_it_should(wheel):
    names = zipfile.ZipFile(wheel).namelist()
    tops = {name.split("/")[0] for name in names}
    assert {"foveate.py", "kernels", "vision", "video", "demos"} < tops
    assert not tops & {"tests", "weights", "docs", "scripts"}
    assert "vision/_weights/catalogue.toml" in names
    assert any(name.startswith("vision/_weights/recipes/") for name in names)
    assert all(f"{top}/py.typed" in names for top in ("kernels", "vision", "video", "demos"))
    assert any(name.endswith("licenses/NOTICE") for name in names)
    assert wheel.stat().st_size < 80_000_000


def test_it_works_installed_elsewhere(wheel, tmp_path):
    """Into an environment that sees this one's packages, but not this checkout."""
    home = tmp_path / "env"
    venv.create(home, with_pip=False)
    python = home / "bin/python"
    (site,) = home.glob("lib/python3.*/site-packages")
    ours = next(p for p in sys.path if p.endswith("site-packages"))
    # A path file adds packages without running the path files there, such as our own editable one.
    (site / "borrowed.pth").write_text(f"{ours}\n")
    pip = (sys.executable, "-m", "pip", "--python", python)
    run(*pip, "install", "--no-deps", "--no-index", wheel, cwd=tmp_path)
    assert run(python, "-c", USE, cwd=tmp_path).split() == ["96", "64"]
    assert "detect" in run(home / "bin/foveate", "--help", cwd=tmp_path)


@pytest.mark.slow
def test_it_works_in_a_fresh_environment(wheel, tmp_path):
    """With its own dependencies, from the package index."""
    home = tmp_path / "env"
    venv.create(home, with_pip=True)
    python = home / "bin/python"
    subprocess.run(
        [python, "-m", "pip", "install", "-q", "-c", ROOT / "constraints.txt", wheel],
        cwd=tmp_path,
        check=True,
    )
    assert run(python, "-c", USE, cwd=tmp_path).split() == ["96", "64"]
