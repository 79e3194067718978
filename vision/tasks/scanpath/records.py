"""Human scanpaths from one JSON file."""

from __future__ import annotations

from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np

from vision.errors import FoveateError
from vision.tasks.detection.data import load_json
from vision.tasks.scanpath.objects import Objects


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
    """Read pictures and viewers' paths.

    Args:
        path: `{"images": [{id, image, width, height, objects, target, scanpaths}]}`.

    Raises:
        FoveateError: the file is missing, or a record lacks something.
    """
    content = load_json(path)
    if not isinstance(content, dict) or not isinstance(content.get("images"), list):
        raise FoveateError(f"{path} holds no scanpaths: no list `images`")
    if not content["images"]:
        raise FoveateError(f"{path} holds no pictures")
    viewed = []
    for number, record in enumerate(content["images"]):
        try:
            viewed.append(_viewed(record))
        except (KeyError, TypeError, ValueError, IndexError, AttributeError) as error:
            reason = f"no {error}" if isinstance(error, KeyError) else str(error)
            raise FoveateError(f"{path}: picture {number}: {reason}") from None
    return viewed


def _viewed(record: dict[str, Any]) -> Viewed:
    width, height = int(record["width"]), int(record["height"])
    rows = record.get("objects") or []
    objects = None
    if rows:
        boxes = np.array([row["bbox"] for row in rows], np.float32)
        boxes[:, 2:] += boxes[:, :2]
        objects = Objects(boxes, width, height, [row.get("label") for row in rows])
    target = record.get("target")
    wanted = None if target is None else target.get("name")
    number = None if target is None else int(target["object"])
    if number is not None and not 0 <= number < len(rows):
        raise ValueError(f"target {number} is none of its {len(rows)} objects")
    paths = [
        np.array(
            [
                (f["x"], f["y"], np.nan if f.get("duration") is None else f["duration"])
                for f in viewer["fixations"]
            ],
            np.float64,
        ).reshape(-1, 3)
        for viewer in record["scanpaths"]
    ]
    return Viewed(
        str(record["id"]), record.get("image"), width, height, objects, number, wanted, paths
    )
