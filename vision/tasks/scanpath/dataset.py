"""Training samples of scanpaths, augmented: mirrors, other objects, and targets in hindsight."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np
import torch
from torch.utils.data import Dataset

from vision.tasks.scanpath.data import Sample, Seen, make_sample, objects_of
from vision.tasks.scanpath.model import ScanpathConfig
from vision.tasks.scanpath.objects import Objects, grid_objects, with_detections
from vision.tasks.scanpath.records import Viewed


@dataclass(frozen=True)
class AugmentConfig:
    """How training samples differ from what was recorded.

    Args:
        mirror: axes along which pictures are mirrored half of the time.
        other_grids: share of samples with a grid of another size.
        boxes: share of samples with the detector's boxes over a coarse grid instead.
        hindsight: share of free-viewing paths turned into search.
        noise: of a target's looks, in their deviations.
        jitter: deviation of box centres, in their sides.
        viewers: how many of a picture's paths are taken at a time; 0 for all.
    """

    mirror: tuple[int, ...] = (0,)
    other_grids: float = 0.0
    boxes: float = 0.0
    hindsight: float = 0.0
    noise: float = 0.5
    jitter: float = 0.0
    viewers: int = 0


class ScanpathDataset(Dataset[Sample]):
    """Endless training samples, each a function of the seed and its index alone.

    Args:
        viewed: pictures and paths.
        seen: what frozen networks see in them.
        config: of the model.
        augment: augmentation.
        length: number of samples.
        seed: of every random choice.
    """

    def __init__(
        self,
        viewed: Sequence[Viewed],
        seen: dict[str, Seen],
        config: ScanpathConfig,
        augment: AugmentConfig,
        length: int,
        seed: int,
    ) -> None:
        self.viewed, self.seen, self.config, self.augment = viewed, seen, config, augment
        self.length, self.seed = length, seed

    def __len__(self) -> int:
        return self.length

    def __getitem__(self, index: int) -> Sample:
        rng = np.random.default_rng((self.seed, index))
        epoch, place = divmod(index, len(self.viewed))
        order = np.random.default_rng((self.seed, epoch)).permutation(len(self.viewed))
        one = self.viewed[order[place]]
        seen = self.seen.get(one.name)
        objects = self._objects(one, seen, rng)
        if 0 < self.augment.viewers < len(one.paths):
            drawn = rng.choice(len(one.paths), self.augment.viewers, replace=False)
            one = replace(one, paths=[one.paths[n] for n in drawn])
        mirrored = False
        for axis in self.augment.mirror:
            if rng.random() < 0.5:
                one, objects = one.mirrored(axis), objects.mirrored(axis)
                mirrored ^= axis == 0
        sample = make_sample(one, objects, seen, self.config, mirrored=mirrored)
        if one.target is None and self.augment.hindsight:
            set_targets_in_hindsight(sample, self.augment.hindsight, self.augment.noise, rng)
        return sample

    def _objects(self, one: Viewed, seen: Seen | None, rng: np.random.Generator) -> Objects:
        kind = rng.random()
        if one.objects is not None:
            objects = one.objects
        elif kind < self.augment.boxes and seen is not None and seen.found is not None:
            rows = int(rng.integers(1, 5))
            objects = with_detections(
                grid_objects(one.width, one.height, rows, rows + 1), seen.found
            )
        elif kind < self.augment.boxes + self.augment.other_grids:
            rows = int(rng.integers(4, 15))
            objects = objects_of(one, seen, (rows, round(rows * rng.uniform(1, 1.5))))
        else:
            objects = objects_of(one, seen, self.config.grid)
        if self.augment.jitter:
            move = rng.normal(0, self.augment.jitter, (len(objects), 2)) * objects.sizes
            boxes = objects.boxes + np.tile(move, 2).astype(np.float32)
            objects = Objects(boxes, objects.width, objects.height, objects.labels)
        return objects


def set_targets_in_hindsight(
    sample: Sample, share: float, noise: float, rng: np.random.Generator
) -> None:
    """Turn some free viewing into search: what a viewer came to look at becomes the target.

    A path is cut after its first fixation of an object, which becomes what was looked for, told by
    its looks or by its label (hindsight relabelling, Andrychowicz et al. 2017). Looks get noise,
    so that they do not give the place away.

    Args:
        sample: changed in place.
        share: of paths.
        noise: deviation of the looks' noise, in their own deviations.
        rng: of all choices.
    """
    for p, path in enumerate(sample.objects):
        length = int((path >= 0).sum())
        if length < 2 or rng.random() >= share:
            continue
        last = int(rng.integers(1, length))
        target = int(path[last])
        first = int((path == target).nonzero()[0])
        label = int(sample.labels[target])
        sample.match[p, target] = 1
        if label and rng.random() < 0.5:
            alike = sample.labels == label
            sample.goal_labels[p] = label
            sample.match[p] = alike.float()
            first = int((alike[path.clamp(min=0)] & (path >= 0)).nonzero()[0])
        elif sample.goal_features is not None and sample.features is not None:
            spread = torch.from_numpy(rng.normal(size=sample.features.shape[1])).float()
            looks = sample.features[target] + noise * sample.features.std(0) * spread
            sample.goal_features[p] = looks
        path[first + 1 :] = -1
        sample.durations[p, first + 1 :] = torch.nan
        sample.whole[p] = True
