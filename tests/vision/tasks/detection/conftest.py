"""A small data set of coloured rectangles in a tar, with COCO annotations."""

import io
import json
import tarfile
from pathlib import Path

import cv2
import numpy as np
import pytest

CATEGORIES = [{"id": 3, "name": "red"}, {"id": 8, "name": "green"}]


def write_dataset(root: Path, name: str, count: int, seed: int) -> None:
    rng = np.random.default_rng(seed)
    images, annotations = [], []
    with tarfile.open(root / f"{name}.tar", "w") as archive:
        for n in range(count):
            height, width = (int(v) for v in rng.integers(70, 110, 2))
            picture = rng.integers(90, 130, (height, width, 3)).astype(np.uint8)
            channel = n % 2
            w, h = (int(v) for v in rng.integers(30, 50, 2))
            x, y = int(rng.integers(0, width - w)), int(rng.integers(0, height - h))
            picture[y : y + h, x : x + w] = 20
            picture[y : y + h, x : x + w, channel] = 230
            content = cv2.imencode(".png", picture[:, :, ::-1])[1].tobytes()
            member = tarfile.TarInfo(f"{n:03}.png")
            member.size = len(content)
            archive.addfile(member, io.BytesIO(content))
            images.append({"id": n, "file_name": member.name, "width": width, "height": height})
            annotations.append(
                {
                    "id": n + 1,
                    "image_id": n,
                    "category_id": CATEGORIES[channel]["id"],
                    "bbox": [x, y, w, h],
                    "area": w * h,
                    "iscrowd": 0,
                }
            )
    truth = {"images": images, "annotations": annotations, "categories": CATEGORIES}
    (root / f"{name}.json").write_text(json.dumps(truth))


@pytest.fixture(scope="session")
def rectangles(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Folder with train.tar, train.json, val.tar and val.json."""
    root = tmp_path_factory.mktemp("rectangles")
    write_dataset(root, "train", 24, 0)
    write_dataset(root, "val", 8, 1)
    return root


@pytest.fixture(scope="session")
def recipe(rectangles: Path) -> Path:
    """A recipe that trains a tiny detector on the rectangles."""
    path = rectangles / "tiny.toml"
    path.write_text(
        """
name = "tiny"
seed = 1
categories = "train.json"
init = "random"
validate_every = 20
licence = "CC0-1.0"
data = "drawn rectangles"
[model]
backbone = "test_efficientnet"
channels = 32
convs = 1
size = 96
[optim]
steps = 40
batch = 4
lr = 4e-3
warmup = 5
ema = 0.8
[augment]
mosaic = 0.0
scale = [0.9, 1.1]
colour = 0.0
grey = 0.0
[val]
annotations = "val.json"
images = "val.tar"
[[train]]
images = "train.tar"
annotations = "train.json"
"""
    )
    return path
