"""Pictures to learn from: whole folders or tars of them, labelled by the folders they lie in."""

from __future__ import annotations

import tarfile
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor
from torch.utils.data import DataLoader, Dataset
from torchvision.transforms import InterpolationMode, v2

from vision.errors import FoveateError
from vision.images import ImageStore
from vision.loaders import ONE_WORKER, Loaders
from vision.optim import OptimConfig

SUFFIXES = {".jpg", ".jpeg", ".png", ".webp", ".bmp"}
MEAN = (0.485, 0.456, 0.406)
STD = (0.229, 0.224, 0.225)

Item = tuple[Tensor, int]
"""A normalised picture (3, H, W) and the index of its class."""


@dataclass(frozen=True)
class ViewConfig:
    """How pictures are cut and varied.

    Args:
        size: height and width in pixels.
        scale: smallest and largest share of the area that a random crop takes.
        flip: whether pictures are mirrored left to right.
        randaugment: magnitude of two random changes a picture, out of 30; 0 for none.
        erase: probability of blanking a random box.
        crop_pct: share of the side that evaluation looks at, in the middle.
        mean: of the normalisation, in [0, 1].
        std: likewise.
    """

    size: tuple[int, int]
    scale: tuple[float, float] = (0.2, 1.0)
    flip: bool = True
    randaugment: int = 0
    erase: float = 0.0
    crop_pct: float = 1.0
    mean: tuple[float, float, float] = MEAN
    std: tuple[float, float, float] = STD

    def training(self) -> v2.Transform:
        """A random view of a uint8 picture (3, H, W), normalised."""
        parts: list[v2.Transform] = [
            v2.RandomResizedCrop(
                self.size, scale=self.scale, interpolation=InterpolationMode.BICUBIC
            )
        ]
        if self.flip:
            parts.append(v2.RandomHorizontalFlip())
        if self.randaugment:
            parts.append(v2.RandAugment(magnitude=self.randaugment))
        parts.append(self.normalisation())
        if self.erase:
            parts.append(v2.RandomErasing(self.erase))
        return v2.Compose(parts)

    def crop(self) -> v2.Transform:
        """The middle of a uint8 picture, still uint8."""
        height, width = self.size
        short = round(min(height, width) / self.crop_pct)
        resize = v2.Resize(short, interpolation=InterpolationMode.BICUBIC)
        if height != width:  # no side is the shorter one of every picture
            whole = (round(height / self.crop_pct), round(width / self.crop_pct))
            resize = v2.Resize(whole, interpolation=InterpolationMode.BICUBIC)
        return v2.Compose([resize, v2.CenterCrop(self.size)])

    def evaluation(self) -> v2.Transform:
        """The middle of a uint8 picture, normalised."""
        return v2.Compose([self.crop(), self.normalisation()])

    def normalisation(self) -> v2.Transform:
        """uint8 to normalised float."""
        return v2.Compose(
            [v2.ToDtype(torch.float32, scale=True), v2.Normalize(list(self.mean), list(self.std))]
        )


class Pictures(Dataset[Item]):
    """The pictures of a folder or tar in order of their names, seen the same way every time.

    The class of a picture is the folder it lies in.

    Args:
        images: uncompressed tar or folder, searched to the bottom.
        transform: of uint8 pictures (3, H, W).
        classes: names of the classes; the folders' sorted names when None.

    Raises:
        FoveateError: nothing there, or a class that is not in `classes`.
    """

    def __init__(
        self, images: Path, transform: v2.Transform, classes: list[str] | None = None
    ) -> None:
        self.store = ImageStore(images.parent)
        self.transform = transform
        members = _members(images)
        folders = [Path(member).parent.name for member in members]
        self.classes = sorted(set(folders)) if classes is None else classes
        unknown = set(folders) - set(self.classes)
        if unknown:
            raise FoveateError(f"{images} has classes the weights do not know: {min(unknown)!r}")
        self.keys = [f"{images.name}:{member}" for member in members]
        self.labels = [self.classes.index(folder) for folder in folders]

    def __len__(self) -> int:
        return len(self.keys)

    def __getitem__(self, index: int) -> Item:
        image = torch.from_numpy(self.store.read(self.keys[index])).permute(2, 0, 1)
        return self.transform(image), self.labels[index]


class EndlessPictures(Dataset[Item]):
    """Random views, every picture once an epoch; each a function of the seed and its index alone.

    Args:
        pictures: with a random transform.
        length: number of samples.
        seed: of order and views.
    """

    def __init__(self, pictures: Pictures, length: int, seed: int) -> None:
        self.pictures, self.length, self.seed = pictures, length, seed
        self._epoch, self._order = -1, np.empty(0, int)

    def __len__(self) -> int:
        return self.length

    def __getitem__(self, index: int) -> Item:
        epoch, place = divmod(index, len(self.pictures))
        if epoch != self._epoch:
            rng = np.random.default_rng((self.seed, epoch))
            self._epoch, self._order = epoch, rng.permutation(len(self.pictures))
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(int(np.random.SeedSequence((self.seed, index)).generate_state(1)[0]))
            return self.pictures[int(self._order[place])]


class PictureData(Loaders):
    """Loaders of training and validation pictures.

    Args:
        train: tar or folder to learn from.
        val: tar or folder held out.
        view: how they are cut and varied.
        optim: steps and pictures a step.
        seed: of order and views.
    """

    def __init__(
        self, train: Path, val: Path, view: ViewConfig, optim: OptimConfig, seed: int
    ) -> None:
        pictures = Pictures(train, view.training())
        self.classes = pictures.classes
        held_out = Pictures(val, view.evaluation(), self.classes)
        super().__init__(
            EndlessPictures(pictures, optim.samples, seed),
            DataLoader(held_out, batch_size=50),
            optim.batch,
            **ONE_WORKER,
        )


def _members(images: Path) -> list[str]:
    """Names of the pictures in a tar or folder, sorted."""
    names: Any
    try:
        if images.suffix == ".tar":
            with tarfile.open(images, "r:") as archive:
                names = [m.name.removeprefix("./") for m in archive if m.isfile()]
        else:
            names = [str(p.relative_to(images)) for p in images.rglob("*") if p.is_file()]
    except (OSError, tarfile.TarError) as error:
        raise FoveateError(f"{images} is no tar or folder of pictures: {error}") from None
    found = sorted(name for name in names if Path(name).suffix.lower() in SUFFIXES)
    if not found:
        raise FoveateError(f"no pictures in {images}")
    return found
