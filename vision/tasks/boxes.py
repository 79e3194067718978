"""Boxes that users give in a JSON file: the same for every picture, or each picture's own."""

from __future__ import annotations

import itertools
import math
from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import Any

from vision.errors import FoveateError
from vision.results import Box
from vision.tasks.detection.coco import load_json

FORM = '{"box": [x1, y1, x2, y2], "label": ..., "score": ...}'


@dataclass(frozen=True)
class LabelledBox:
    """A box, and what is in it.

    Args:
        box: x1, y1, x2, y2 in pixels of the picture, with an area.
        label: class name, None when nobody knows.
        score: in [0, 1], how sure the label is; 1 where only a label is given, 0 without one.
    """

    box: Box
    label: str | None = None
    score: float = 0.0


@dataclass(frozen=True)
class BoxFile:
    """What `read_boxes` found.

    Args:
        path: of the file.
        every: boxes for every picture; None when pictures have their own.
        named: boxes of pictures by name.
    """

    path: Path
    every: list[LabelledBox] | None
    named: dict[str, list[LabelledBox]]

    def of(self, name: str | None) -> list[LabelledBox]:
        """Boxes of a picture.

        Args:
            name: of the picture, without suffix, or number of a video's frame (`"000123"`).

        Raises:
            FoveateError: the file goes by names, and has not this one.
        """
        if self.every is not None:
            return self.every
        if name is None or name not in self.named:
            of = "a picture without a name" if name is None else repr(name)
            raise FoveateError(f"{self.path} has no boxes for {of}")
        return self.named[name]

    def each(self, names: Sequence[str] | None, count: int) -> list[list[LabelledBox]]:
        """Boxes of each of `count` pictures; see `of`."""
        return [self.of(name) for name in names or itertools.repeat(None, count)]


def read_boxes(path: Path) -> BoxFile:
    """Read a JSON file of boxes; the last one is kept as long as it does not change.

    It is a list for every picture; `{"objects": [...]}` with one, as `foveate detect` writes; or
    `{name: list}`, a list for each picture by its name without suffix. A box is
    `{"box": [x1, y1, x2, y2]}` in pixels, or has `bbox` `[x, y, width, height]` as in COCO; `label`
    and `score` may be left out.

    Raises:
        FoveateError: the file is missing or holds something else.
    """
    try:
        status = path.stat()
        version = (status.st_mtime_ns, status.st_size)
    except OSError:  # reading it says what is wrong
        version = None
    return _read(path, version)


@lru_cache(maxsize=1)
def _read(path: Path, version: tuple[int, int] | None) -> BoxFile:
    """Read the file as it is; `version` tells it from what it was before."""
    content = load_json(path)
    if isinstance(content, dict) and isinstance(content.get("objects"), list):
        content = content["objects"]
    if isinstance(content, dict):
        named = {name: _boxes(path, rows) for name, rows in content.items()}
        return BoxFile(path, None, named)
    return BoxFile(path, _boxes(path, content), {})


def _boxes(path: Path, rows: Any) -> list[LabelledBox]:
    if not isinstance(rows, list):
        raise FoveateError(f"{path} holds no list of {FORM}")
    return [_box(path, row) for row in rows]


def _box(path: Path, row: Any) -> LabelledBox:
    try:
        x1, y1, x2, y2 = (float(side) for side in row["box" if "box" in row else "bbox"])
        if "box" not in row:
            x2, y2 = x1 + x2, y1 + y2
        label = row.get("label")
        score = float(row.get("score", label is not None))
    except (TypeError, ValueError, KeyError, AttributeError, OverflowError):
        raise FoveateError(f"{path}: {str(row)[:80]} is no box like {FORM}") from None
    if not (x1 < x2 and y1 < y2 and all(map(math.isfinite, (x1, y1, x2, y2)))):
        raise FoveateError(f"{path}: box {[x1, y1, x2, y2]} has no area")
    if not 0 <= score <= 1:
        raise FoveateError(f"{path}: score {score:g} is not between 0 and 1")
    return LabelledBox((x1, y1, x2, y2), None if label is None else str(label), score)
