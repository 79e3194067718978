"""Samples: a picture's objects, and viewers' paths over them."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from torch import Tensor
from torch.nn.utils.rnn import pad_sequence

from vision.errors import FoveateError
from vision.images import ImageStore
from vision.results import Detections, Frame
from vision.tasks.detection.predict import Detector
from vision.tasks.scanpath.features import BoxFeatures, pool_boxes
from vision.tasks.scanpath.losses import Paths
from vision.tasks.scanpath.model import ScanpathConfig
from vision.tasks.scanpath.objects import Objects, grid_objects, labelled
from vision.tasks.scanpath.patches import crop_patches
from vision.tasks.scanpath.records import Viewed
from vision.tasks.scanpath.scene import Goal, Scene

Batch = tuple[Scene, Goal, Paths]


@dataclass
class Seen:
    """What frozen networks see in a picture, and in its mirror image.

    Args:
        maps: of the backbone, half precision, for the picture and maybe for the mirrored one.
        found: what the detector finds, boxes in pixels of the viewed frame; None without one.
        image: pixels, kept for the small network alone.
    """

    maps: list[list[Tensor]]
    found: Detections | None = None
    image: Frame | None = None


def look_at_pictures(
    viewed: Sequence[Viewed],
    folder: Path | None,
    config: ScanpathConfig,
    features: BoxFeatures | None,
    detector: Detector | None,
    *,
    mirror: bool = False,
) -> dict[str, Seen]:
    """Run the frozen networks once over every picture; nothing for layouts without pictures.

    Args:
        viewed: pictures.
        folder: that holds them.
        config: of the model.
        features: backbone.
        detector: finds what gives patches their labels.
        mirror: whether the mirror images are needed too.

    Raises:
        FoveateError: a picture is needed and is not there.
    """
    if features is None and not config.patch_width:
        return {}
    if folder is None:
        raise FoveateError("these weights look at pictures: name their folder with --images")
    store = ImageStore(folder)
    seen = {}
    for one in viewed:
        if one.image is None:
            raise FoveateError(f"picture {one.name!r} has no file, and these weights look at it")
        image = store.read(one.image)
        sides = [image, np.ascontiguousarray(image[:, ::-1])] if mirror else [image]
        maps = []
        if features is not None:
            maps = [[m.half() for m in features.maps(side)] for side in sides]
        found = None
        if detector is not None:
            found = _scaled(detector.predict([image])[0], one)
        seen[one.name] = Seen(maps, found, image if config.patch_width else None)
    return seen


def _scaled(found: Detections, one: Viewed) -> Detections:
    """Detections in pixels of the frame that fixations are in."""
    across, down = one.width / found.width, one.height / found.height
    boxes = [d.box for d in found.objects]
    objects = [
        d.model_copy(update={"box": (x1 * across, y1 * down, x2 * across, y2 * down)})
        for d, (x1, y1, x2, y2) in zip(found.objects, boxes, strict=True)
    ]
    return Detections(width=one.width, height=one.height, objects=objects)


def objects_of(one: Viewed, seen: Seen | None, grid: tuple[int, int]) -> Objects:
    """A record's own objects, else a grid whose patches carry the detector's labels."""
    if one.objects is not None:
        return one.objects
    objects = grid_objects(one.width, one.height, *grid)
    if seen is not None and seen.found is not None:
        objects = labelled(objects, seen.found)
    return objects


def label_numbers(names: Sequence[str | None], labels: Sequence[str]) -> Tensor:
    """Numbers of labels from 1; 0 for those that are not among `labels`."""
    number = {name: n for n, name in enumerate(labels, 1)}
    return torch.tensor([number.get(name or "", 0) for name in names])


@dataclass
class Sample:
    """One picture as the model takes it, with P goals and paths; see `scene` and `losses`."""

    places: Tensor
    labels: Tensor
    features: Tensor | None
    patches: Tensor | None
    goal_labels: Tensor
    goal_features: Tensor | None
    match: Tensor
    known: Tensor
    objects: Tensor
    durations: Tensor
    offsets: Tensor
    whole: Tensor


def make_sample(
    one: Viewed,
    objects: Objects,
    seen: Seen | None,
    config: ScanpathConfig,
    *,
    mirrored: bool = False,
) -> Sample:
    """Put a picture with all its viewers' paths, fixations assigned to objects, into tensors.

    Args:
        one: the picture and its paths, both mirrored if `mirrored`.
        objects: its objects, likewise.
        seen: what frozen networks see in it; None for layouts.
        config: of the model.
        mirrored: whether to take the mirror image's features.
    """
    features = patches = None
    if seen is not None and seen.maps:
        features = pool_boxes(seen.maps[int(mirrored)], objects.shares)
    if seen is not None and seen.image is not None:
        image = np.ascontiguousarray(seen.image[:, ::-1]) if mirrored else seen.image
        patches = crop_patches(image, objects.shares, config.patch_size)
    kept = [path[: config.longest] for path in one.paths]
    spots = [objects.at(path[:, :2]) for path in kept]
    offsets = [objects.offsets(p[:, :2], spot) for p, spot in zip(kept, spots, strict=True)]
    count = len(kept)
    labels = label_numbers(objects.labels, config.labels)
    if not config.named:
        labels = torch.zeros_like(labels)
    match = torch.zeros(count, len(objects))
    goal_labels = torch.zeros(count, dtype=torch.long)
    goal_features = None if features is None else torch.zeros(count, features.shape[1])
    if one.target is not None:
        match[:, one.target] = 1
        goal_labels[:] = label_numbers([one.wanted], config.labels)
        if features is not None and goal_features is not None:
            goal_features[:] = features[one.target]
    return Sample(
        torch.from_numpy(objects.places),
        labels,
        features,
        patches,
        goal_labels,
        goal_features,
        match,
        match.clone() if config.location else torch.zeros_like(match),
        _padded([torch.from_numpy(spot) for spot in spots], -1),
        _padded([torch.from_numpy(path[:, 2]).float() for path in kept], torch.nan),
        _padded([torch.from_numpy(offset).float() for offset in offsets], 0),
        torch.tensor([len(path) <= config.longest for path in one.paths]),
    )


def collate(samples: Sequence[Sample]) -> Batch:
    """Pad pictures to the most objects, and paths to the longest and the most of a picture."""
    count = max(len(s.places) for s in samples)
    paths = max(len(s.objects) for s in samples)
    steps = max(1, max(s.objects.shape[1] for s in samples))

    def rows(name: str, value: float = 0) -> Tensor:
        return pad_sequence([getattr(s, name) for s in samples], True, value)

    def grid(name: str, shape: tuple[int, ...], value: float = 0) -> Tensor:
        parts = [getattr(s, name) for s in samples]
        out = parts[0].new_full((len(parts), *shape, *parts[0].shape[len(shape) :]), value)
        for n, part in enumerate(parts):
            out[(n, *(slice(0, side) for side in part.shape[: len(shape)]))] = part
        return out

    mask = torch.zeros(len(samples), count, dtype=torch.bool)
    for n, sample in enumerate(samples):
        mask[n, : len(sample.places)] = True
    scene = Scene(
        rows("places"),
        mask,
        rows("labels"),
        None if samples[0].features is None else rows("features"),
        None if samples[0].patches is None else rows("patches"),
    )
    goal = Goal(
        rows("goal_labels"),
        None if samples[0].goal_features is None else rows("goal_features"),
        grid("match", (paths, count)),
        grid("known", (paths, count)),
    )
    return (
        scene,
        goal,
        Paths(
            grid("objects", (paths, steps), -1),
            grid("durations", (paths, steps), torch.nan),
            grid("offsets", (paths, steps)),
            rows("whole", False),
        ),
    )


def _padded(parts: list[Tensor], value: float) -> Tensor:
    return pad_sequence(parts, batch_first=True, padding_value=value)
