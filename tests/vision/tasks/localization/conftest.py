"""Small films of a square that blinks at the left or at the right, or does nothing."""

import json
from pathlib import Path

import av
import numpy as np
import pytest

from vision.tasks.localization.train import train

FPS = 10
RECIPE = """
name = "blinks"
seed = 0
annotations = "blinks.json"
videos = "films"
licence = "CC0-1.0"

[model]
head = "points"
window = 12.8
lookahead = 2.0
hop = 1.0

[model.features]
parts = ["motion"]
motion_cells = 4
rate = 5.0

[model.frames]
width = 16
dropout = 0.1

[model.points]
layers = [1, 0, 3]
width = 16

[model.bmn]
samples = 4
hidden = 8
hidden_3d = 8
hidden_2d = 8

[optim]
steps = 80
batch = 4
lr = 1e-2
warmup = 5
ema = 0.9
"""


def film(path: Path, actions: list[tuple[float, float, str]], seconds: float, seed: int) -> None:
    """Write a film in which a square blinks at its place while an action lasts."""
    rng = np.random.default_rng(seed)
    with av.open(str(path), "w") as container:
        stream = container.add_stream("libx264", rate=FPS)
        stream.width = stream.height = 64
        stream.pix_fmt = "yuv420p"
        stream.options = {"crf": "12"}
        for n in range(round(seconds * FPS)):
            picture = np.full((64, 64, 3), 90, np.uint8)
            for start, end, label in actions:
                if start <= n / FPS < end:
                    x = 4 if label == "left" else 40
                    picture[16:48, x : x + 20] = rng.integers(0, 255)
            for packet in stream.encode(av.VideoFrame.from_ndarray(picture, format="rgb24")):
                container.mux(packet)
        for packet in stream.encode(None):
            container.mux(packet)


@pytest.fixture(scope="session")
def blinks(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Root with `films/`, `blinks.json` and `recipe.toml`."""
    root = tmp_path_factory.mktemp("blinks")
    (root / "films").mkdir()
    database = {}
    for n in range(5):
        shift = 0.4 * n
        actions = [(1 + shift, 3 + shift, "left"), (5.0, 8.0 - shift / 2, "right")]
        if n % 2:
            actions = [(s, e, "right" if k == "left" else "left") for s, e, k in actions]
        film(root / "films" / f"film{n}.mp4", actions, 10.0, n)
        database[f"film{n}"] = {
            "subset": "validation" if n == 4 else "training",
            "duration": 10.0,
            "annotations": [{"segment": [s, e], "label": k} for s, e, k in actions],
        }
    (root / "blinks.json").write_text(json.dumps({"version": "1", "database": database}))
    (root / "recipe.toml").write_text(RECIPE)
    return root


@pytest.fixture(scope="session")
def cache(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("cache")


@pytest.fixture(autouse=True)
def own_cache(monkeypatch: pytest.MonkeyPatch, cache: Path) -> None:
    """Keep features of tests out of the user's folder."""
    monkeypatch.setenv("FOVEATE_CACHE", str(cache))


@pytest.fixture(scope="session")
def weights(blinks: Path, cache: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A multi-scale localizer of the films."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("FOVEATE_CACHE", str(cache))
        return train(str(blinks / "recipe.toml"), blinks, tmp_path_factory.mktemp("weights"))
