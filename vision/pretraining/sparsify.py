"""Making a trained ViT sparse: its predictors learn its attention, then it is distilled."""

from __future__ import annotations

from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any, Literal

import lightning as L
import torch
import torch.nn.functional as F
from lightning.pytorch.utilities.types import OptimizerLRSchedulerConfig
from torch import Tensor
from torch.optim import AdamW

from vision.backbones.sparsifiner import Sparsifiner
from vision.backbones.sparsifiner_checkpoint import checkpoint_filter_fn
from vision.catalogue import Weights, open_weights
from vision.errors import FoveateError
from vision.optim import OptimConfig, scheduled
from vision.pretraining.classify import ClassifierConfig, create_classifier
from vision.pretraining.data import PictureData
from vision.pretraining.finetune import blend
from vision.pretraining.sparsifiner import (
    Stage,
    cosine_schedule,
    enter,
    sparsifiner_loss,
    teach,
)
from vision.recipes import Recipe
from vision.training import Run, seed_step, training


@dataclass(frozen=True)
class SparsifinerRecipe(Recipe):
    """Everything that determines a sparse model.

    Args:
        train: tar or folder of pictures, in a folder a class.
        val: pictures held out.
        model: a Sparsifiner and its pictures.
        stages: of training, each with a schedule of its own.
        epoch: steps that a stage counts as an epoch.
        batch: pictures a step.
        weight_decay: of matrices; none for norms and biases.
        clip: largest gradient norm.
        ema: decay of the averaged weights, from which the next stage begins.
        precision: see `OptimConfig`.
        mixup: strength of blending two pictures, 0 for none.
        label_smoothing: share of the target that goes to all classes.
    """

    train: str
    val: str
    model: ClassifierConfig
    stages: list[Stage]
    epoch: int
    batch: int = 64
    weight_decay: float = 0.05
    clip: float = 5.0
    ema: float = 0.99
    precision: Literal["32-true", "bf16-mixed"] = "32-true"
    mixup: float = 0.0
    label_smoothing: float = 0.1

    def optim(self, stage: Stage) -> OptimConfig:
        """Length and settings of a stage."""
        return OptimConfig(
            steps=stage.epochs * self.epoch,
            batch=self.batch,
            lr=stage.lr,
            weight_decay=self.weight_decay,
            clip=self.clip,
            ema=self.ema,
            precision=self.precision,
        )


class SparsifinerModule(L.LightningModule):
    """Trains one stage; logs the parts of its loss, and top-1 of the held-out pictures.

    Args:
        recipe: what to train.
        stage: of it.
        student: the model, which keeps what it learned.
        teacher: the dense model.
    """

    def __init__(
        self, recipe: SparsifinerRecipe, stage: Stage, student: Sparsifiner, teacher: Sparsifiner
    ) -> None:
        super().__init__()
        self.recipe, self.stage = recipe, stage
        self.model = student
        self.teacher = [teacher.eval().requires_grad_(False)]  # in a list: no part of the weights
        self.trained = enter(student, stage)
        self.blend = blend(student.num_classes, recipe.mixup, 0.0)
        self.hits: list[Tensor] = []

    def training_step(self, batch: tuple[Tensor, Tensor], _: int) -> Tensor:
        seed_step(self, self.recipe.seed)
        images, labels = self.blend(*batch)
        target = labels if labels.ndim == 2 else F.one_hot(labels, self.model.num_classes).float()
        smoothing = self.recipe.label_smoothing
        target = target * (1 - smoothing) + smoothing / self.model.num_classes
        teaching = teach(self.teacher[0].to(self.device), images)
        loss, parts = sparsifiner_loss(
            self.model.trace(images), teaching, target, self.stage.weights
        )
        if not torch.isfinite(loss):
            raise RuntimeError(f"loss is not finite at step {self.global_step}")
        self.log_dict({f"train/{name}": part.detach() for name, part in parts.items()})
        return loss

    def on_validation_epoch_start(self) -> None:
        self.hits = []

    def validation_step(self, batch: tuple[Tensor, Tensor], _: int) -> None:
        images, labels = batch
        self.hits.append((self.model(images).argmax(-1) == labels).float())

    def on_validation_epoch_end(self) -> None:
        top1 = torch.cat(self.hits).mean()
        self.log("val/top1", top1)
        print(self.stage.trains, self.global_step, {"val/top1": round(float(top1), 4)}, flush=True)

    def configure_optimizers(self) -> OptimizerLRSchedulerConfig:
        """AdamW on what the stage trains, at the stage's own rates."""
        stage, decay = self.stage, self.recipe.weight_decay
        groups = [
            {"params": [p for p in self.trained if p.ndim > 1], "weight_decay": decay},
            {"params": [p for p in self.trained if p.ndim <= 1], "weight_decay": 0.0},
        ]
        adamw = AdamW(groups, lr=stage.lr)
        rates = cosine_schedule(
            1.0, stage.final_lr / stage.lr, stage.epochs, self.recipe.epoch, stage.warmup_epochs
        )
        return scheduled(adamw, lambda step: rates[min(step, len(rates) - 1)])


@training(SparsifinerRecipe)
def train(run: Run[SparsifinerRecipe]) -> Path:
    """Make a trained ViT sparse: the one it begins with, which is its teacher too.

    Each stage has a folder of its own in that of the run.
    """
    recipe = run.recipe
    if run.init is None:
        raise FoveateError("a sparse model is made of a trained ViT: name its weights by --init")
    dense = open_weights(run.init, task="classification")
    classes: list[str] = dense.metadata["classes"]
    run.seed()
    student = create_sparse(recipe.model, dense)
    teacher = create_sparse(recipe.model, dense, mode="dense", token_keep_rate=1.0)
    train, val = run.data / recipe.train, run.data / recipe.val
    for number, stage in enumerate(recipe.stages):
        optim, out = recipe.optim(stage), run.out / f"stage{number}"
        loaders = PictureData(train, val, recipe.model.view, optim, recipe.seed + number)
        if loaders.classes != classes:
            raise FoveateError(f"{recipe.train} has not the classes that {run.init} knows")
        module = SparsifinerModule(recipe, stage, student, teacher)
        resume = run.resume and (number == 0 or (out / "last.ckpt").is_file())
        part = replace(run, out=out, resume=resume)
        part.fit(module, loaders, optim, min(optim.steps, 10 * recipe.epoch))
    return run.write(
        "classification", student.state_dict(), config=asdict(recipe.model), classes=classes
    )


def create_sparse(config: ClassifierConfig, dense: Weights, **changes: Any) -> Sparsifiner:
    """A Sparsifiner with the weights of a dense ViT; predictors that these lack are random.

    Args:
        config: the model.
        dense: weights.
        **changes: to the model's options.

    Raises:
        FoveateError: the model is none, or the weights do not fit.
    """
    changed = replace(config, options={**config.options, **changes})
    model = create_classifier(changed, len(dense.metadata["classes"]))
    if not isinstance(model, Sparsifiner):
        raise FoveateError(f"{config.model} is no Sparsifiner")
    model.load_state_dict(checkpoint_filter_fn(dense.tensors, model))
    return model
