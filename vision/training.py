"""What every training shares: optimiser, schedule, averaging, checkpoints, resuming."""

from __future__ import annotations

import logging
import math
import warnings
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass
from datetime import timedelta
from pathlib import Path
from typing import Literal

import lightning as L
import torch
from lightning.pytorch.callbacks import EMAWeightAveraging, ModelCheckpoint
from lightning.pytorch.loggers import CSVLogger
from lightning.pytorch.utilities.types import LRSchedulerConfigType, OptimizerLRSchedulerConfig
from torch import Tensor, nn
from torch.optim import AdamW
from torch.optim.lr_scheduler import LambdaLR
from torch.utils.data import Sampler

from vision.errors import FoveateError

QUIET = (
    ".*treespec, LeafSpec",  # Lightning's own affair with torch
    ".*exists and is not empty",  # `fit` decides what may be written over
    ".*smaller than the logging interval",
    ".*in eval mode at the start of training",  # frozen batch norms are meant to be
    ".*your dataloader is not resumable",  # samplers begin at the trainer's step
)
"""Warnings of Lightning's that say nothing here."""

logging.getLogger("lightning.pytorch").setLevel(logging.WARNING)


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
    adamw = AdamW(settings, betas=config.betas)
    scheduler = LambdaLR(adamw, schedule(config))
    return {
        "optimizer": adamw,
        "lr_scheduler": LRSchedulerConfigType(scheduler=scheduler, interval="step"),
    }


def fit(
    module: L.LightningModule,
    data: L.LightningDataModule,
    config: OptimConfig,
    out: Path,
    *,
    resume: bool,
    validate_every: int,
    device: str = "cpu",
) -> Mapping[str, Tensor]:
    """Train to the end of the schedule and return the averaged weights.

    Checkpoints go to `out/last.ckpt` every four minutes and metrics to
    `out/metrics/version_N/metrics.csv`, N counting how often the run was resumed.

    Args:
        module: the training module.
        data: its loaders.
        config: steps, averaging and clipping.
        out: folder of the run; made when it is not there.
        resume: go on from `out/last.ckpt`.
        validate_every: steps between validations.
        device: Lightning's accelerator.

    Raises:
        FoveateError: resuming without a checkpoint, or starting over a run that has one.
    """
    last = out / "last.ckpt"
    if resume and not last.is_file():
        raise FoveateError(f"nothing to resume: no {last}")
    if not resume and last.is_file():
        raise FoveateError(f"{last} exists: add --resume, or choose another --out")
    out.mkdir(parents=True, exist_ok=True)
    trainer = L.Trainer(
        accelerator=device,
        devices=1,
        max_steps=config.steps,
        precision=config.precision,
        gradient_clip_val=config.clip,
        callbacks=[
            EMAWeightAveraging(decay=config.ema),
            ModelCheckpoint(
                out,
                filename="last",
                train_time_interval=timedelta(minutes=4),
                enable_version_counter=False,
            ),
        ],
        logger=CSVLogger(out, name="metrics"),
        log_every_n_steps=20,
        val_check_interval=validate_every,
        check_val_every_n_epoch=None,
        num_sanity_val_steps=0,
        enable_model_summary=False,
        enable_progress_bar=False,
    )
    with warnings.catch_warnings():
        for message in QUIET:
            warnings.filterwarnings("ignore", message)
        trainer.fit(module, data, ckpt_path=last if resume else None, weights_only=True)
        trainer.save_checkpoint(last)
    return {k: v.detach().cpu() for k, v in module.state_dict().items()}


def clip_each(parameters: Iterable[nn.Parameter], limit: float) -> None:
    """Scale every gradient by itself to a norm of at most `limit`."""
    for parameter in parameters:
        if parameter.grad is not None:
            parameter.grad.mul_((limit / (parameter.grad.norm() + 1e-6)).clamp(max=1.0))


class FromStep(Sampler[int]):
    """Indices in order, beginning where the trainer stands, so that a resumed run goes on."""

    def __init__(self, data: L.LightningDataModule, length: int, batch: int) -> None:
        self.data, self.length, self.batch = data, length, batch

    def __len__(self) -> int:
        return self.length

    def __iter__(self) -> Iterator[int]:
        trainer = self.data.trainer
        done = trainer.global_step * self.batch if trainer is not None else 0
        return iter(range(done, self.length))


def one_thread(_: int) -> None:
    """Keep a loader's worker process to one core."""
    import cv2

    cv2.setNumThreads(0)
    torch.set_num_threads(1)


def seed_everything(seed: int) -> None:
    """Fix every source of randomness of a training run."""
    L.seed_everything(seed, workers=True, verbose=False)
    torch.use_deterministic_algorithms(True, warn_only=True)
