"""Training a captioner from a recipe: text with made-up pictures, then pictures, then the cycle."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import lightning as L
import torch
from lightning.pytorch.utilities.types import OptimizerLRSchedulerConfig
from torch import Tensor
from torch.utils.data import DataLoader

from vision.catalogue import open_weights, write_weights
from vision.recipes import load_recipe
from vision.tasks.captioning.data import (
    CaptionBatch,
    CaptionDataset,
    Picture,
    PicturesConfig,
    captions_of,
    collate,
    match,
    named_classes,
    read_text,
    true_regions,
)
from vision.tasks.captioning.losses import attention_loss, caption_loss
from vision.tasks.captioning.model import Captioner, CaptionerConfig
from vision.tasks.captioning.predict import load_captioner
from vision.tasks.captioning.regions import RegionConfig
from vision.tasks.captioning.views import cached_views
from vision.tasks.captioning.vocabulary import Vocabulary
from vision.tasks.detection.data import Pictures, load_json
from vision.training import FromStep, OptimConfig, fit, optimizer, seed_everything


@dataclass(frozen=True)
class ModelSizes:
    """Sizes of a captioner that the data does not give; see `CaptionerConfig`."""

    length: int = 18
    width: int = 256
    word_width: int = 192
    attention_width: int = 96
    feature_width: int = 192
    dropout: float = 0.3
    region_dropout: float = 0.3


@dataclass(frozen=True)
class LossWeights:
    """What the losses count.

    Args:
        decode: words of the decoder.
        reconstruct: words of the reconstructor; without it there is no cycle.
        classes: true classes of regions.
        attention: attention to the regions that show what a word names; 0 leaves attention to
            be learnt from captions alone.
    """

    decode: float = 0.5
    reconstruct: float = 0.5
    classes: float = 0.1
    attention: float = 0.0


@dataclass(frozen=True)
class CaptioningRecipe:
    """Everything that determines a captioner; paths are relative to the data root.

    Args:
        name: of the weights it makes.
        seed: of every random choice.
        text: captions without pictures, `{image id: [caption, ...]}`.
        named: words that name a category, `{word: category id}`.
        pictures: annotated pictures; those with captions, their own or in `text`, are described.
        without: COCO files whose pictures' captions are left out of the text.
        val: annotated pictures with captions to validate on.
        optim: optimiser and schedule.
        model: sizes.
        regions: where regions come from.
        losses: what they count.
        share: part of the samples that are pictures; for the others one is made up.
        least: how often a word must occur.
        validate_every: steps between validations.
        licence: of the weights.
        data: attribution of the data, kept in the weights.
    """

    name: str
    seed: int
    text: str
    named: str
    pictures: list[PicturesConfig]
    without: list[str]
    val: PicturesConfig
    optim: OptimConfig
    model: ModelSizes
    regions: RegionConfig
    losses: LossWeights
    share: float = 0.0
    least: int = 6
    validate_every: int = 250
    licence: str = ""
    data: str = ""


class CaptioningModule(L.LightningModule):
    """Trains a captioner; logs its losses.

    Args:
        recipe: what to train.
        model: what is trained.
    """

    def __init__(self, recipe: CaptioningRecipe, model: Captioner) -> None:
        super().__init__()
        self.recipe = recipe
        self.model = model

    def losses(self, batch: CaptionBatch) -> dict[str, Tensor]:
        """The losses that count, each times its weight."""
        weights = self.recipe.losses
        scene = self.model.encode(batch.inputs)
        trace = self.model(scene, batch.captions, cycle=weights.reconstruct > 0)
        known = batch.targets > 0
        classes = scene.class_scores.flatten(0, 1).gather(1, batch.targets.view(-1, 1))
        losses = {
            "decode": weights.decode * caption_loss(trace.log_probs, batch.captions),
            "classes": -weights.classes * classes[known.flatten()].sum() / known.sum().clamp(min=1),
        }
        if trace.rebuilt is not None:
            rebuilt = caption_loss(trace.rebuilt, batch.captions)
            losses["reconstruct"] = weights.reconstruct * rebuilt
        if weights.attention > 0:
            attention = attention_loss(trace.scores, batch.positive)
            losses["attention"] = weights.attention * attention
        return losses

    def training_step(self, batch: CaptionBatch, _: int) -> Tensor:
        losses = self.losses(batch)
        total = torch.stack(list(losses.values())).sum()
        if not torch.isfinite(total):
            raise RuntimeError(f"loss is not finite: { {k: float(v) for k, v in losses.items()} }")
        self.log_dict({f"train/{k}": v.detach() for k, v in losses.items()}, batch_size=1)
        return total

    def validation_step(self, batch: CaptionBatch, _: int) -> None:
        scene = self.model.encode(batch.inputs)
        trace = self.model(scene, batch.captions, cycle=False)
        loss = caption_loss(trace.log_probs, batch.captions)
        self.log("val/loss", loss, batch_size=len(batch.captions))

    def on_validation_epoch_end(self) -> None:
        loss = float(self.trainer.callback_metrics["val/loss"])
        print(self.global_step, f"loss on the validation pictures {loss:.4f}", flush=True)

    def configure_optimizers(self) -> OptimizerLRSchedulerConfig:
        """AdamW at one rate."""
        return optimizer(self.model, self.recipe.optim, lambda _: False)


class CaptioningData(L.LightningDataModule):
    """Loaders of a recipe's samples and of its validation pictures."""

    def __init__(
        self, recipe: CaptioningRecipe, train: CaptionDataset, val: CaptionDataset
    ) -> None:
        super().__init__()
        self.recipe, self.train, self.val = recipe, train, val

    def train_dataloader(self) -> DataLoader[Any]:
        """Samples, going on from the trainer's step."""
        batch = self.recipe.optim.batch
        sampler = FromStep(self, len(self.train), batch)
        return DataLoader(self.train, batch_size=batch, sampler=sampler, collate_fn=collate)

    def val_dataloader(self) -> DataLoader[Any]:
        """Validation pictures, each with some of its captions."""
        return DataLoader(self.val, batch_size=50, collate_fn=collate)


class Corpus:
    """Captions, pictures and names of a recipe, as training takes them.

    Args:
        recipe: what to read.
        root: of the data.
    """

    def __init__(self, recipe: CaptioningRecipe, root: Path) -> None:
        self.recipe, self.root = recipe, root
        truths = [load_json(root / p.annotations) for p in recipe.pictures]
        self.categories = truths[0]["categories"]
        self.classes = [c["name"] for c in self.categories]
        self.named = named_classes(root / recipe.named, self.categories)
        self.captions = read_text(root / recipe.text)
        for truth in truths:
            self.captions |= captions_of(truth)
        self.val = load_json(root / recipe.val.annotations)
        for left_out in (self.val, *(load_json(root / name) for name in recipe.without)):
            for image in left_out["images"]:
                self.captions.pop(image["id"], None)
        self.truths = truths

    def vocabulary(self) -> Vocabulary:
        """The words that occur often enough."""
        every = (caption for rows in self.captions.values() for caption in rows)
        return Vocabulary.count(every, self.recipe.least)

    def pictures(self) -> list[Picture]:
        """All training pictures, each once."""
        found: dict[int, Picture] = {}
        for config, truth in zip(self.recipe.pictures, self.truths, strict=True):
            for picture in self._look(config, truth):
                found.setdefault(picture.id, picture)
        return list(found.values())

    def val_pictures(self) -> list[Picture]:
        """The validation pictures."""
        return self._look(self.recipe.val, self.val)

    def _look(self, config: PicturesConfig, truth: dict[str, Any]) -> list[Picture]:
        pictures = Pictures(self.root / config.images, truth)
        boxes = true_regions(truth)
        true = [boxes.get(image_id, []) for image_id, _ in pictures.keys]
        regions, classes = self.recipe.regions, self.classes
        found = cached_views(regions, pictures, classes)
        annotated = cached_views(regions, pictures, classes, true)
        return [
            match(image_id, one, other)
            for (image_id, _), one, other in zip(pictures.keys, found, annotated, strict=True)
        ]


def train(
    recipe: str,
    data: Path,
    out: Path,
    *,
    resume: bool = False,
    init: str | None = None,
    overrides: Sequence[str] = (),
) -> Path:
    """Train a captioner and write its weights to `out`.

    Args:
        recipe: name of a shipped recipe, or path.
        data: root of the data that the recipe names.
        out: folder of the run.
        resume: go on from the run in `out`.
        init: weights to begin with, by name or path; their vocabulary is kept.
        overrides: `"optim.steps=100"` and the like.

    Returns:
        Path of the weights.

    Raises:
        FoveateError: an unusable recipe, data that is not there, or nothing to resume.
    """
    config = load_recipe(CaptioningRecipe, recipe, overrides)
    corpus = Corpus(config, data)
    beginning = None if init is None else open_weights(init, task="captioning")
    words = corpus.vocabulary() if beginning is None else Vocabulary(beginning.metadata["words"])
    datasets = _datasets(config, corpus, words)
    seed_everything(config.seed)  # not before: whoever makes features draws numbers as well
    model = Captioner(
        CaptionerConfig(
            words=len(words),
            classes=len(corpus.classes),
            region_width=len(datasets[0][0].view.overall),
            **asdict(config.model),
        )
    )
    if beginning is not None:
        load_captioner(model, beginning)
    module = CaptioningModule(config, model)
    loaders = CaptioningData(config, *datasets)
    fit(module, loaders, config.optim, out, resume=resume, validate_every=config.validate_every)
    path = out / f"{config.name}.safetensors"
    named = {w: corpus.classes[n - 1] for w, n in corpus.named.items() if w in set(words.words)}
    write_weights(
        path,
        module.model.state_dict(),
        {
            "task": "captioning",
            "config": asdict(model.config),
            "regions": asdict(config.regions),
            "words": words.words,
            "classes": corpus.classes,
            "named": named,
            "recipe": asdict(config),
            "licence": config.licence,
            "data": config.data,
            "score": {},
        },
    )
    return path


def _datasets(
    recipe: CaptioningRecipe, corpus: Corpus, words: Vocabulary
) -> tuple[CaptionDataset, CaptionDataset]:
    shared: dict[str, Any] = {
        "vocabulary": words,
        "named": corpus.named,
        "classes": len(corpus.classes),
        "caption_length": recipe.model.length,
    }
    train = CaptionDataset(
        corpus.pictures(),
        corpus.captions,
        share=recipe.share,
        batch=recipe.optim.batch,
        length=recipe.optim.steps * recipe.optim.batch,
        seed=recipe.seed,
        **shared,
    )
    val = CaptionDataset(
        corpus.val_pictures(),
        captions_of(corpus.val),
        share=1.0,
        batch=1,
        length=200,
        seed=0,
        **shared,
    )
    return train, val
