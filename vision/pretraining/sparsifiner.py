"""Training of Sparsifiner: predictors learn a dense model's attention, then the model learns to
do with what they keep.

    teacher = timm.create_model("sparsifiner_deit_small_patch16_224", mode="dense", ...)
    for stage in (RECONSTRUCTION, DISTILLATION):
        parameters = enter(student, stage)
        ...
        loss, parts = sparsifiner_loss(student.trace(x), teach(teacher, x), target, stage.weights)
"""

from collections.abc import Callable
from dataclasses import dataclass
from math import cos, pi
from typing import Literal, NamedTuple

import torch
from torch import Tensor, nn
from torch.nn.functional import kl_div, log_softmax, mse_loss

from vision.attention.connectivity import Connectivity
from vision.attention.sparse_connectivity import AttentionTrace
from vision.backbones.sparsifiner import Sparsifiner
from vision.backbones.sparsifiner_blocks import SparsifinerTrace

Criterion = Literal["mse", "kl"]


class Teaching(NamedTuple):
    """What the dense model says.

    Args:
        logits: of the class token, (B, classes).
        tokens: features of patches (B, N - 1, C), or auxiliary logits (B, N - 1, classes).
        attention: of each block, (B, H, N, N).
    """

    logits: Tensor
    tokens: Tensor
    attention: list[Tensor]


@torch.no_grad()
def teach(teacher: Sparsifiner, x: Tensor) -> Teaching:
    """Run the dense model on pictures (B, 3, H, W).

    Args:
        teacher: made with `mode="dense"` and in evaluation mode.
    """
    features, blocks = teacher.trace_features(x)
    tokens = teacher.fc_norm(features[:, 1:])
    if teacher.aux_head is not None:
        tokens = teacher.aux_head(tokens)
    logits = teacher.head(teacher.fc_norm(teacher.pool(features)))
    return Teaching(logits, tokens, [block.full for block in blocks])


@dataclass(frozen=True)
class LossWeights:
    """Weights of the parts of the loss; None leaves a part out.

    Args:
        cls: cross entropy with the target distribution.
        cls_distill: divergence from the teacher's logits.
        token_distill: distance from the teacher's features of the patches that remain.
        attn_recon: distance of the predictors' scores from the teacher's attention.
        attn_self_distill: the same from the student's own attention, which is not detached.
        least_k: see `least_k`; a value without gradient.
        ratio: see `row_ratio`; a value without gradient.
        token_criterion: distance of features.
        recon_criterion: distance of scores from the teacher's attention.
        budget_ratio: of `least_k`.
        keep_ratio: of `row_ratio`.
    """

    cls: float | None = 1.0
    cls_distill: float | None = 0.5
    token_distill: float | None = 0.5
    attn_recon: float | None = None
    attn_self_distill: float | None = None
    least_k: float | None = None
    ratio: float | None = None
    token_criterion: Criterion = "mse"
    recon_criterion: Criterion = "mse"
    budget_ratio: int = 4
    keep_ratio: float = 0.25


def sparsifiner_loss(
    student: SparsifinerTrace, teacher: Teaching, target: Tensor, weights: LossWeights
) -> tuple[Tensor, dict[str, Tensor]]:
    """Compare a student with its teacher and the truth.

    Args:
        student: what it did.
        teacher: on the same pictures.
        target: distribution over the classes, (B, classes).

    Returns:
        The loss, and its weighted parts by name.

    Source: the published code (`losses.py`); Sparsifiner, section 3.4.
    """
    attention, masks = teacher.attention, [_predicted(block).mask for block in student.blocks]
    parts: dict[str, Callable[[], Tensor]] = {
        "cls": lambda: soft_cross_entropy(student.logits, target),
        "cls_distill": lambda: _divergence(student.logits, teacher.logits),
        "token_distill": lambda: token_distance(student, teacher, weights.token_criterion),
        "attn_recon": lambda: attention_distance(student, attention, weights.recon_criterion),
        "attn_self_distill": lambda: attention_distance(
            student, [block.full for block in student.blocks], "mse"
        ),
        "least_k": lambda: least_k(masks, weights.budget_ratio),
        "ratio": lambda: row_ratio(masks, weights.keep_ratio),
    }
    chosen = {name: getattr(weights, name) for name in parts}
    weighted = {name: w * parts[name]() for name, w in chosen.items() if w is not None}
    return torch.stack(list(weighted.values())).sum(), weighted


def soft_cross_entropy(logits: Tensor, target: Tensor) -> Tensor:
    """Cross entropy of logits (B, classes) with a target distribution, mean over the batch."""
    return -(target * log_softmax(logits, -1)).sum(-1).mean()


def token_distance(student: SparsifinerTrace, teacher: Teaching, criterion: Criterion) -> Tensor:
    """Distance of the features of patches that remain at the end, mean over these.

    `"mse"` is the mean square over channels too; `"kl"` the divergence over channels.
    """
    alive = student.blocks[-1].alive
    ours, theirs = student.features, teacher.tokens
    if alive is None:
        ours, theirs = ours.flatten(0, 1), theirs.flatten(0, 1)
    else:
        ours, theirs = ours[alive], theirs[alive]
    return mse_loss(ours, theirs) if criterion == "mse" else _divergence(ours, theirs)


def attention_distance(
    student: SparsifinerTrace, attention: list[Tensor], criterion: Criterion
) -> Tensor:
    """Distance of the predictors' scores from attention (B, H, N, N) of each block, mean over them.

    `"mse"` is the sum of squares, not their mean: it grows with the batch, and so its weight
    belongs to a size of batch. `"kl"` takes scores for logits and divides by the batch.
    """
    distances = []
    for block, target in zip(student.blocks, attention, strict=True):
        scores, target = _predicted(block).scores, target[:, :, 1:]
        if criterion == "mse":
            distances.append(mse_loss(scores, target, reduction="sum"))
        else:
            distances.append(kl_div(log_softmax(scores, -1), target, reduction="batchmean"))
    return torch.stack(distances).mean()


def least_k(masks: list[Tensor], budget_ratio: int) -> Tensor:
    """Mean of the N - N // budget_ratio least values in each patch row of masks (B, H, N, N)."""
    tokens = masks[0].shape[-1]
    rest = tokens - tokens // budget_ratio
    rows = [mask[:, :, 1:].float().sort(-1).values[..., :rest] for mask in masks]
    return torch.stack([row.mean() for row in rows]).mean()


def row_ratio(masks: list[Tensor], keep_ratio: float) -> Tensor:
    """Mean square of the difference between the share that a row keeps and `keep_ratio`."""
    shares = [mask.float().mean(-1) for mask in masks]
    return torch.stack([(share - keep_ratio).square().mean() for share in shares]).mean()


def basis_l1(model: Sparsifiner) -> Tensor:
    """Sum of the magnitudes of all bases, for keeping them sparse."""
    bases = [p for name, p in model.named_parameters() if name.endswith("proj_back_n")]
    return torch.stack([basis.abs().sum() for basis in bases]).sum()


@dataclass(frozen=True)
class Stage:
    """A stage of training.

    Args:
        epochs: its length.
        trains: which parameters.
        lr: largest learning rate, reached after `warmup_epochs`.
        final_lr: at the end, on half a cosine.
        warmup_epochs: over which the rate rises from 0.
        weights: of the loss.
    """

    epochs: int
    trains: Literal["predictor", "backbone", "all"]
    lr: float
    final_lr: float
    warmup_epochs: int
    weights: LossWeights


RECONSTRUCTION = Stage(5, "predictor", 3e-4, 2e-4, 3, LossWeights(0.0, None, 0.0, attn_recon=0.01))
DISTILLATION = Stage(45, "backbone", 8e-5, 2e-6, 3, LossWeights(attn_self_distill=0.0))
JOINT = Stage(45, "all", 8e-5, 2e-6, 3, LossWeights(attn_self_distill=0.002))
"""The published stages, for a batch of 8 x 168, AdamW of weight decay 0.05 and averaged weights of
decay 0.9999. Published runs reconstruct and distil; the joint stage, which lets predictors follow
the backbone by self-distillation, is an alternative to the second whose rates are our choice."""


def enter(model: Sparsifiner, stage: Stage) -> list[nn.Parameter]:
    """Make a model ready for a stage and return the parameters it trains.

    As published, training all leaves out the class token and the position embedding. Batch norms
    of a convolutional stem go on following the pictures in every stage.
    """
    model.set_reconstruction(stage.weights.attn_recon is not None)
    kept_out = ("cls_token", "pos_embed") if stage.trains == "all" else ()
    chosen = []
    for name, parameter in model.named_parameters():
        of_predictor = ".mask_predictor." in name
        train = name not in kept_out and stage.trains in (
            "all",
            "predictor" if of_predictor else "backbone",
        )
        parameter.requires_grad_(train)
        if train:
            chosen.append(parameter)
    return chosen


def cosine_schedule(
    base: float, final: float, epochs: int, steps_per_epoch: int, warmup_epochs: int = 0
) -> list[float]:
    """Value at each step: a line from 0 to `base`, both ends included, then half a cosine."""
    warmup, steps = warmup_epochs * steps_per_epoch, epochs * steps_per_epoch
    rise = [base * i / max(warmup - 1, 1) for i in range(warmup)]
    rest = steps - warmup
    fall = [final + 0.5 * (base - final) * (1 + cos(pi * i / rest)) for i in range(rest)]
    return rise + fall


def _divergence(ours: Tensor, theirs: Tensor) -> Tensor:
    """KL divergence of distributions given by logits (rows, classes), mean over rows."""
    ours, theirs = log_softmax(ours, -1), log_softmax(theirs, -1)
    return kl_div(ours, theirs, reduction="batchmean", log_target=True)


def _predicted(block: AttentionTrace) -> Connectivity:
    if block.connectivity is None:
        raise ValueError("the student has no predictors: it was made with mode='dense'")
    return block.connectivity
