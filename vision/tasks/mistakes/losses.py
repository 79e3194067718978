"""What training a recogniser compares."""

from __future__ import annotations

from typing import Literal

import torch.nn.functional as F
from torch import Tensor

Reduction = Literal["mean", "sum"]


def multi_label_cross_entropy(logits: Tensor, target: Tensor, reduction: Reduction) -> Tensor:
    """Cross entropy with L2-normalised targets: rows without a label contribute nothing.

    Args:
        logits: `(N, K)`.
        target: `(N, K)` in [0, 1]; several classes of a row may be there.
        reduction: over the N rows.
    """
    loss = -(F.normalize(target, dim=-1) * logits.log_softmax(-1)).sum(-1)
    return loss.mean() if reduction == "mean" else loss.sum()


def nonuniform_loss(logits: Tensor, target: Tensor, reduction: Reduction = "mean") -> Tensor:
    """Loss of the last frame of each window alone (MiniROAD's NONUNIFORM).

    With the frames before it left out, training looks like the long run of a video, where the
    state has always seen frames before.

    Args:
        logits: `(B, T, K)`.
        target: `(B, T, K)` in [0, 1].
        reduction: over the B windows.
    """
    return multi_label_cross_entropy(logits[:, -1], target[:, -1], reduction)


def anticipation_loss(anticipated: Tensor, target: Tensor, reduction: Reduction = "sum") -> Tensor:
    """Loss of what the last frame of each window says of the L frames that follow.

    Args:
        anticipated: `(B, T, L, K)` logits.
        target: `(B, L, K)` in [0, 1].
        reduction: over the B * L rows; published trainings sum.
    """
    return multi_label_cross_entropy(
        anticipated[:, -1].flatten(0, 1), target.flatten(0, 1), reduction
    )
