"""Detection data: COCO files and teacher detections, pictures from tars, folders and videos."""

from __future__ import annotations

from collections import defaultdict
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor
from torch.utils.data import Dataset

from vision.errors import FoveateError
from vision.images import ImageStore
from vision.results import Frame
from vision.tasks.detection.augment import AugmentConfig, augment
from vision.tasks.detection.coco import load_coco, load_json


@dataclass
class Sample:
    """A picture with its boxes.

    Args:
        image: `(H, W, 3)` uint8, RGB.
        boxes: `(N, 4)` float32, xyxy in pixels.
        labels: `(N,)` int64, index into the class list.
        weights: `(N,)` float32 in [0, 1], see `losses`.
        labelled: `(C,)` bool, classes whose absence means something.
    """

    image: Frame
    boxes: np.ndarray
    labels: np.ndarray
    weights: np.ndarray
    labelled: np.ndarray


@dataclass(frozen=True)
class SourceConfig:
    """One set of training pictures; paths are relative to the data root.

    Args:
        images: tar or folder of the pictures; None when `teacher`'s keys name them.
        annotations: COCO instance file.
        teacher: detections of another model: a COCO results list for these pictures, or a
            file whose `detections` map `archive:member`, `file` or `video@seconds` to rows
            `[category, score, x, y, w, h]`.
        only: prefixes of teacher keys to use; all when empty.
        skip: prefixes of teacher keys to leave out.
        share: how often a picture of this source is drawn, relative to other sources.
    """

    images: str | None = None
    annotations: str | None = None
    teacher: str | None = None
    only: tuple[str, ...] = ()
    skip: tuple[str, ...] = ()
    share: float = 1.0


@dataclass
class Record:
    """Where a picture lies and what is known of it, boxes as xyxy."""

    key: str
    boxes: list[list[float]] = field(default_factory=list)
    categories: list[int] = field(default_factory=list)
    weights: list[float] = field(default_factory=list)
    labelled: list[int] | None = None


def teacher_weight(score: float) -> float:
    """How much a teacher's box counts: 0 at score .15, 1 from .5 on."""
    return min(max((score - 0.15) / 0.35, 0.0), 1.0)


def read_source(root: Path, source: SourceConfig) -> list[Record]:
    """Read one source into records, boxes of all categories, true ones first."""
    if source.annotations is None:
        if source.teacher is None:
            raise FoveateError("a data source needs `annotations` or `teacher`")
        return _read_teacher(root / source.teacher, source.only, source.skip)
    if source.images is None:
        raise FoveateError(f"data source {source.annotations}: `images` is missing")
    records = _read_coco(root / source.annotations, source.images)
    if source.teacher is not None:
        _add_teacher(records, root / source.teacher)
    return list(records.values())


def _read_coco(path: Path, images: str) -> dict[int, Record]:
    content = load_coco(path)
    records = {}
    for image in content["images"]:
        labelled = image.get("labelled_categories", "all")
        records[image["id"]] = Record(
            key=f"{images}:{image['file_name']}",
            labelled=None if labelled == "all" else list(labelled),
        )
    for annotation in content["annotations"]:
        record = records[annotation["image_id"]]
        x, y, w, h = annotation["bbox"]
        record.boxes.append([x, y, x + w, y + h])
        record.categories.append(annotation["category_id"])
        record.weights.append(0.0 if annotation.get("iscrowd") else 1.0)
    return records


def _add_teacher(records: dict[int, Record], path: Path) -> None:
    """Add a teacher's boxes to pictures whose labels are not complete."""
    proposals = defaultdict(list)
    for d in load_json(path):
        proposals[d["image_id"]].append([d["category_id"], d["score"], *d["bbox"]])
    for image_id, rows in proposals.items():
        record = records[image_id]
        if record.labelled is not None:
            _extend(record, rows)


def _read_teacher(path: Path, only: tuple[str, ...], skip: tuple[str, ...]) -> list[Record]:
    records = []
    for key, rows in load_json(path)["detections"].items():
        if (only and not key.startswith(only)) or (skip and key.startswith(skip)):
            continue
        record = Record(key=key)
        _extend(record, rows)
        records.append(record)
    return records


def _extend(record: Record, rows: list[list[float]]) -> None:
    """Add proposals, best first, except those that lie on a box already there.

    The teacher names one object several times under different classes; the best name wins.
    """
    for category, score, x, y, w, h in sorted(rows, key=lambda row: -row[1]):
        box = [x, y, x + w, y + h]
        if all(_iou(box, other) < 0.7 for other in record.boxes):
            record.boxes.append(box)
            record.categories.append(int(category))
            record.weights.append(teacher_weight(score))


def _iou(a: list[float], b: list[float]) -> float:
    width = min(a[2], b[2]) - max(a[0], b[0])
    height = min(a[3], b[3]) - max(a[1], b[1])
    if width <= 0 or height <= 0:
        return 0.0
    both = width * height
    return both / ((a[2] - a[0]) * (a[3] - a[1]) + (b[2] - b[0]) * (b[3] - b[1]) - both)


class DetectionDataset(Dataset[tuple[Tensor, dict[str, Tensor]]]):
    """Endless augmented training samples, each a function of the seed and its index alone.

    Args:
        root: folder that the paths of the sources are relative to.
        sources: sets of pictures, drawn in proportion to their share.
        categories: COCO category ids in the order of the model's classes; boxes of others are
            dropped.
        size: side in pixels of the square training canvas.
        config: augmentation.
        length: number of samples.
        seed: of every random choice.
    """

    def __init__(
        self,
        root: Path,
        sources: list[SourceConfig],
        categories: list[int],
        size: int,
        config: AugmentConfig,
        length: int,
        seed: int,
    ) -> None:
        self.store = ImageStore(root)
        self.records: list[Record] = []
        odds: list[float] = []
        for source in sources:
            records = read_source(root, source)
            self.records += records
            odds += [source.share / len(records)] * len(records)
        self.odds = np.cumsum(np.array(odds) / sum(odds))
        self.index = {category: i for i, category in enumerate(categories)}
        self.size, self.config, self.length, self.seed = size, config, length, seed

    def __len__(self) -> int:
        return self.length

    def load(self, i: int) -> Sample:
        """The i-th record as it is, before augmentation."""
        record = self.records[i]
        keep = [n for n, category in enumerate(record.categories) if category in self.index]
        labelled = np.ones(len(self.index), dtype=bool)
        if record.labelled is not None:
            known = set(record.labelled)
            labelled[:] = [category in known for category in self.index]
        return Sample(
            image=self.store.read(record.key),
            boxes=np.array([record.boxes[n] for n in keep], np.float32).reshape(-1, 4),
            labels=np.array([self.index[record.categories[n]] for n in keep], np.int64),
            weights=np.array([record.weights[n] for n in keep], np.float32),
            labelled=labelled,
        )

    def __getitem__(self, index: int) -> tuple[Tensor, dict[str, Tensor]]:
        rng = np.random.default_rng((self.seed, index))

        def draw() -> Sample:
            drawn = int(np.searchsorted(self.odds, rng.random(), side="right"))
            return self.load(min(drawn, len(self.records) - 1))

        sample = augment(draw, self.size, self.config, rng)
        return to_tensors(sample)


class Pictures(Dataset[tuple[int, Frame]]):
    """The pictures of a COCO file, from a tar or a folder, with their ids.

    Args:
        images: uncompressed tar or folder.
        truth: COCO content; its `images` are read in order.
    """

    def __init__(self, images: Path, truth: dict[str, Any]) -> None:
        self.store = ImageStore(images.parent)
        self.keys = [(i["id"], f"{images.name}:{i['file_name']}") for i in truth["images"]]

    def __len__(self) -> int:
        return len(self.keys)

    def __getitem__(self, index: int) -> tuple[int, Frame]:
        image_id, key = self.keys[index]
        return image_id, self.store.read(key)


def to_tensors(sample: Sample) -> tuple[Tensor, dict[str, Tensor]]:
    """A sample as the `(3, H, W)` image in [0, 1] and the target that detectors take."""
    image = torch.from_numpy(sample.image).permute(2, 0, 1).float() / 255
    return image, {
        "boxes": torch.from_numpy(sample.boxes),
        "labels": torch.from_numpy(sample.labels),
        "weights": torch.from_numpy(sample.weights),
        "labelled": torch.from_numpy(sample.labelled),
    }


def collate(
    batch: list[tuple[Tensor, dict[str, Tensor]]],
) -> tuple[list[Tensor], list[dict[str, Tensor]]]:
    """Images and targets of a batch as two lists, as detectors take them."""
    images, targets = zip(*batch, strict=True)
    return list(images), list(targets)
