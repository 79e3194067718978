"""Objects of a picture: a grid of patches, boxes of a file, or what our detector finds."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from itertools import pairwise
from pathlib import Path

import numpy as np

from vision.errors import FoveateError
from vision.results import Detections
from vision.tasks.boxes import LabelledBox


@dataclass
class Objects:
    """What can be looked at in one picture.

    Args:
        boxes: `(N, 4)` float32 xyxy in pixels.
        width: of the picture, in pixels.
        height: of the picture, in pixels.
        labels: name of each, or None.
    """

    boxes: np.ndarray
    width: int
    height: int
    labels: list[str | None] = field(default_factory=list)

    def __post_init__(self) -> None:
        self.boxes = np.asarray(self.boxes, np.float32).reshape(-1, 4)
        if not self.labels:
            self.labels = [None] * len(self.boxes)

    def __len__(self) -> int:
        return len(self.boxes)

    @property
    def centres(self) -> np.ndarray:
        """`(N, 2)` x, y in pixels."""
        return (self.boxes[:, :2] + self.boxes[:, 2:]) / 2

    @property
    def sizes(self) -> np.ndarray:
        """`(N, 2)` width, height in pixels, at least one."""
        return np.maximum(self.boxes[:, 2:] - self.boxes[:, :2], 1)

    @property
    def places(self) -> np.ndarray:
        """`(N, 4)` as `scene.Scene` wants them."""
        middle = np.array([self.width, self.height], np.float32) / 2
        scale = np.float32((self.width * self.height) ** 0.5)
        return np.concatenate(((self.centres - middle) / scale, self.sizes / scale), 1)

    @property
    def shares(self) -> np.ndarray:
        """`(N, 4)` boxes as shares of the picture's sides."""
        return self.boxes / np.array([self.width, self.height] * 2, np.float32)

    def at(self, points: np.ndarray) -> np.ndarray:
        """Which object each point falls on: the smallest box around it, else the nearest centre.

        Args:
            points: `(T, 2)` x, y in pixels, on the picture or off it.

        Returns:
            `(T,)` indices.
        """
        x, y = points[:, :1], points[:, 1:]
        x1, y1, x2, y2 = self.boxes.T
        inside = (x1 <= x) & (x < x2) & (y1 <= y) & (y < y2)
        areas = np.where(inside, self.sizes.prod(1), np.inf)
        nearest = np.square(points[:, None] - self.centres).sum(-1).argmin(1)
        return np.where(inside.any(1), areas.argmin(1), nearest)

    def offsets(self, points: np.ndarray, objects: np.ndarray) -> np.ndarray:
        """Where points lie in boxes: `(T, 2)` from the centre, in half sides."""
        return (points - self.centres[objects]) / (self.sizes[objects] / 2)

    def mirrored(self, axis: int = 0) -> Objects:
        """The objects as a mirror shows them, left for right (axis 0) or top for bottom (1)."""
        boxes = self.boxes.copy()
        boxes[:, [axis, axis + 2]] = (self.width, self.height)[axis] - boxes[:, [axis + 2, axis]]
        return Objects(boxes, self.width, self.height, self.labels)


def grid_objects(width: int, height: int, rows: int, columns: int) -> Objects:
    """Patches that cover a picture, row by row."""
    across = np.linspace(0, width, columns + 1)
    down = np.linspace(0, height, rows + 1)
    boxes = [(x1, y1, x2, y2) for y1, y2 in pairwise(down) for x1, x2 in pairwise(across)]
    return Objects(np.array(boxes), width, height)


def detected_objects(found: Detections) -> Objects:
    """The boxes of our detector, at least one pixel wide and high."""
    boxes = [d.box for d in found.objects]
    return Objects(np.array(boxes), found.width, found.height, [d.label for d in found.objects])


def with_detections(objects: Objects, found: Detections) -> Objects:
    """Objects and, after them, the boxes of a detector."""
    boxes = detected_objects(found)
    return Objects(
        np.concatenate((objects.boxes, boxes.boxes)),
        objects.width,
        objects.height,
        [*objects.labels, *boxes.labels],
    )


def labelled(objects: Objects, found: Detections) -> Objects:
    """Objects with the label of the smallest detection around their centre."""
    boxes = detected_objects(found)
    labels: list[str | None] = [None] * len(objects)
    if len(boxes):
        x, y = objects.centres.T[:, :, None]
        x1, y1, x2, y2 = boxes.boxes.T
        inside = (x1 <= x) & (x < x2) & (y1 <= y) & (y < y2)
        areas = np.where(inside, boxes.sizes.prod(1), np.inf)
        labels = [
            boxes.labels[area.argmin()] if here.any() else None
            for area, here in zip(areas, inside, strict=True)
        ]
    return Objects(objects.boxes, objects.width, objects.height, labels)


def given_objects(path: Path, boxes: Sequence[LabelledBox], width: int, height: int) -> Objects:
    """Objects of a picture from boxes of a file.

    Raises:
        FoveateError: there is none, or one lies off the picture.
    """
    if not boxes:
        raise FoveateError(f"{path} holds no object to look at")
    corners = np.array([given.box for given in boxes], np.float32)
    cut = corners.clip(0, np.array([width, height] * 2, np.float32))
    off = (cut[:, 2:] <= cut[:, :2]).any(1)
    if off.any():
        bad = corners[off.argmax()].tolist()
        raise FoveateError(f"{path}: box {bad} lies off the picture of {width} x {height} pixels")
    return Objects(cut, width, height, [given.label for given in boxes])
