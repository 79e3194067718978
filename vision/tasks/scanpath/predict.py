"""The viewer that users call: pictures in, scanpaths out."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Literal, Self

import numpy as np
import torch
from torch import Tensor

from vision.catalogue import open_weights
from vision.devices import pick_device
from vision.errors import FoveateError
from vision.results import Detections, Frame
from vision.tasks.boxes import read_boxes
from vision.tasks.detection.predict import Detector
from vision.tasks.scanpath.baselines import Habits
from vision.tasks.scanpath.data import Batch, Sample, Seen, collate, make_sample
from vision.tasks.scanpath.features import BoxFeatures, pool_boxes
from vision.tasks.scanpath.model import ScanpathConfig, ScanpathModel, load_scanpath
from vision.tasks.scanpath.objects import (
    Objects,
    given_objects,
    grid_objects,
    labelled,
    with_detections,
)
from vision.tasks.scanpath.paths import to_record
from vision.tasks.scanpath.records import Viewed
from vision.tasks.scanpath.results import Scanpaths
from vision.tasks.scanpath.sampling import Drawn, draw_paths
from vision.tasks.scanpath.scene import Goal, Scene
from vision.tasks.scanpath.targets import Target, read_target

COARSE = (4, 5)
"""Rows and columns of the patches behind a detector's boxes."""


class Looker:
    """Predicts how people look at pictures.

    Args:
        model: scores paths.
        features: frozen backbone of the model; None for models of layouts.
        detector: finds and names objects; None when the model knows no labels.
        habits: of the training viewers, for baselines.
        temperature: of draws unless the call says otherwise.
        device: where it runs, such as `"cpu"` or `"cuda:0"`.
        half: whether to compute in bfloat16.
    """

    by_name: Literal[True] = True

    def __init__(
        self,
        model: ScanpathModel,
        features: BoxFeatures | None,
        detector: Detector | None,
        habits: Habits,
        *,
        temperature: float = 1.0,
        device: str | torch.device = "cpu",
        half: bool = False,
    ) -> None:
        self.device = torch.device(device)
        self.model = model.to(self.device).eval()
        self.features = None if features is None else features.to(self.device).eval()
        self.detector, self.habits = detector, habits
        self.temperature, self.half = temperature, half

    @property
    def config(self) -> ScanpathConfig:
        """Of the model."""
        return self.model.config

    @classmethod
    def from_weights(
        cls, weights: str | None = None, *, device: str | None = None, half: bool = False
    ) -> Self:
        """Load shipped weights by name, or a file of the same kind by path.

        Args:
            weights: name in the catalogue or path of a `.safetensors` file; the default of the
                task when None.
            device: where to run; the best there is when None.
            half: whether to compute in bfloat16.

        Raises:
            FoveateError: no such weights, not a scanpath model's, or no such device.
        """
        loaded = open_weights(weights, task="scanpath")
        config = loaded.config(ScanpathConfig)
        features = None
        if config.features is not None:
            features = BoxFeatures(config.features)
            start = "features."
            own = {
                k.removeprefix(start): v for k, v in loaded.tensors.items() if k.startswith(start)
            }
            replace(loaded, tensors=own).fill(features)
        model = ScanpathModel(config, 0 if features is None else features.width)
        load_scanpath(model, loaded)
        name = loaded.metadata.get("detector")
        picked = pick_device(device)
        detector = (
            None if name is None else Detector.from_weights(name, device=str(picked), half=half)
        )
        return cls(
            model,
            features,
            detector,
            Habits(**loaded.metadata["habits"]),
            temperature=float(loaded.metadata.get("temperature", 1.0)),
            device=picked,
            half=half,
        )

    def predict(
        self,
        images: Sequence[Frame],
        *,
        target: str | Target | None = None,
        objects: str | Path | Sequence[Objects] | None = None,
        samples: int = 5,
        seed: int = 0,
        temperature: float | None = None,
        names: Sequence[str] | None = None,
    ) -> list[Scanpaths]:
        """Draw scanpaths over pictures.

        Args:
            images: `(H, W, 3)` uint8 RGB each, of any size.
            target: what is looked for: a label, a box `"x1,y1,x2,y2"` in pixels, or the path of a
                picture of it; free viewing when None.
            objects: what can be looked at: `"grid"` (patches; the default), `"detector"` (its
                boxes before a coarse grid), a file (see `vision.tasks.boxes.read_boxes`), or one
                `Objects` each.
            samples: paths a picture.
            seed: of all draws.
            temperature: of the choice among objects; 0 takes the likeliest; the weights' own
                when None.
            names: of the pictures, for files that list the objects of each.

        Returns:
            One result a picture, in order, in its pixels; times in seconds.

        Raises:
            FoveateError: an array that is no picture, or an unusable target or list of objects.
        """
        for i, image in enumerate(images):
            if image.ndim != 3 or image.shape[2] != 3 or image.dtype != np.uint8 or not image.size:
                raise FoveateError(
                    f"picture {i} is {image.dtype} {image.shape}; give uint8 (height, width, 3)"
                )
        if isinstance(target, str):
            target = read_target(target, self.config.labels)
        rows = self._objects(images, objects, names)
        if not images:
            return []
        prepared = [
            self._sample(image, own, target, samples)
            for image, own in zip(images, rows, strict=True)
        ]
        scene, goal, _ = self.to_device(collate(prepared))
        heat = self.temperature if temperature is None else temperature
        drawn = self.draw(scene, goal, seed=seed, temperature=heat)
        return [
            to_record(drawn, n, own, sample.match[0].bool(), target)
            for n, (own, sample) in enumerate(zip(rows, prepared, strict=True))
        ]

    def draw(self, scene: Scene, goal: Goal, *, seed: int, temperature: float) -> Drawn:
        """Draw paths on the looker's device and in its precision; see `draw_paths`."""
        with torch.autocast(self.device.type, torch.bfloat16, enabled=self.half):
            return draw_paths(self.model, scene, goal, seed=seed, temperature=temperature)

    def to_device(self, batch: Batch) -> Batch:
        """A batch where the looker runs."""
        for part in batch:
            for name, value in vars(part).items():
                if isinstance(value, Tensor):
                    setattr(part, name, value.to(self.device))
        return batch

    def _objects(
        self,
        images: Sequence[Frame],
        objects: str | Path | Sequence[Objects] | None,
        names: Sequence[str] | None,
    ) -> list[Objects]:
        sizes = [(image.shape[1], image.shape[0]) for image in images]
        if objects is not None and not isinstance(objects, str | Path):
            if len(objects) != len(images) or not all(len(own) for own in objects):
                raise FoveateError("give each picture its own objects, at least one")
            return list(objects)
        if objects in (None, "grid", "detector"):
            found: Sequence[Detections] | None = None
            if self.detector is not None:
                found = self.detector.predict(images)
            elif objects == "detector":
                raise FoveateError("these weights know no detector; use --objects grid or a file")
            grid = COARSE if objects == "detector" else self.config.grid
            grids = [grid_objects(*size, *grid) for size in sizes]
            if found is None:
                return grids
            add = with_detections if objects == "detector" else labelled
            return [add(own, seen) for own, seen in zip(grids, found, strict=True)]
        assert objects is not None
        file = read_boxes(Path(str(objects)))
        return [
            given_objects(file.path, boxes, *size)
            for boxes, size in zip(file.each(names, len(images)), sizes, strict=True)
        ]

    def _sample(
        self, image: Frame, objects: Objects, target: Target | None, samples: int
    ) -> Sample:
        maps = self._maps(image)
        seen = Seen(maps, image=image if self.config.patch_width else None)
        none = [np.empty((0, 3))] * samples
        viewed = Viewed("", None, objects.width, objects.height, objects, None, None, none)
        sample = make_sample(viewed, objects, seen, self.config)
        if target is None:
            return sample
        sample.match[:] = torch.from_numpy(target.matches(objects)).float()
        if self.config.location:
            sample.known = sample.match.clone()
        if target.label is not None:
            sample.goal_labels[:] = 1 + self.config.labels.index(target.label)
        elif sample.goal_features is not None:
            sample.goal_features[:] = self._looks(image, maps, target)
        return sample

    def _maps(self, image: Frame) -> list[list[Tensor]]:
        """The backbone's maps of a picture, as `Seen` has them, in the looker's precision."""
        if self.features is None:
            return []
        with torch.autocast(self.device.type, torch.bfloat16, enabled=self.half):
            return [self.features.maps(image)]

    def _looks(self, image: Frame, maps: list[list[Tensor]], target: Target) -> Tensor:
        """Features of the target, from its box in the picture or from a picture of its own."""
        height, width = image.shape[:2]
        if target.box is not None:
            box = np.clip(np.array(target.box) / (width, height, width, height), 0, 1)
            if (box[2:] <= box[:2]).any():
                raise FoveateError(
                    f"target box {target.text} lies off the picture of {width} x {height} pixels"
                )
            return pool_boxes(maps[0], box[None])[0].cpu()
        assert target.crop is not None
        return pool_boxes(self._maps(target.crop)[0], np.array([[0, 0, 1, 1]]))[0].cpu()
