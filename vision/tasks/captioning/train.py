"""Training a captioner from a recipe: text with made-up pictures, then pictures, then the cycle."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import lightning as L
import torch
from lightning.pytorch.utilities.types import OptimizerLRSchedulerConfig
from torch import Tensor
from torch.utils.data import DataLoader

from vision.catalogue import open_weights
from vision.loaders import Loaders
from vision.optim import OptimConfig, optimizer
from vision.recipes import Recipe
from vision.tasks.captioning.baselines import consensus
from vision.tasks.captioning.data import (
    CaptionBatch,
    CaptionDataset,
    PicturesConfig,
    captions_of,
    collate,
    named_classes,
    read_text,
    true_regions,
)
from vision.tasks.captioning.imagination import Picture, match
from vision.tasks.captioning.losses import attention_loss, caption_loss
from vision.tasks.captioning.model import Captioner, CaptionerConfig
from vision.tasks.captioning.regions import RegionConfig
from vision.tasks.captioning.views import cached_views
from vision.tasks.captioning.vocabulary import Vocabulary
from vision.tasks.detection.coco import load_coco
from vision.tasks.detection.data import Pictures
from vision.training import Run, training


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
class CaptioningRecipe(Recipe):
    """Everything that determines a captioner.

    Args:
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
    """

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


class Corpus:
    """Captions, pictures and names of a recipe, as training takes them.

    Args:
        recipe: what to read.
        root: of the data.
    """

    def __init__(self, recipe: CaptioningRecipe, root: Path) -> None:
        self.recipe, self.root = recipe, root
        truths = [load_coco(root / p.annotations) for p in recipe.pictures]
        self.categories = truths[0]["categories"]
        self.classes = [c["name"] for c in self.categories]
        self.named = named_classes(root / recipe.named, self.categories)
        self.captions = read_text(root / recipe.text)
        for truth in truths:
            self.captions |= captions_of(truth)
        self.val = load_coco(root / recipe.val.annotations)
        for left_out in (self.val, *(load_coco(root / name) for name in recipe.without)):
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


@training(CaptioningRecipe)
def train(run: Run[CaptioningRecipe]) -> Path:
    """Train a captioner; weights to begin with keep their vocabulary."""
    recipe = run.recipe
    corpus = Corpus(recipe, run.data)
    beginning = None if run.init is None else open_weights(run.init, task="captioning")
    words = corpus.vocabulary() if beginning is None else Vocabulary(beginning.metadata["words"])
    samples, val = _datasets(recipe, corpus, words)
    run.seed()  # not before: whoever makes features draws numbers as well
    model = Captioner(
        CaptionerConfig(
            words=len(words),
            classes=len(corpus.classes),
            region_width=len(samples[0].view.overall),
            **asdict(recipe.model),
        )
    )
    if beginning is not None:
        beginning.fill(model)
    described = DataLoader(val, batch_size=50, collate_fn=collate)
    loaders = Loaders(samples, described, recipe.optim.batch, collate_fn=collate)
    run.fit(CaptioningModule(recipe, model), loaders, recipe.optim, recipe.validate_every)
    named = {w: corpus.classes[n - 1] for w, n in corpus.named.items() if w in set(words.words)}
    return run.write(
        "captioning",
        model.state_dict(),
        config=asdict(model.config),
        regions=asdict(recipe.regions),
        words=words.words,
        classes=corpus.classes,
        named=named,
        constant=consensus([" ".join(c) for i in samples.real for c in corpus.captions[i]]),
    )


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
        length=recipe.optim.samples,
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
