"""What training compares: the likelihood of viewers' paths."""

from __future__ import annotations

import math
from dataclasses import dataclass

import torch
from torch import Tensor
from torch.nn import functional as F


@dataclass
class Paths:
    """P paths in each of B pictures, padded to T.

    Args:
        objects: `(B, P, T)` fixated; -1 after the end.
        durations: `(B, P, T)` ms; NaN when nobody knows.
        offsets: `(B, P, T, 2)` from the box's centre, in half its width and height.
        whole: `(B, P)` false for paths that were cut, whose end says nothing.
    """

    objects: Tensor
    durations: Tensor
    offsets: Tensor
    whole: Tensor


def step_likelihood(logits: Tensor, paths: Paths) -> tuple[Tensor, Tensor]:
    """Log-likelihood of each step, the end included.

    Args:
        logits: `(B, P, T + 1, N + 1)`.
        paths: what viewers did.

    Returns:
        `(B, P, T + 1)` in nats, zero where there is no step, and where there is one.
    """
    lengths = (paths.objects >= 0).sum(-1, keepdim=True)
    index = torch.arange(logits.shape[2], device=logits.device)
    label = F.pad(paths.objects, (0, 1), value=-1)
    ended = index == lengths
    label = torch.where(ended, logits.shape[-1] - 1, label)
    there = (index < lengths) | (ended & paths.whole[..., None])
    chosen = logits.log_softmax(-1).gather(-1, label.clamp(min=0)[..., None]).squeeze(-1)
    return torch.where(there, chosen, 0.0), there


def landing_losses(
    mean: Tensor, spread: Tensor, paths: Paths, *, clip: float = 1.5
) -> tuple[Tensor, Tensor]:
    """Mean negative log-likelihood (nats) of log durations and of places in boxes.

    Args:
        mean: `(B, P, T, 3)` of `land`.
        spread: likewise.
        paths: what viewers did.
        clip: offsets are cut to this, in half sides: a fixation off every box tells little.
    """
    there = paths.objects >= 0
    timed = there & ~paths.durations.isnan()
    logs = paths.durations.nan_to_num(1.0).clamp(min=20).log()
    duration = _gaussian(mean[..., 0], spread[..., 0], logs)
    place = _gaussian(mean[..., 1:], spread[..., 1:], paths.offsets.clamp(-clip, clip)).sum(-1)
    return _mean(duration, timed), _mean(place, there)


def _gaussian(mean: Tensor, spread: Tensor, value: Tensor) -> Tensor:
    return 0.5 * ((value - mean) / spread) ** 2 + spread.log() + 0.5 * math.log(2 * math.pi)


def _mean(values: Tensor, where: Tensor) -> Tensor:
    return torch.where(where, values, 0.0).sum() / where.sum().clamp(min=1)
