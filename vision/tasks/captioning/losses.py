"""What training compares: words, attention and classes of regions."""

from __future__ import annotations

import torch
from torch import Tensor


def kept_tokens(target: Tensor) -> Tensor:
    """Tokens that count `(B, L)` bool: all words, and the one end token after them.

    Args:
        target: `(B, L)` word ids, 0 from the end on.
    """
    begun = torch.ones_like(target[:, :1], dtype=torch.bool)
    return torch.cat((begun, target[:, :-1] > 0), 1)


def caption_loss(log_probs: Tensor, target: Tensor) -> Tensor:
    """Cross-entropy of captions, averaged over all kept tokens of the batch.

    Args:
        log_probs: `(B, L, V)` of the words.
        target: `(B, L)` word ids, 0 from the end on.
    """
    chosen = log_probs.gather(2, target[:, :, None]).squeeze(2)
    return -chosen[kept_tokens(target)].mean()


def attention_loss(scores: Tensor, positive: Tensor) -> Tensor:
    """Mean of `-log softmax(scores)` over all pairs of a word and a region that shows it.

    Args:
        scores: `(B, L, N)` before the softmax.
        positive: `(B, L, N)` bool; without any, the loss is zero.
    """
    if not positive.any():
        return scores.new_zeros(())
    return -scores.log_softmax(2)[positive].mean()


def class_loss(log_probs: Tensor, target: Tensor) -> Tensor:
    """Mean of `-log p` of the true class over all pairs of an annotated box and its regions.

    Args:
        log_probs: `(B, N, D + 1)` of the regions' classes.
        target: `(B, K, N)` int64 of `boxes.class_targets`; without any, the loss is zero.
    """
    matched = target > 0
    if not matched.any():
        return log_probs.new_zeros(())
    chosen = log_probs.transpose(1, 2).gather(1, target)[matched]
    return -chosen.clamp(min=-100).mean()  # as PyTorch's binary cross-entropy bounds a logarithm
