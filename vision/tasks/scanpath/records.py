"""Human scanpaths from one JSON file."""

from __future__ import annotations

from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np

from vision.errors import FoveateError
from vision.tasks.detection.coco import load_json
from vision.tasks.scanpath.objects import Objects

FARTHEST = 1e6
"""Pixels from the corner of a picture beyond which a coordinate is a mistake."""

LONGEST = 1e6
"""Milliseconds beyond which a duration is a mistake."""


@dataclass
class Viewed:
    """A picture, its objects, and how people looked at it.

    Args:
        name: of the picture.
        image: its file, relative to the folder of pictures; None when only the layout is known.
        width: of the frame that all coordinates are in.
        height: likewise.
        objects: its objects; None for free viewing of a picture without any.
        target: index of the object looked for; None for free viewing.
        wanted: the target's name.
        paths: a viewer each, `(T, 3)` float64 x, y in pixels and duration in ms (NaN when nobody
            recorded it).
    """

    name: str
    image: str | None
    width: int
    height: int
    objects: Objects | None
    target: int | None
    wanted: str | None
    paths: list[np.ndarray]

    def mirrored(self, axis: int = 0) -> Viewed:
        """The same in a mirror, left for right (axis 0) or top for bottom (1)."""
        paths = [path.copy() for path in self.paths]
        for path in paths:
            path[:, axis] = (self.width, self.height)[axis] - path[:, axis]
        objects = None if self.objects is None else self.objects.mirrored(axis)
        return replace(self, objects=objects, paths=paths)


def read_scanpaths(path: Path) -> list[Viewed]:
    """Read pictures and viewers' paths; viewers without a fixation and pictures without a viewer
    are left out.

    Args:
        path: `{"images": [{id, image, width, height, objects, target, scanpaths}]}`.

    Raises:
        FoveateError: the file is missing, a record lacks something, or nobody looked at anything.
    """
    content = load_json(path)
    if not isinstance(content, dict) or not isinstance(content.get("images"), list):
        raise FoveateError(f"{path} holds no scanpaths: no list `images`")
    if not content["images"]:
        raise FoveateError(f"{path} holds no pictures")
    viewed: list[Viewed] = []
    names: set[str] = set()
    for number, record in enumerate(content["images"]):
        try:
            viewed.append(_viewed(record))
            if viewed[-1].name in names:
                raise ValueError(f"its id {viewed[-1].name!r} is taken")
            names.add(viewed[-1].name)
        except (LookupError, TypeError, ValueError, AttributeError, OverflowError) as error:
            reason = f"no {error}" if isinstance(error, KeyError) else str(error)
            raise FoveateError(f"{path}: picture {number}: {reason}") from None
    viewed = [one for one in viewed if one.paths]
    if not viewed:
        raise FoveateError(f"{path} holds no viewer's path")
    return viewed


def _viewed(record: dict[str, Any]) -> Viewed:
    width, height = int(record["width"]), int(record["height"])
    if width < 1 or height < 1:
        raise ValueError(f"{width} x {height} pixels are no picture")
    rows = record.get("objects") or []
    objects = None
    if rows:
        boxes = np.array([row["bbox"] for row in rows], np.float32).reshape(len(rows), 4)
        if not (np.isfinite(boxes).all() and (boxes[:, 2:] > 0).all()):
            raise ValueError("an object's bbox is not x, y, width and height in pixels")
        boxes[:, 2:] += boxes[:, :2]
        objects = Objects(boxes, width, height, [row.get("label") for row in rows])
    target = record.get("target")
    wanted = None if target is None else target.get("name")
    number = None if target is None else int(target["object"])
    if number is not None and not 0 <= number < len(rows):
        raise ValueError(f"target {number} is none of its {len(rows)} objects")
    paths = [_path(viewer["fixations"]) for viewer in record["scanpaths"] if viewer["fixations"]]
    image = record.get("image")
    return Viewed(
        str(record["id"]),
        None if image is None else str(image),
        width,
        height,
        objects,
        number,
        wanted,
        paths,
    )


def _path(fixations: list[dict[str, Any]]) -> np.ndarray:
    """`(T, 3)` x, y in pixels and duration in ms, NaN where nobody recorded it."""
    rows = [(f["x"], f["y"], f.get("duration")) for f in fixations]
    path = np.array(rows, np.float64)  # None becomes NaN
    if not np.isfinite(path[:, :2]).all() or (np.abs(path[:, :2]) > FARTHEST).any():
        raise ValueError("a fixation's x or y is no number of pixels")
    if (path[:, 2] < 0).any() or (path[:, 2] > LONGEST).any():
        raise ValueError(f"a fixation's duration is not between 0 and {LONGEST:g} ms")
    return path
