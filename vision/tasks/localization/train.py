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

from vision.errors import FoveateError
from vision.features import FeatureExtractor
from vision.loaders import Loaders
from vision.optim import OptimConfig, optimizer
from vision.recipes import Recipe
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
from vision.training import Run, training

Batch = tuple[Tensor, Tensor, Tensor, list[Tensor], list[Tensor]]


@dataclass(frozen=True)
class LocalizationRecipe(Recipe):
    """Everything that determines a localizer.

    Args:
        annotations: ActivityNet-style file.
        videos: folder of the videos it names.
        optim: optimiser and schedule.
        hold_out: subject to validate on; then videos of all others that name a subject are trained
            on, whatever their subset. By the subsets when None.
        model: architecture and features.
        loss: what is compared.
        augment: how windows are varied.
        validate_every: steps between validations.
    """

    annotations: str
    videos: str
    optim: OptimConfig
    hold_out: str | None = None
    model: LocalizerConfig = field(default_factory=LocalizerConfig)
    loss: LossConfig = field(default_factory=LossConfig)
    augment: AugmentConfig = field(default_factory=AugmentConfig)
    validate_every: int = 1_000_000


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


@training(LocalizationRecipe)
def train(run: Run[LocalizationRecipe]) -> Path:
    """Train a localizer, whose features are kept in the user's cache folder (`FOVEATE_CACHE`)."""
    if run.init is not None:
        raise FoveateError("a localizer is trained from scratch: leave out --init")
    labels, tracks, val = load_data(run.recipe, run.data)
    model = train_model(run, labels, tracks, val)
    return run.write(
        "localization", model.state_dict(), config=asdict(run.recipe.model), labels=labels
    )


def train_model(
    run: Run[LocalizationRecipe], labels: list[str], tracks: list[Track], val: list[Track]
) -> LocalizationModel:
    """Train on tracks that are loaded already; see `train`."""
    recipe = run.recipe
    run.seed()
    module = LocalizationModule(recipe, labels, tracks, val)
    windows = Windows(
        tracks,
        round((recipe.augment.window or recipe.model.window) * recipe.model.features.rate),
        recipe.optim.samples,
        recipe.model.features,
        recipe.augment,
        recipe.seed,
    )
    one: Any = [0]  # item: the module holds the validation videos
    loaders = Loaders(windows, DataLoader(one), recipe.optim.batch, collate_fn=collate)
    run.fit(module, loaders, recipe.optim, recipe.validate_every)
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
        learned = {v: e for v, e in everything.items() if e["subset"] == "training"}
        val = {v: e for v, e in everything.items() if e["subset"] == "validation"}
    else:
        known = {v: e for v, e in everything.items() if "subject" in e}
        learned = {v: e for v, e in known.items() if e["subject"] != config.hold_out}
        val = {v: e for v, e in known.items() if e["subject"] == config.hold_out}
    if not learned:
        raise FoveateError(f"{data / config.annotations} has no video to train on")
    labels = sorted({a["label"] for entry in learned.values() for a in entry["annotations"]})
    extractor = FeatureExtractor(config.model.features, "cpu")
    folder = data / config.videos
    return (
        labels,
        load_tracks(learned, folder, labels, extractor),
        load_tracks(val, folder, labels, extractor),
    )
