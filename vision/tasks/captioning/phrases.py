"""The words of a caption that name things, and the regions they were said for."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor
from torchvision.ops import box_iou

from vision.results import Box
from vision.tasks.captioning.regions import PictureRegions, box_tensor


@dataclass(frozen=True)
class Name:
    """Words that name a class.

    Args:
        first: number of the first word.
        last: number of the last, at which the thing is looked for.
        label: the class.
    """

    first: int
    last: int
    label: str


def find_names(
    words: Sequence[str], named: Mapping[str, str], classes: Sequence[str]
) -> list[Name]:
    """Words that name a class, by a table of words and by the names of the classes.

    "a tennis racquet" names `tennis racket` with two words, since its class begins as it does.

    Args:
        words: of a caption, in lower case.
        named: class of each word that names one.
        classes: names of the classes, some of several words.
    """
    several = {tuple(c.split()): c for c in classes if " " in c}
    found: list[Name] = []
    for n, word in enumerate(words):
        wholes = [k for k in several if tuple(words[max(0, n + 1 - len(k)) : n + 1]) == k]
        if wholes:
            first = n + 1 - len(wholes[0])
            found = [name for name in found if name.last < first]
            found.append(Name(first, n, several[wholes[0]]))
        elif word in named:
            before = named[word].split()[:-1]
            begins = n >= len(before) and list(words[n - len(before) : n]) == before
            found.append(Name(n - len(before) if begins else n, n, named[word]))
    return found


class Grounding:
    """Finds the region that a word was said for.

    The region's attention times how sure it is of the word's class decides, as in the grounding
    head of GVD (Zhou et al. 2019). How sure is the detector's score where it has named the region,
    and the captioner's own share of the class where nobody has. Without a region of the class, how
    sure a region is of any class counts instead.

    Args:
        picture: with its regions.
        shares: `(N, D + 1)` probabilities of their classes.
        classes: names of the classes.
    """

    def __init__(self, picture: PictureRegions, shares: Tensor, classes: Sequence[str]) -> None:
        self.picture, self.shares, self.classes = picture, shares.cpu(), list(classes)
        self.labels = [r.label if r.label in self.classes else None for r in picture.regions]
        boxes = box_tensor(picture.regions)
        self.overlaps = box_iou(boxes, boxes)

    def __call__(self, label: str, attention: Tensor) -> dict[str, Any]:
        """`region`, `box`, `mass` and `attention` of a phrase."""
        if not self.picture.regions:
            return {"region": None, "box": None, "mass": 0.0, "attention": []}
        attention = attention.cpu()
        share = self.shares[:, 1 + self.classes.index(label)]
        evidence = attention * self._sure(share, {label})
        if not evidence.any():
            evidence = attention * self._sure(torch.ones_like(share), set(self.classes))
        best = int(evidence.argmax())
        mass = attention[self.overlaps[best] >= 0.5].sum().clamp(0, 1)
        return {
            "region": best,
            "box": rounded(self.picture.regions[best].box),
            "mass": round(float(mass), 4),
            "attention": [round(float(weight), 4) for weight in attention],
        }

    def _sure(self, share: Tensor, wanted: set[str]) -> Tensor:
        """How sure the detector is that regions are of wanted classes, `share` where it is mute."""
        rows = zip(self.picture.regions, self.labels, share.tolist(), strict=True)
        return torch.tensor(
            [
                own if label is None else region.score * (label in wanted)
                for region, label, own in rows
            ]
        )


def rounded(box: Box) -> Box:
    """A box to a hundredth of a pixel."""
    x1, y1, x2, y2 = (round(float(side), 2) for side in box)
    return x1, y1, x2, y2
