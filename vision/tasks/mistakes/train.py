"""Training a recogniser of steps from a recipe."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import lightning as L
import numpy as np
from lightning.pytorch.utilities.types import OptimizerLRSchedulerConfig
from torch import Tensor
from torch.utils.data import DataLoader

from vision.catalogue import open_weights
from vision.errors import FoveateError
from vision.loaders import ONE_WORKER, Loaders
from vision.optim import OptimConfig, optimizer
from vision.recipes import Recipe
from vision.tasks.mistakes.aggregate import Windows
from vision.tasks.mistakes.clips import choose_window, frame_scores
from vision.tasks.mistakes.data import Clip, ClipSet, WindowConfig, WindowDataset
from vision.tasks.mistakes.encoders import Encoder, EncoderConfig, make_encoder
from vision.tasks.mistakes.losses import anticipation_loss, nonuniform_loss
from vision.tasks.mistakes.oad import mean, per_frame
from vision.tasks.mistakes.recognition import MiniROAD, RecognizerConfig, load_recognizer
from vision.training import Run, training


@dataclass(frozen=True)
class ModelConfig:
    """Sizes of the recogniser that the data do not determine; see `RecognizerConfig`."""

    embed: int = 2048
    hidden: int = 1024
    layers: int = 1
    dropout: float = 0.2
    anticipation: int = 0


@dataclass(frozen=True)
class AggregateConfig:
    """How frames become steps.

    Args:
        windows: kind of window.
        seconds: lengths to choose from on the training clips.
    """

    windows: Windows = "noma"
    seconds: tuple[float, ...] = (200 / 30,)


@dataclass(frozen=True)
class MistakesRecipe(Recipe):
    """Everything that determines a recogniser.

    Args:
        annotations: annotation file with the splits `train` and `val`.
        videos: folder with the videos.
        encoder: what is seen of a frame.
        model: sizes.
        windows: what training sees.
        aggregate: how frames become steps.
        optim: optimiser and schedule.
        background: classes that are no step.
        validate_every: steps between validations.
    """

    annotations: str
    videos: str
    encoder: EncoderConfig
    model: ModelConfig
    windows: WindowConfig
    aggregate: AggregateConfig
    optim: OptimConfig
    background: tuple[str, ...] = ()
    validate_every: int = 400


class MistakesModule(L.LightningModule):
    """Trains a recogniser; logs its loss, and per-frame mAP on the validation clips.

    Args:
        recipe: what to train.
        classes: names of the classes.
        encoder: made the features of the clips.
    """

    def __init__(self, recipe: MistakesRecipe, classes: Sequence[str], encoder: Encoder) -> None:
        super().__init__()
        self.recipe, self.classes, self.encoder = recipe, classes, encoder
        config = RecognizerConfig(
            features=encoder.channels, classes=len(classes), **asdict(recipe.model)
        )
        self.model = MiniROAD(config)
        self.seen: list[tuple[np.ndarray, np.ndarray]] = []

    def training_step(self, batch: tuple[Tensor, Tensor, Tensor], _: int) -> Tensor:
        features, target, coming = batch
        found = self.model(features)
        loss = nonuniform_loss(found.logits, target)
        if found.anticipated is not None:
            loss = loss + anticipation_loss(found.anticipated, coming, "mean")
        self.log("train/loss", loss.detach(), batch_size=1)
        return loss

    def on_validation_epoch_start(self) -> None:
        self.seen = []

    def validation_step(self, clip: tuple[np.ndarray, np.ndarray], _: int) -> None:
        looks, labels = clip
        self.seen.append((frame_scores(self.model, self.encoder, looks), labels))

    def on_validation_epoch_end(self) -> None:
        scores, labels = (np.concatenate(parts) for parts in zip(*self.seen, strict=True))
        ignore = [n for n, name in enumerate(self.classes) if name in self.recipe.background]
        value = mean(per_frame(scores, np.eye(len(self.classes))[labels], ignore=ignore))
        self.log("val/mAP", value)
        print(self.global_step, f"val/mAP {value:.4f}", flush=True)

    def configure_optimizers(self) -> OptimizerLRSchedulerConfig:
        """AdamW; nothing is pretrained."""
        return optimizer(self.model, self.recipe.optim, lambda _: False)


@training(MistakesRecipe)
def train(run: Run[MistakesRecipe]) -> Path:
    """Train a recogniser of steps."""
    recipe, optim = run.recipe, run.recipe.optim
    run.seed()
    clip_set = ClipSet.read(run.data / recipe.annotations)
    unknown = sorted(set(recipe.background) - set(clip_set.classes))
    if unknown:
        raise FoveateError(f"recipe {recipe.name!r}: background {unknown[0]!r} is no class")
    encoder = make_encoder(recipe.encoder)
    clips, held_out = (
        clip_set.clips(split, run.data / recipe.videos, encoder) for split in ("train", "val")
    )
    module = MistakesModule(recipe, clip_set.classes, encoder)
    if run.init is not None:
        load_recognizer(module.model, open_weights(run.init, task="mistakes").tensors, run.init)
    samples = WindowDataset(
        clips,
        clip_set.classes,
        encoder,
        recipe.windows,
        optim.samples,
        recipe.seed,
        recipe.model.anticipation,
    )
    whole: Any = [(clip.looks, clip.labels) for clip in held_out]
    val = DataLoader(whole, batch_size=None, collate_fn=lambda clip: clip)
    run.fit(module, Loaders(samples, val, optim.batch, **ONE_WORKER), optim, recipe.validate_every)
    config = {
        "model": asdict(module.model.config),
        "encoder": asdict(recipe.encoder),
        "windows": recipe.aggregate.windows,
        "window": _window(module, clips),
        "classes": list(clip_set.classes),
        "background": list(recipe.background),
    }
    return run.write("mistakes", module.model.state_dict(), config=config)


def _window(module: MistakesModule, clips: list[Clip]) -> float:
    """The length of window in seconds that finds the steps of the training clips best."""
    recipe = module.recipe
    seconds, table = choose_window(
        [frame_scores(module.model, module.encoder, clip.looks) for clip in clips],
        [clip.steps for clip in clips],
        recipe.aggregate.seconds,
        recipe.aggregate.windows,
        module.encoder.rate,
        [module.classes.index(name) for name in recipe.background],
    )
    print(f"window of {seconds:g} s, from {table}", flush=True)
    return seconds
