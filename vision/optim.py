"""The optimiser of every training: AdamW, its rates over the steps, and its gradients."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import Literal

from lightning.pytorch.utilities.types import LRSchedulerConfigType, OptimizerLRSchedulerConfig
from torch import nn
from torch.optim import AdamW, Optimizer
from torch.optim.lr_scheduler import LambdaLR


@dataclass(frozen=True)
class OptimConfig:
    """AdamW with warm-up, then a constant part and a linear decay to zero, or half a cosine.

    A constant part lets a run be made shorter or longer on resuming without another warm-up.

    Args:
        steps: optimiser steps.
        batch: pictures a step.
        lr: learning rate.
        backbone_lr: learning rate of pretrained parts.
        weight_decay: of matrices and kernels; none for norms and biases.
        warmup: steps until the full rate.
        decay: part of the steps over which the rate falls at the end.
        clip: largest gradient norm.
        ema: decay of the averaged weights, which are what is kept.
        betas: of AdamW.
        shape: of the schedule after the warm-up; `decay` belongs to the linear one.
        precision: of the arithmetic; bfloat16 halves the time of transformers on CPUs that have
            instructions for it (AVX-512 BF16, AMX). Weights stay in single precision.
    """

    steps: int
    batch: int = 8
    lr: float = 2e-3
    backbone_lr: float = 5e-4
    weight_decay: float = 0.02
    warmup: int = 100
    decay: float = 0.4
    clip: float = 5.0
    ema: float = 0.998
    betas: tuple[float, float] = (0.9, 0.999)
    shape: Literal["linear", "cosine"] = "linear"
    precision: Literal["32-true", "bf16-mixed"] = "32-true"

    @property
    def samples(self) -> int:
        """How many the whole training takes."""
        return self.steps * self.batch


def schedule(config: OptimConfig) -> Callable[[int], float]:
    """Factor of the learning rate as a function of the step."""

    def factor(step: int) -> float:
        rise = (step + 1) / max(1, config.warmup)
        fall = (config.steps - step) / max(1.0, config.decay * config.steps)
        return max(0.0, min(rise, 1.0, fall))

    def cosine(step: int) -> float:
        middle = step + 0.5  # so that neither the first nor the last step is lost
        if middle < config.warmup:
            return middle / config.warmup
        part = (middle - config.warmup) / max(1, config.steps - config.warmup)
        return 0.5 * (1 + math.cos(math.pi * min(part, 1.0)))

    return cosine if config.shape == "cosine" else factor


def optimizer(
    model: nn.Module, config: OptimConfig, pretrained: Callable[[str], bool]
) -> OptimizerLRSchedulerConfig:
    """AdamW and its schedule in the form Lightning's `configure_optimizers` returns.

    Args:
        model: parameters that need gradients are trained.
        config: rates.
        pretrained: whether the parameter of that name takes the backbone's rate.
    """
    groups: dict[tuple[bool, bool], list[nn.Parameter]] = {}
    for name, parameter in model.named_parameters():
        if parameter.requires_grad:
            key = (pretrained(name), parameter.ndim > 1)
            groups.setdefault(key, []).append(parameter)
    settings = [
        {
            "params": parameters,
            "lr": config.backbone_lr if slow else config.lr,
            "weight_decay": config.weight_decay if decays else 0.0,
        }
        for (slow, decays), parameters in groups.items()
    ]
    return scheduled(AdamW(settings, betas=config.betas), schedule(config))


def scheduled(optimizer: Optimizer, factor: Callable[[int], float]) -> OptimizerLRSchedulerConfig:
    """An optimiser whose rates are multiplied by a factor of the step, in Lightning's form."""
    rates = LRSchedulerConfigType(scheduler=LambdaLR(optimizer, factor), interval="step")
    return {"optimizer": optimizer, "lr_scheduler": rates}


def clip_each(parameters: Iterable[nn.Parameter], limit: float) -> None:
    """Scale every gradient by itself to a norm of at most `limit`."""
    for parameter in parameters:
        if parameter.grad is not None:
            parameter.grad.mul_((limit / (parameter.grad.norm() + 1e-6)).clamp(max=1.0))
