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

from vision.catalogue import open_weights, write_weights
from vision.errors import FoveateError
from vision.recipes import load_recipe
from vision.tasks.mistakes.aggregate import Windows
from vision.tasks.mistakes.clips import choose_window, frame_scores
from vision.tasks.mistakes.data import Clip, ClipSet, WindowConfig, WindowDataset
from vision.tasks.mistakes.encoders import Encoder, EncoderConfig, make_encoder
from vision.tasks.mistakes.losses import anticipation_loss, nonuniform_loss
from vision.tasks.mistakes.oad import mean, per_frame
from vision.tasks.mistakes.recognition import MiniROAD, RecognizerConfig, load_recognizer
from vision.training import FromStep, OptimConfig, fit, one_thread, optimizer, seed_everything


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
class MistakesRecipe:
    """Everything that determines a recogniser; paths are relative to the data root.

    Args:
        name: of the weights it makes.
        seed: of every random choice.
        annotations: annotation file with the splits `train` and `val`.
        videos: folder with the videos.
        encoder: what is seen of a frame.
        model: sizes.
        windows: what training sees.
        aggregate: how frames become steps.
        optim: optimiser and schedule.
        background: classes that are no step.
        validate_every: steps between validations.
        licence: of the weights.
        data: attribution of the data, kept in the weights.
    """

    name: str
    seed: int
    annotations: str
    videos: str
    encoder: EncoderConfig
    model: ModelConfig
    windows: WindowConfig
    aggregate: AggregateConfig
    optim: OptimConfig
    background: tuple[str, ...] = ()
    validate_every: int = 400
    licence: str = ""
    data: str = ""


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


class MistakesData(L.LightningDataModule):
    """Loaders of a recipe's training windows and whole validation clips."""

    def __init__(
        self,
        recipe: MistakesRecipe,
        classes: Sequence[str],
        encoder: Encoder,
        clips: dict[str, list[Clip]],
    ) -> None:
        super().__init__()
        self.recipe, self.classes, self.encoder, self.clips = recipe, classes, encoder, clips

    def train_dataloader(self) -> DataLoader[Any]:
        """Varied windows, going on from the trainer's step."""
        recipe = self.recipe
        dataset = WindowDataset(
            self.clips["train"],
            self.classes,
            self.encoder,
            recipe.windows,
            recipe.optim.steps * recipe.optim.batch,
            recipe.seed,
            recipe.model.anticipation,
        )
        return DataLoader(
            dataset,
            batch_size=recipe.optim.batch,
            sampler=FromStep(self, len(dataset), recipe.optim.batch),
            num_workers=1,
            prefetch_factor=4,
            worker_init_fn=one_thread,
        )

    def val_dataloader(self) -> DataLoader[Any]:
        """Whole clips, one at a time."""
        clips: Any = [(clip.looks, clip.labels) for clip in self.clips["val"]]
        return DataLoader(clips, batch_size=None, collate_fn=lambda clip: clip)


def train(
    recipe: str,
    data: Path,
    out: Path,
    *,
    resume: bool = False,
    init: str | None = None,
    overrides: tuple[str, ...] = (),
) -> Path:
    """Train a recogniser and write its weights to `out/<name>.safetensors`.

    Args:
        recipe: name of a shipped recipe or path of a TOML file.
        data: root of the data sets that the recipe names.
        out: folder for checkpoints, metrics and weights.
        resume: go on from the last checkpoint in `out`.
        init: weights to begin with, by name or path.
        overrides: `"optim.steps=100"` and the like.

    Returns:
        Path of the weights.

    Raises:
        FoveateError: an unusable recipe, data that is not there, or nothing to resume.
    """
    config = load_recipe(MistakesRecipe, recipe, overrides)
    seed_everything(config.seed)
    clip_set = ClipSet.read(data / config.annotations)
    unknown = sorted(set(config.background) - set(clip_set.classes))
    if unknown:
        raise FoveateError(f"recipe {config.name!r}: background {unknown[0]!r} is no class")
    encoder = make_encoder(config.encoder)
    clips = {s: clip_set.clips(s, data / config.videos, encoder) for s in ("train", "val")}
    module = MistakesModule(config, clip_set.classes, encoder)
    if init is not None:
        load_recognizer(module.model, open_weights(init, task="mistakes").tensors, init)
    loaders = MistakesData(config, clip_set.classes, encoder, clips)
    fit(module, loaders, config.optim, out, resume=resume, validate_every=config.validate_every)
    background = [clip_set.classes.index(name) for name in config.background]
    seconds, table = choose_window(
        [frame_scores(module.model, encoder, clip.looks) for clip in clips["train"]],
        [clip.steps for clip in clips["train"]],
        config.aggregate.seconds,
        config.aggregate.windows,
        encoder.rate,
        background,
    )
    print(f"window of {seconds:g} s, from {table}", flush=True)
    path = out / f"{config.name}.safetensors"
    write_weights(path, module.model.state_dict(), metadata(config, module, seconds))
    return path


def metadata(recipe: MistakesRecipe, module: MistakesModule, seconds: float) -> dict[str, Any]:
    """What a recogniser's weights say of themselves."""
    return {
        "task": "mistakes",
        "config": {
            "model": asdict(module.model.config),
            "encoder": asdict(recipe.encoder),
            "windows": recipe.aggregate.windows,
            "window": seconds,
            "classes": list(module.classes),
            "background": list(recipe.background),
        },
        "recipe": asdict(recipe),
        "licence": recipe.licence,
        "data": recipe.data,
    }
