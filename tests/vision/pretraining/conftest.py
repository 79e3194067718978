"""Small pictures whose colour says where a patch lies, in a folder a class."""

import io
import tarfile
from pathlib import Path

import cv2
import numpy as np
import pytest

MODEL = """
encoder = "vit_tiny_patch16_224"
options = { patch_size = 8, embed_dim = 48, depth = 2, num_heads = 3 }
"""

DROPPOS = f"""
name = "tiny"
seed = 1
train = "train.tar"
val = "val.tar"
validate_every = 60
licence = "CC0-1.0"
data = "drawn pictures"
[model]
{MODEL}
[model.view]
size = [32, 32]
scale = [0.9, 1.0]
flip = false
[model.pretext]
mask_ratio = 0.25
decoder_dim = 32
decoder_depth = 1
decoder_heads = 2
[optim]
steps = 120
batch = 16
lr = 4e-3
warmup = 10
shape = "cosine"
betas = [0.9, 0.95]
ema = 0.9
"""

FINETUNE = f"""
name = "classes"
seed = 1
train = "train.tar"
val = "val.tar"
validate_every = 20
licence = "CC0-1.0"
data = "drawn pictures"
[model]
{MODEL.replace("encoder", "model").replace("}", ', img_size = 32, global_pool = "avg" }')}
[model.view]
size = [32, 32]
scale = [0.9, 1.0]
[optim]
steps = 40
batch = 16
lr = 2e-3
warmup = 4
shape = "cosine"
ema = 0.8
"""


def draw(rng: np.random.Generator, lined: bool) -> np.ndarray:
    """Red grows downwards, green to the right; one class has dark lines."""
    rows, columns = np.mgrid[0:40, 0:40] * 5 + 20
    picture = np.stack([rows, columns, np.full_like(rows, 128)], axis=-1)
    if lined:
        picture[::4] //= 3
    noise = rng.integers(-12, 13, picture.shape)
    return np.clip(picture + noise, 0, 255).astype(np.uint8)


def write_pictures(path: Path, count: int, seed: int) -> None:
    rng = np.random.default_rng(seed)
    with tarfile.open(path, "w") as archive:
        for n in range(count):
            folder = ("lined", "plain")[n % 2]
            picture = draw(rng, folder == "lined")
            content = cv2.imencode(".png", picture[:, :, ::-1])[1].tobytes()
            member = tarfile.TarInfo(f"{folder}/{n:03}.png")
            member.size = len(content)
            archive.addfile(member, io.BytesIO(content))


@pytest.fixture(scope="session")
def pictures(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Folder with train.tar, val.tar and the recipes droppos.toml and finetune.toml."""
    root = tmp_path_factory.mktemp("pictures")
    write_pictures(root / "train.tar", 32, 0)
    write_pictures(root / "val.tar", 10, 1)
    (root / "droppos.toml").write_text(DROPPOS)
    (root / "finetune.toml").write_text(FINETUNE)
    return root
