"""Training a localizer from a recipe."""

from __future__ import annotations

from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

import lightning as L
import numpy as np
import torch
from lightning.pytorch.utilities.types import OptimizerLRSchedulerConfig
from torch import Tensor
from torch.utils.data import DataLoader

from vision.catalogue import write_weights
from vision.errors import FoveateError
from vision.features import FeatureExtractor
from vision.recipes import load_recipe
from vision.tasks.localization.anchor_free import AnchorFree
from vision.tasks.localization.bmn import BMN
from vision.tasks.localization.data import (
    AugmentConfig,
    Track,
    Windows,
    collate,
    load_tracks,
    read_annotations,
)
from vision.tasks.localization.losses import (
    LossConfig,
    class_weights,
    frame_loss,
    matching_loss,
    multi_scale_loss,
)
from vision.tasks.localization.metrics import THUMOS_TIOUS, detection_map
from vision.tasks.localization.model import LocalizationModel, LocalizerConfig, suppress
from vision.training import FromStep, OptimConfig, fit, optimizer, seed_everything

Batch = tuple[Tensor, Tensor, Tensor, list[Tensor], list[Tensor]]


@dataclass(frozen=True)
class LocalizationRecipe:
    """Everything that determines a localizer; paths are relative to the data root.

    Args:
        name: of the weights it makes.
        seed: of every random choice.
        annotations: ActivityNet-style file.
        videos: folder of the videos it names.
        optim: optimiser and schedule.
        hold_out: subject to validate on; then videos of all others that name a subject are trained
            on, whatever their subset. By the subsets when None.
        model: architecture and features.
        loss: what is compared.
        augment: how windows are varied.
        validate_every: steps between validations.
        licence: of the weights.
        data: attribution of the data, kept in the weights.
    """

    name: str
    seed: int
    annotations: str
    videos: str
    optim: OptimConfig
    hold_out: str | None = None
    model: LocalizerConfig = field(default_factory=LocalizerConfig)
    loss: LossConfig = field(default_factory=LossConfig)
    augment: AugmentConfig = field(default_factory=AugmentConfig)
    validate_every: int = 1_000_000
    licence: str = ""
    data: str = ""


class LocalizationModule(L.LightningModule):
    """Trains a localizer; logs its losses, and average mAP (tIoU 0.3 to 0.7) of the validation.

    Args:
        recipe: what to train.
        labels: classes in order.
        tracks: training videos, from which the features' statistics are taken.
        val: validation videos.
    """

    def __init__(
        self,
        recipe: LocalizationRecipe,
        labels: list[str],
        tracks: list[Track],
        val: list[Track],
    ) -> None:
        super().__init__()
        self.recipe, self.labels, self.val = recipe, labels, val
        values = np.concatenate([t.values for t in tracks])
        self.model = LocalizationModel(recipe.model, len(labels), values.shape[1])
        self.model.mean.copy_(torch.from_numpy(values.mean(0)))
        self.model.std.copy_(torch.from_numpy(values.std(0)).clamp(min=0.05))
        classes = torch.from_numpy(np.concatenate([t.targets() for t in tracks]))
        counts = classes.bincount(minlength=len(labels) + 1)
        self.register_buffer("weight", class_weights(counts), persistent=False)
        self.weight: Tensor
        self.normalizer = 100.0

    def training_step(self, batch: Batch, _: int) -> Tensor:
        values, mask, classes, segments, labels = batch
        output = self.model(values, mask)
        config = self.recipe.loss
        parts = {
            "frames": frame_loss(output.frames, classes, self.weight, config.smoothing),
            "live": frame_loss(output.live, classes, self.weight, config.smoothing),
        }
        head = self.model.proposals
        if isinstance(head, AnchorFree):
            loss, self.normalizer = multi_scale_loss(
                output.proposals, segments, labels, head.config, self.normalizer, config.points
            )
            parts["proposals"] = config.proposals * loss
        elif isinstance(head, BMN):
            loss = matching_loss(output.proposals, segments, head.cells, config.bmn)
            parts["proposals"] = config.proposals * loss
        self.log_dict({f"train/{k}": v.detach() for k, v in parts.items()}, batch_size=1)
        return torch.stack(list(parts.values())).sum()

    def validation_step(self, batch: Any, _: int) -> None:
        """Nothing: the whole validation set is looked at when the epoch ends."""

    def on_validation_epoch_end(self) -> None:
        score = whole_videos(self.model.eval(), self.labels, self.val)
        self.log("val/mAP", score)
        print(self.global_step, {"mAP": round(score, 4)}, flush=True)

    def configure_optimizers(self) -> OptimizerLRSchedulerConfig:
        """AdamW at one rate."""
        return optimizer(self.model, self.recipe.optim, lambda _: False)


def whole_videos(model: LocalizationModel, labels: list[str], tracks: list[Track]) -> float:
    """Average mAP (tIoU 0.3 to 0.7) on videos of which only the first window is looked at."""
    database, results = {}, {}
    for track in tracks:
        segments, scores, kinds = suppress(model.candidates(track.values[: model.config.steps]))
        results[track.video] = [
            {"segment": (s / track.rate).tolist(), "score": float(v), "label": labels[k]}
            for s, v, k in zip(segments, scores, kinds, strict=True)
        ]
        truth = zip(track.segments, track.labels, strict=True)
        database[track.video] = {
            "subset": "validation",
            "annotations": [{"segment": s.tolist(), "label": labels[k]} for s, k in truth],
        }
    return detection_map(database, results, THUMOS_TIOUS).average


class LocalizationData(L.LightningDataModule):
    """Loader of a recipe's training windows."""

    def __init__(self, recipe: LocalizationRecipe, tracks: list[Track]) -> None:
        super().__init__()
        self.recipe, self.tracks = recipe, tracks

    def train_dataloader(self) -> DataLoader[Any]:
        """Random windows, going on from the trainer's step."""
        optim, model = self.recipe.optim, self.recipe.model
        seconds = self.recipe.augment.window or model.window
        dataset = Windows(
            self.tracks,
            round(seconds * model.features.rate),
            optim.steps * optim.batch,
            model.features,
            self.recipe.augment,
            self.recipe.seed,
        )
        return DataLoader(
            dataset,
            batch_size=optim.batch,
            sampler=FromStep(self, len(dataset), optim.batch),
            collate_fn=collate,
        )

    def val_dataloader(self) -> DataLoader[Any]:
        """One item: the module holds the validation videos."""
        return DataLoader([0])  # type: ignore[arg-type]  # a list is a data set


def train(
    recipe: str,
    data: Path,
    out: Path,
    *,
    resume: bool = False,
    init: str | None = None,
    overrides: tuple[str, ...] = (),
) -> Path:
    """Train a localizer and write its weights to `out/<name>.safetensors`.

    Features are computed once and kept in the user's cache folder (`FOVEATE_CACHE`).

    Args:
        recipe: name of a shipped recipe or path of a TOML file.
        data: root of the data sets that the recipe names.
        out: folder for checkpoints, metrics and weights.
        resume: go on from the last checkpoint in `out`.
        init: not supported: there is nothing to begin from.
        overrides: `"optim.steps=100"` and the like.

    Returns:
        Path of the weights.

    Raises:
        FoveateError: an unusable recipe, data that is not there, or nothing to resume.
    """
    if init is not None:
        raise FoveateError("a localizer is trained from scratch: leave out --init")
    config = load_recipe(LocalizationRecipe, recipe, overrides)
    labels, tracks, val = load_data(config, data)
    model = train_model(config, labels, tracks, val, out, resume=resume)
    path = out / f"{config.name}.safetensors"
    write_weights(path, model.state_dict(), metadata(config, labels))
    return path


def train_model(
    config: LocalizationRecipe,
    labels: list[str],
    tracks: list[Track],
    val: list[Track],
    out: Path,
    *,
    resume: bool = False,
) -> LocalizationModel:
    """Train on tracks that are loaded already; see `train`."""
    seed_everything(config.seed)
    module = LocalizationModule(config, labels, tracks, val)
    loaders = LocalizationData(config, tracks)
    fit(module, loaders, config.optim, out, resume=resume, validate_every=config.validate_every)
    return module.model.eval()


def load_data(config: LocalizationRecipe, data: Path) -> tuple[list[str], list[Track], list[Track]]:
    """Classes, training videos and validation videos of a recipe.

    Joined copies of other videos (`concatenation_of`) are left out.
    """
    everything = {
        video: entry
        for video, entry in read_annotations(data / config.annotations).items()
        if "concatenation_of" not in entry
    }
    if config.hold_out is None:
        training = {v: e for v, e in everything.items() if e["subset"] == "training"}
        val = {v: e for v, e in everything.items() if e["subset"] == "validation"}
    else:
        known = {v: e for v, e in everything.items() if "subject" in e}
        training = {v: e for v, e in known.items() if e["subject"] != config.hold_out}
        val = {v: e for v, e in known.items() if e["subject"] == config.hold_out}
    if not training:
        raise FoveateError(f"{data / config.annotations} has no video to train on")
    actions = [a["label"] for entry in training.values() for a in entry["annotations"]]
    labels = sorted(set(actions))
    extractor = FeatureExtractor(config.model.features, "cpu")
    folder = data / config.videos
    return (
        labels,
        load_tracks(training, folder, labels, extractor),
        load_tracks(val, folder, labels, extractor),
    )


def metadata(recipe: LocalizationRecipe, labels: list[str]) -> dict[str, Any]:
    """What a localizer's weights say of themselves."""
    return {
        "task": "localization",
        "config": asdict(recipe.model),
        "labels": labels,
        "recipe": asdict(recipe),
        "licence": recipe.licence,
        "data": recipe.data,
    }
