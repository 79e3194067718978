"""Pictures as tensors: one alone, many padded to a batch, and all of a set on disk."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Sequence
from dataclasses import asdict, dataclass, fields, replace

import torch
from safetensors.torch import load_file, save_file
from torch import Tensor

from vision.cache import cache_folder
from vision.tasks.boxes import LabelledBox
from vision.tasks.captioning.encoder import PictureInputs
from vision.tasks.captioning.regions import (
    PictureRegions,
    RegionConfig,
    RegionExtractor,
    box_tensor,
)
from vision.tasks.detection.data import Pictures
from vision.writing import whole_file

CHUNK = 8
"""Pictures that are looked at together."""

PER_REGION = ("regions", "boxes", "labels", "confidence")
"""Fields of a view with a row for each region."""


@dataclass(frozen=True)
class View:
    """One picture as the network takes it.

    Args:
        overall: `(C,)` feature of the whole picture.
        grid: `(T, C)` of the cells of the grid.
        regions: `(N, C)` of the regions.
        boxes: `(N, 5)`: corners and area as shares of the picture's.
        labels: `(N,)` int64 class that a detector gave from 1 on, 0 for none.
        confidence: `(N,)` in [0, 1].
    """

    overall: Tensor
    grid: Tensor
    regions: Tensor
    boxes: Tensor
    labels: Tensor
    confidence: Tensor

    @classmethod
    def of(cls, picture: PictureRegions, classes: Sequence[str]) -> View:
        """A picture's view; labels that are not among the classes count as none."""
        numbers = {name: i for i, name in enumerate(classes, 1)}
        sides = torch.tensor([picture.width, picture.height] * 2, dtype=torch.float32)
        corners = box_tensor(picture.regions) / sides
        areas = (corners[:, 2:] - corners[:, :2]).prod(1, keepdim=True)
        labels = [numbers.get(r.label or "", 0) for r in picture.regions]
        return cls(
            picture.overall,
            picture.grid,
            picture.features,
            torch.cat((corners, areas), 1),
            torch.tensor(labels, dtype=torch.long),
            torch.tensor([r.score for r in picture.regions], dtype=torch.float32),
        )

    def rows(self, kept: Sequence[int]) -> View:
        """The view with these regions alone."""
        index = torch.tensor(kept, dtype=torch.long)
        return replace(self, **{name: getattr(self, name)[index] for name in PER_REGION})

    def with_regions(self, others: Sequence[View]) -> View:
        """The view with the regions of others instead of its own."""
        parts = [self.rows([]), *others]
        return replace(
            self, **{name: torch.cat([getattr(v, name) for v in parts]) for name in PER_REGION}
        )

    def without_surroundings(self) -> View:
        """The view with nothing but regions to see."""
        return replace(
            self, overall=torch.zeros_like(self.overall), grid=torch.zeros_like(self.grid)
        )


def join(views: Sequence[View]) -> PictureInputs:
    """Views as one batch, padded to the most regions, at least one."""
    most = max(1, *(len(v.labels) for v in views))

    def padded(rows: Sequence[Tensor]) -> Tensor:
        result = rows[0].new_zeros(len(rows), most, *rows[0].shape[1:])
        for i, row in enumerate(rows):
            result[i, : len(row)] = row
        return result

    counts = torch.tensor([len(v.labels) for v in views])
    return PictureInputs(
        overall=torch.stack([v.overall for v in views]).float(),
        grid=torch.stack([v.grid for v in views]).float(),
        regions=padded([v.regions for v in views]).float(),
        boxes=padded([v.boxes for v in views]),
        labels=padded([v.labels for v in views]),
        confidence=padded([v.confidence for v in views]),
        hidden=torch.arange(most) >= counts[:, None],
    )


def cached_views(
    config: RegionConfig,
    pictures: Pictures,
    classes: Sequence[str],
    regions: Sequence[Sequence[LabelledBox]] | None = None,
) -> list[View]:
    """Views of a set of pictures, kept in the user's cache folder once they are made.

    Args:
        config: where regions come from.
        pictures: the set.
        classes: names that labels are numbered by.
        regions: boxes to use for each picture; a detector finds them when None.
    """
    name = f"{_digest(config, pictures, classes, regions)}.safetensors"
    path = cache_folder("captioning") / name
    if path.is_file():
        return _unpack(load_file(path))
    extractor = RegionExtractor(config, torch.device("cpu"))
    views: list[View] = []
    for start in range(0, len(pictures), CHUNK):
        chunk = range(start, min(start + CHUNK, len(pictures)))
        given = None if regions is None else [regions[i] for i in chunk]
        found = extractor.extract([pictures[i][1] for i in chunk], given)
        views += [View.of(picture, classes) for picture in found]
    with whole_file(path) as partial:
        save_file(_pack(views), partial)
    return _unpack(load_file(path))  # as every later run will find them


def _digest(
    config: RegionConfig,
    pictures: Pictures,
    classes: Sequence[str],
    regions: Sequence[Sequence[LabelledBox]] | None,
) -> str:
    boxes = None if regions is None else [[asdict(r) for r in rows] for rows in regions]
    containers = {
        str(path): path.stat().st_mtime_ns
        for key, _, _ in (key.rpartition(":") for _, key in pictures.keys)
        if (path := pictures.store.root.resolve() / key).exists()
    }
    named = [asdict(config), containers, pictures.keys, list(classes), boxes]
    return hashlib.sha256(json.dumps(named).encode()).hexdigest()[:24]


def _pack(views: Sequence[View]) -> dict[str, Tensor]:
    tensors = {
        f.name: (torch.cat if f.name in PER_REGION else torch.stack)(
            [getattr(v, f.name) for v in views]
        )
        for f in fields(View)
    }
    narrow = {k: t.half() if k in ("overall", "grid", "regions") else t for k, t in tensors.items()}
    return narrow | {"counts": torch.tensor([len(v.labels) for v in views])}


def _unpack(tensors: dict[str, Tensor]) -> list[View]:
    counts = tensors.pop("counts").tolist()
    parts = {
        name: tensor.split(counts) if name in PER_REGION else tensor.unbind(0)
        for name, tensor in tensors.items()
    }
    return [View(*(parts[f.name][i] for f in fields(View))) for i in range(len(counts))]
