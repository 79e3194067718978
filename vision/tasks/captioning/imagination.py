"""Pictures made up for captions that have none, from the regions of annotated pictures."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import torch
from torch import Tensor
from torchvision.ops import box_iou

from vision.tasks.captioning.views import View

Rng = np.random.Generator

LIKE = 0.65
"""Cosine from which two sets of categories, rare ones weighing more, are nearly the same."""

BORROWED = 0.35
"""How often a picture that shows nearly the same is taken instead of a made-up one."""


@dataclass(frozen=True)
class Picture:
    """An annotated picture as seen.

    Args:
        id: of the picture.
        found: its detections, as at inference.
        true: its annotated boxes; their labels are what a detection on them says, if any.
        classes: `(N,)` int64 class of each annotated box from 1 on.
        targets: `(M,)` int64 class of each detection from 1 on, 0 when nobody knows.
    """

    id: int
    found: View
    true: View
    classes: Tensor
    targets: Tensor


def match(identity: int, found: View, true: View) -> Picture:
    """Tell detections and annotated boxes of one picture of each other.

    An annotated box takes the label and score of the best detection on it, so that it looks as
    it would at inference; a detection takes the class of the box it lies on, as its target.
    """
    overlaps = box_iou(found.boxes[:, :4], true.boxes[:, :4])
    labels = torch.zeros_like(true.labels)
    confidence = torch.zeros_like(true.confidence)
    targets = torch.zeros_like(found.labels)
    if overlaps.numel():
        best, place = overlaps.max(0)
        on = best > 0.5
        labels[on], confidence[on] = found.labels[place[on]], found.confidence[place[on]]
        best, place = overlaps.max(1)
        targets = torch.where(best > 0.5, true.labels[place], 0)
    seen = replace(true, labels=labels, confidence=confidence)
    return Picture(identity, found, seen, true.labels, targets)


class Imagination:
    """Makes up a picture for a caption from annotated pictures.

    Every category that the caption names gets regions of that category, from any picture, and
    some others are mixed in. Grid and whole come from a picture that shows nearly the same
    categories; without one, they are zero. Sometimes that picture is taken as it is.

    Args:
        pictures: annotated ones.
        classes: number of classes.
    """

    def __init__(self, pictures: Sequence[Picture], classes: int) -> None:
        self.pictures = pictures
        places: dict[int, list[tuple[int, int]]] = defaultdict(list)
        shown = np.zeros((len(pictures), classes + 1), np.float32)
        for p, picture in enumerate(pictures):
            for n, label in enumerate(picture.classes.tolist()):
                places[label].append((p, n))
                shown[p, label] = 1
        self.places = dict(places)
        self.rarity = np.log(len(pictures) / np.maximum(shown.sum(0), 1)).astype(np.float32)
        weighted = shown * self.rarity
        self.shown = weighted / np.maximum(np.linalg.norm(weighted, axis=1, keepdims=True), 1e-6)
        self.others = [place for found in self.places.values() for place in found]
        self.nothing = pictures[0].true.without_surroundings()

    def __call__(self, classes: Sequence[int], rng: Rng) -> tuple[View, Tensor]:
        """A picture of these classes, and the class of each of its regions."""
        like = self._like(classes, rng)
        if like is not None and rng.random() < BORROWED:
            return like.found, like.targets
        places = []
        for label in classes:
            known = self.places.get(label, [])
            for _ in range(min(len(known), 1 + rng.binomial(2, 0.3))):
                places.append((label, *pick(known, rng)))
        for _ in range(rng.integers(0, 5)):
            p, n = pick(self.others, rng)
            places.append((int(self.pictures[p].classes[n]), p, n))
        rng.shuffle(places)
        rows = [self.pictures[p].true.rows([n]) for _, p, n in places]
        seen = rng.random() < 0.7
        view = like.true if like is not None and seen else self.nothing
        labels = torch.tensor([label for label, _, _ in places], dtype=torch.long)
        return view.with_regions(rows), labels

    def _like(self, classes: Sequence[int], rng: Rng) -> Picture | None:
        """One of the pictures that show nearly these classes, if there are any."""
        wanted = np.zeros(self.shown.shape[1], np.float32)
        wanted[list(classes)] = self.rarity[list(classes)]
        likeness = self.shown @ wanted / max(float(np.linalg.norm(wanted)), 1e-6)
        chosen = pick(np.argsort(-likeness)[:4].tolist(), rng)
        return self.pictures[chosen] if likeness[chosen] > LIKE else None


def pick(rows: Sequence[Any], rng: Rng) -> Any:
    """One of them."""
    return rows[int(rng.integers(len(rows)))]
