"""Losses of a BMN in the forms of the published implementations.

Source: Lin et al., ICCV 2019, section 4.2.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal, NamedTuple

import torch
from torch import Tensor
from torch.nn import functional as F

from vision.tasks.localization.bmn import BMNOutput

COMPLETE = 0.9
"""Overlap above which a proposal counts as complete."""

HIGH, LOW = 0.7, 0.3
"""Overlaps between which proposals are sampled as middling."""


@dataclass(frozen=True)
class BMNLossConfig:
    """Which form of the losses.

    Args:
        balance: `"ratio"`: log losses weighted by the ratio of all to positive entries;
            `"split"`: binary cross-entropy weighted half and half, plain where one side is empty.
        epsilon: added inside the logarithm of `"ratio"`.
        limits: bounds of the ratio; without them a batch with no positive entry, or only positive
            ones, gives a loss that is not finite.
        low_zero: whether proposals that overlap nothing count among the low ones.
        regression_weight: of the summed squared error over the kept proposals.
    """

    balance: Literal["ratio", "split"] = "ratio"
    epsilon: float = 1e-5
    limits: tuple[float, float] | None = (1.05, 21.0)
    low_zero: bool = False
    regression_weight: float = 5.0


USUAL = BMNLossConfig(epsilon=1e-6, limits=None)
"""The usual PyTorch code: no guard."""

MMACTION2 = BMNLossConfig()

OPENTAD = BMNLossConfig(balance="split", low_zero=True)


class BMNLosses(NamedTuple):
    """Boundary, overlap regression and completeness losses; `regression` is not yet weighted."""

    boundary: Tensor
    regression: Tensor
    complete: Tensor
    total: Tensor


class Draws(NamedTuple):
    """Uniform numbers in [0, 1) that decide which proposals are kept, like the map each."""

    middle: Tensor
    low: Tensor


def balanced(prediction: Tensor, positive: Tensor, config: BMNLossConfig) -> Tensor:
    """Balanced log loss of probabilities against a bool mask, over all entries together."""
    target = positive.to(prediction.dtype)
    total, count = target.numel(), target.sum()
    if config.balance == "split":
        if count == 0 or count == total:
            return F.binary_cross_entropy(prediction, target)
        weight = torch.where(positive, total / (2 * count), total / (2 * (total - count)))
        return F.binary_cross_entropy(prediction, target, weight=weight)
    if config.limits is None:
        ratio = total / count
    else:
        ratio = (total / count.clamp(min=1)).clamp(*config.limits)
    hit = 0.5 * ratio * target * (prediction + config.epsilon).log()
    miss = 0.5 * ratio / (ratio - 1) * (1 - target) * (1 - prediction + config.epsilon).log()
    return -(hit + miss).mean()


def regression(
    prediction: Tensor, target: Tensor, valid: Tensor, draws: Draws, config: BMNLossConfig
) -> Tensor:
    """Mean squared error of the overlap over proposals drawn evenly from high, middle and low.

    Args:
        prediction: `(B, rows, columns)` probabilities.
        target: likewise, overlaps.
        valid: `(rows, columns)` bool.
        draws: uniform numbers, `(B, rows, columns)` each.
        config: which form.
    """
    target = target * valid
    high = target > HIGH
    middle = (target > LOW) & (target <= HIGH)
    low = (target <= LOW) & valid
    if not config.low_zero:
        low = low & (target > 0)
    count = high.sum()
    error = (prediction - target).square()
    if config.balance == "split" and count == 0:
        return error[valid.expand_as(error)].mean()
    # As published: where high ones outnumber a group, the bar is negative and all cells pass.
    kept = high.to(error.dtype)
    for group, draw in ((middle, draws.middle), (low, draws.low)):
        kept = kept + (group * draw > 1 - count / group.sum()).to(error.dtype)
    return (error * kept.square()).sum() / kept.sum()


def bmn_losses(
    output: BMNOutput,
    start: Tensor,
    end: Tensor,
    overlap: Tensor,
    valid: Tensor,
    config: BMNLossConfig = MMACTION2,
    draws: Draws | None = None,
) -> BMNLosses:
    """All losses of a batch.

    Args:
        output: probabilities.
        start: `(B, T)` scores of `boundary_targets`.
        end: likewise.
        overlap: `(B, rows, columns)` of `iou_targets`.
        valid: `(rows, columns)` bool, which cells are segments.
        config: which form.
        draws: random numbers; new ones when None.
    """
    if draws is None:
        draws = Draws(torch.rand_like(overlap), torch.rand_like(overlap))
    boundary = balanced(output.start, start > 0.5, config) + balanced(output.end, end > 0.5, config)
    cells = valid.expand_as(overlap)
    complete = balanced(output.complete[cells], overlap[cells] > COMPLETE, config)
    error = regression(output.iou, overlap, valid, draws, config)
    total = boundary + config.regression_weight * error + complete
    return BMNLosses(boundary, error, complete, total)
