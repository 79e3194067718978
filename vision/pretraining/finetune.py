"""Training a classifier of whole pictures, from scratch or from a pretrained backbone."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, cast

import lightning as L
import torch
import torch.nn.functional as F
from lightning.pytorch.utilities.types import OptimizerLRSchedulerConfig
from timm.optim import param_groups_layer_decay
from torch import Tensor, nn
from torch.optim import AdamW
from torchvision.transforms import v2

from vision.errors import FoveateError
from vision.optim import OptimConfig, schedule, scheduled
from vision.pretraining.checkpoint import load_encoder, read_init
from vision.pretraining.classify import ClassifierConfig, create_classifier, load_classifier
from vision.pretraining.data import PictureData
from vision.recipes import Recipe
from vision.training import Run, seed_step, training


@dataclass(frozen=True)
class Teacher:
    """A classifier whose judgement of the same pictures is learned beside their labels.

    Args:
        weights: of it, by name or path; it must know the same classes.
        weight: share of its judgement in the loss, in [0, 1]; the labels have the rest.
        temperature: that both distributions are softened by.

    Source: Hinton, Vinyals, Dean: Distilling the Knowledge in a Neural Network, section 2.
    """

    weights: str
    weight: float = 0.5
    temperature: float = 1.0


@dataclass(frozen=True)
class FinetuneRecipe(Recipe):
    """Everything that determines a classifier.

    Args:
        train: tar or folder of pictures, in a folder a class.
        val: pictures held out.
        model: architecture and pictures.
        optim: optimiser and schedule.
        layer_decay: factor of the learning rate from each layer to the one below it.
        frozen_positions: keep the position embedding as it is, as published for DropPos.
        mixup: strength of blending two pictures, 0 for none.
        cutmix: strength of pasting one picture into another, 0 for none.
        label_smoothing: share of the target that goes to all classes.
        teacher: a classifier to learn from; None for labels alone.
        validate_every: steps between validations.
    """

    train: str
    val: str
    model: ClassifierConfig
    optim: OptimConfig
    teacher: Teacher | None = None
    layer_decay: float = 0.75
    frozen_positions: bool = False
    mixup: float = 0.0
    cutmix: float = 0.0
    label_smoothing: float = 0.1
    validate_every: int = 500


class FinetuneModule(L.LightningModule):
    """Trains a classifier; logs its loss, and top-1 of the held-out pictures.

    Args:
        recipe: what to train.
        classes: names of the classes.
        init: state dict of a pretrained backbone.
    """

    def __init__(
        self, recipe: FinetuneRecipe, classes: list[str], init: dict[str, Tensor] | None = None
    ) -> None:
        super().__init__()
        self.recipe = recipe
        self.model = cast(Any, create_classifier(recipe.model, len(classes)))
        if init is not None:
            load_encoder(self.model, init)
            head = self.model.get_classifier()
            if isinstance(head, nn.Linear):
                nn.init.trunc_normal_(head.weight, std=2e-5)
        if recipe.frozen_positions:
            self.model.get_parameter("pos_embed").requires_grad_(False)
        self.blend = blend(len(classes), recipe.mixup, recipe.cutmix)
        # In a list, so that it is neither trained nor saved.
        self.teacher = [] if recipe.teacher is None else [open_teacher(recipe.teacher, classes)]
        self.hits: list[Tensor] = []

    def training_step(self, batch: tuple[Tensor, Tensor], _: int) -> Tensor:
        seed_step(self, self.recipe.seed)
        images, labels = self.blend(*batch)
        logits = self.model(images)
        loss = F.cross_entropy(logits, labels, label_smoothing=self.recipe.label_smoothing)
        for teacher in self.teacher:
            loss = self.learn_from(teacher.to(self.device), images, logits, loss)
        if not torch.isfinite(loss):
            raise RuntimeError(f"loss is not finite at step {self.global_step}")
        self.log("train/loss", loss.detach())
        return loss

    def learn_from(
        self, teacher: nn.Module, images: Tensor, logits: Tensor, loss: Tensor
    ) -> Tensor:
        """The loss of the labels, mixed with the divergence from a teacher's judgement."""
        settings = cast(Teacher, self.recipe.teacher)
        with torch.no_grad():
            theirs = F.log_softmax(teacher(images) / settings.temperature, -1)
        ours = F.log_softmax(logits / settings.temperature, -1)
        divergence = F.kl_div(ours, theirs, reduction="batchmean", log_target=True)
        # The square keeps its gradient as large as that of the labels at any temperature.
        return torch.lerp(loss, divergence * settings.temperature**2, settings.weight)

    def on_validation_epoch_start(self) -> None:
        self.hits = []

    def validation_step(self, batch: tuple[Tensor, Tensor], _: int) -> None:
        images, labels = batch
        self.hits.append((self.model(images).argmax(-1) == labels).float())

    def on_validation_epoch_end(self) -> None:
        top1 = torch.cat(self.hits).mean()
        self.log("val/top1", top1)
        print(self.global_step, {"val/top1": round(float(top1), 4)}, flush=True)

    def configure_optimizers(self) -> OptimizerLRSchedulerConfig:
        """AdamW, the lower the layer the slower."""
        config = self.recipe.optim
        groups = param_groups_layer_decay(
            self.model,
            weight_decay=config.weight_decay,
            layer_decay=self.recipe.layer_decay,
        )
        settings = [
            {
                "params": group["params"],
                "weight_decay": group["weight_decay"],
                "lr": config.lr * group["lr_scale"],
            }
            for group in groups
        ]
        return scheduled(AdamW(settings, betas=config.betas), schedule(config))


def open_teacher(config: Teacher, classes: list[str]) -> nn.Module:
    """The frozen classifier that a recipe names; FoveateError when its classes are others."""
    model, _, known = load_classifier(config.weights, "cpu")
    if known != classes:
        raise FoveateError(f"teacher {config.weights!r} does not know the classes of the pictures")
    return model.requires_grad_(False)


def blend(classes: int, mixup: float, cutmix: float) -> Callable[..., tuple[Tensor, Tensor]]:
    """Mixing of pictures and labels, one of the two ways each time, or nothing."""
    ways: list[Any] = []
    if mixup:
        ways.append(v2.MixUp(num_classes=classes, alpha=mixup))
    if cutmix:
        ways.append(v2.CutMix(num_classes=classes, alpha=cutmix))
    return v2.RandomChoice(ways) if ways else v2.Identity()


@training(FinetuneRecipe)
def train(run: Run[FinetuneRecipe]) -> Path:
    """Train a classifier.

    It begins with the backbone of weights that `foveate train droppos` wrote, or of a checkpoint
    that has timm's names.
    """
    recipe = run.recipe
    run.seed()
    loaders = PictureData(
        run.data / recipe.train, run.data / recipe.val, recipe.model.view, recipe.optim, recipe.seed
    )
    init = None if run.init is None else read_init(run.init)
    module = FinetuneModule(recipe, loaders.classes, init)
    run.fit(module, loaders, recipe.optim, recipe.validate_every)
    return run.write(
        "classification",
        module.model.state_dict(),
        config=asdict(recipe.model),
        classes=loaders.classes,
    )
