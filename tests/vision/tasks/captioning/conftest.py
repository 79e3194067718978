"""Coloured squares with captions, and a captioner trained on them in seconds."""

import gzip
import json
from pathlib import Path

import pytest

from tests.vision.tasks.detection.conftest import CATEGORIES, write_dataset
from vision.tasks.captioning.predict import CaptionPredictor
from vision.tasks.captioning.train import train

RECIPE = """
name = "tiny_captioner"
seed = 0
text = "text.json.gz"
named = "named.json"
without = []
share = 0.6
least = 1
validate_every = 1000
licence = "none"
data = "made up"

[model]
length = 6
width = 32
word_width = 16
attention_width = 16
feature_width = 32
dropout = 0.0
region_dropout = 0.0

[regions]
size = 96
grid = 2

[losses]
reconstruct = 0.5
attention = 0.1

[optim]
steps = 120
batch = 16
lr = 1e-2
warmup = 5
ema = 0.9

[val]
annotations = "val.json"
images = "val.tar"

[[pictures]]
annotations = "train.json"
images = "train.tar"
"""


def describe(path: Path) -> None:
    """Add captions that name the colour of each picture's square."""
    truth = json.loads(path.read_text())
    names = {c["id"]: c["name"] for c in CATEGORIES}
    truth["captions"] = []
    for box in truth["annotations"]:
        name = names[box["category_id"]]
        for text in (f"A {name} square.", f"the {name} square here"):
            truth["captions"].append(
                {
                    "id": len(truth["captions"]),
                    "image_id": box["image_id"],
                    "caption": text,
                    "grounding": [{"index": 1, "category_id": box["category_id"]}],
                }
            )
    path.write_text(json.dumps(truth))


@pytest.fixture(scope="session")
def squares(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Folder with train and val pictures, their captions, captions alone, and a recipe."""
    root = tmp_path_factory.mktemp("squares")
    for n, (name, count) in enumerate({"train": 16, "val": 6}.items()):
        write_dataset(root, name, count, n)
        describe(root / f"{name}.json")
    texts = {str(1000 + n): [f"a {name} square"] for n, name in enumerate(("red", "green"))}
    (root / "text.json.gz").write_bytes(gzip.compress(json.dumps(texts).encode()))
    (root / "named.json").write_text(json.dumps({c["name"]: c["id"] for c in CATEGORIES}))
    (root / "tiny.toml").write_text(RECIPE)
    return root


@pytest.fixture(scope="session")
def trained(squares: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Weights of a captioner that knows red from green squares."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("FOVEATE_CACHE", str(tmp_path_factory.mktemp("cache")))
        return train(str(squares / "tiny.toml"), squares, tmp_path_factory.mktemp("run"))


@pytest.fixture(scope="session")
def captioner(trained: Path) -> CaptionPredictor:
    """The captioner of squares."""
    return CaptionPredictor.from_weights(str(trained), device="cpu")
