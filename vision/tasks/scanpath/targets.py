"""What a viewer looks for: a label, a box of the picture, or a picture of the target."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from difflib import get_close_matches
from pathlib import Path

import numpy as np

from vision.errors import FoveateError
from vision.images import decode_image
from vision.results import Box, Frame
from vision.tasks.scanpath.objects import Objects

NUMBER = r"\s*([-+]?\d+(?:\.\d+)?)\s*"
BOX = re.compile(",".join([NUMBER] * 4))
PICTURES = {".png", ".jpg", ".jpeg", ".webp", ".bmp", ".tif", ".tiff"}


@dataclass(frozen=True)
class Target:
    """What is looked for; one of label, box and crop is there.

    Args:
        text: as the user said it.
        label: class name.
        box: x1, y1, x2, y2 in pixels of the picture.
        crop: `(H, W, 3)` uint8 RGB, a picture of the target.
    """

    text: str
    label: str | None = None
    box: Box | None = None
    crop: Frame | None = None

    def matches(self, objects: Objects) -> np.ndarray:
        """`(N,)` bool: which objects a viewer recognises as the target on looking at them.

        Of a crop nobody knows; the model goes by its looks alone.
        """
        if self.box is not None:
            x1, y1, x2, y2 = self.box
            x, y = objects.centres.T
            inside = (x1 <= x) & (x < x2) & (y1 <= y) & (y < y2)
            if not inside.any():
                inside[objects.at(np.array([[(x1 + x2) / 2, (y1 + y2) / 2]]))] = True
            return inside
        if self.label is not None:
            return np.array([label == self.label for label in objects.labels])
        return np.zeros(len(objects), bool)


def read_target(text: str, labels: Sequence[str]) -> Target:
    """Understand `--target`: four numbers, a picture file, or a label.

    Args:
        text: as given.
        labels: that the weights know.

    Raises:
        FoveateError: an empty box, a file that is no picture, or an unknown label.
    """
    numbers = BOX.fullmatch(text)
    if numbers:
        x1, y1, x2, y2 = (float(value) for value in numbers.groups())
        if not (x1 < x2 and y1 < y2):
            raise FoveateError(f"target box {text} has no area; give x1,y1,x2,y2 in pixels")
        return Target(text, box=(x1, y1, x2, y2))
    if Path(text).suffix.lower() in PICTURES:
        try:
            return Target(text, crop=decode_image(Path(text).read_bytes(), text))
        except OSError:
            raise FoveateError(f"no such picture of a target: {text}") from None
    if text not in labels:
        near = get_close_matches(text, labels, n=1)
        known = ", ".join(labels) or "none"
        hint = f"did you mean {near[0]!r}?" if near else f"known labels: {known}"
        raise FoveateError(f"unknown target {text!r}; {hint}")
    return Target(text, label=text)
