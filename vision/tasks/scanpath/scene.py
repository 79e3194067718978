"""What a scanpath model takes: objects, what is looked for, and the fixations so far."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor
from torch.nn import functional as F

from vision.tasks.scanpath.layers import KeyValue


@dataclass
class Scene:
    """Objects of B pictures, padded to N.

    Args:
        places: `(B, N, 4)` centre x, y, width, height; from the picture's middle, in units of the
            side of a square of the picture's area.
        mask: `(B, N)`, true for real objects.
        labels: `(B, N)` number of the label among the configuration's, from 1; 0 for none.
        features: `(B, N, F)` of the backbone, or None.
        patches: `(B, N, S, S, 3)` pixels in [0, 1] for the small network, or None.
    """

    places: Tensor
    mask: Tensor
    labels: Tensor
    features: Tensor | None = None
    patches: Tensor | None = None


@dataclass
class Goal:
    """What P paths in each of B pictures look for.

    Args:
        labels: `(B, P)` number of the target's label, 0 when it has none.
        features: `(B, P, F)` of the target's looks, zero when nobody knows them, or None.
        match: `(B, P, N)` 1 for objects that are the target, which a viewer sees on fixating them.
        known: `(B, P, N)` 1 for objects that viewers know to be the target beforehand.
    """

    labels: Tensor
    features: Tensor | None
    match: Tensor
    known: Tensor


@dataclass
class Encoded:
    """A scene as the decoder uses it."""

    tokens: Tensor
    looks: Tensor
    places: Tensor
    mask: Tensor
    keyvalues: list[KeyValue]


@dataclass
class Steps:
    """T past fixations of P paths in each of B pictures, and when each object was last visited.

    Args:
        objects: `(B, P, T)` fixated before the step; -1 at the beginning.
        durations: `(B, P, T)` of that fixation in ms; NaN when nobody knows it.
        elapsed: `(B, P, T)` ms until its end.
        index: `(T,)` number of the step.
        last: `(B, P, T, N)` number of the step after the last visit, 0 for none.
        visits: `(B, P, T, N)` how often visited.
    """

    objects: Tensor
    durations: Tensor
    elapsed: Tensor
    index: Tensor
    last: Tensor
    visits: Tensor

    @classmethod
    def of_paths(cls, objects: Tensor, durations: Tensor, count: int) -> Steps:
        """Every step of whole paths.

        Args:
            objects: `(B, P, T)` fixated, in order; -1 after the end.
            durations: `(B, P, T)` ms, NaN when nobody knows.
            count: objects of a picture, N.
        """
        begin = torch.full_like(objects[..., :1], -1)
        past = torch.cat((begin, objects), -1)
        spent = F.pad(durations, (1, 0))
        index = torch.arange(past.shape[-1], device=objects.device)
        here = F.one_hot(past.clamp(min=0), count) * (past >= 0)[..., None]
        return cls(
            past,
            spent,
            spent.nan_to_num().cumsum(-1),
            index,
            (here * index[:, None]).cummax(-2).values,
            here.cumsum(-2),
        )
