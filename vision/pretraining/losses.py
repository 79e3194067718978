"""What pretraining by dropped positions compares."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor


def position_loss(
    logits: Tensor,
    cells: Tensor,
    weight: Tensor,
    smoothing: Tensor,
    *,
    conf_ignore: bool = False,
) -> tuple[Tensor, Tensor, Tensor]:
    """Cross entropy of predicted positions against soft targets, averaged over the whole batch.

    Args:
        logits: (B, V, L), a score for every cell of the grid.
        cells: (B, V) int64, the true cells.
        weight: (B, V), how much a token counts; 0 for one whose position was known.
        smoothing: (M, M) soft targets, M at least L; a row for every true cell, of which the
            first L columns are used.
        conf_ignore: leave out tokens that are predicted at least as surely as their target asks.

    Returns:
        The loss, the accuracy and the weights (B, V) of both. Where no token counts the first two
        are NaN.

    Source: DropPos, section 3.2, equation 2.
    """
    log_probability = logits.log_softmax(dim=-1)
    if conf_ignore:
        sure = log_probability.detach().exp().gather(-1, cells.unsqueeze(-1)).squeeze(-1)
        weight = weight * (sure < smoothing.diagonal()[cells])
    weight = weight.to(logits.dtype)
    target = smoothing[cells][..., : logits.shape[-1]]
    entropy = -(target * log_probability).sum(-1)
    hit = (logits.argmax(-1) == cells).to(logits.dtype)
    total = weight.sum()
    return (entropy * weight).sum() / total, (hit * weight).sum() / total, weight


def attentive_weights(prefix: Tensor, patches: Tensor, temperature: float = 0.1) -> Tensor:
    """How much every patch has to do with the picture as a whole.

    Args:
        prefix: (B, C), the class token after the encoder.
        patches: (B, L, C), the patches after the encoder.
        temperature: of the softmax over their cosines.

    Returns:
        (B, L), summing to one.

    Source: DropPos, section 3.2, equation 5.
    """
    cosine = F.cosine_similarity(prefix.unsqueeze(1), patches, dim=-1)
    return (cosine / temperature).softmax(dim=-1)


def pixel_loss(
    predicted: Tensor, images: Tensor, removed: Tensor, patch: tuple[int, int], *, normalise: bool
) -> Tensor:
    """Mean squared error of the pixels of removed patches.

    Args:
        predicted: (B, L, patch pixels * channels), ordered by row, column and channel.
        images: (B, C, H, W).
        removed: (B, L) bool.
        patch: height and width of a patch.
        normalise: compare with patches of mean 0 and variance 1.

    Source: MAE, section 3.
    """
    target = patchify(images, patch)
    if normalise:
        variance, mean = torch.var_mean(target, dim=-1, keepdim=True)
        target = (target - mean) / (variance + 1e-6).sqrt()
    error = (predicted - target).square().mean(dim=-1)
    return (error * removed).sum() / removed.sum()


def patchify(images: Tensor, patch: tuple[int, int]) -> Tensor:
    """Pictures (B, C, H, W) as patches (B, L, ph * pw * C), pixels by row, column and channel."""
    batch, channels, height, width = images.shape
    ph, pw = patch
    x = images.reshape(batch, channels, height // ph, ph, width // pw, pw)
    return x.permute(0, 2, 4, 3, 5, 1).reshape(batch, -1, ph * pw * channels)
