"""`foveate eval classification`: a classifier of whole pictures, and how good and fast it is."""

from __future__ import annotations

import time
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import timm
import torch
from rich.console import Console
from rich.table import Table
from torch import nn
from torch.utils.data import DataLoader

from vision.catalogue import open_weights
from vision.devices import pick_device
from vision.errors import FoveateError
from vision.pretraining.data import Pictures, ViewConfig

BATCH = 50


@dataclass(frozen=True)
class ClassifierConfig:
    """A timm model and its pictures.

    Args:
        model: name of a timm model.
        view: its pictures.
        options: of the model, such as `depth`, `img_size` and `drop_path_rate`.
    """

    model: str
    view: ViewConfig
    options: dict[str, Any] = field(default_factory=dict)


def create_classifier(config: ClassifierConfig, classes: int) -> nn.Module:
    """The model of a configuration, its weights random; FoveateError when timm has none such."""
    if not timm.is_model(config.model):
        raise FoveateError(f"timm knows no model {config.model!r}")
    try:
        return timm.create_model(config.model, num_classes=classes, **config.options)
    except TypeError as error:
        raise FoveateError(f"{config.model} does not take these options: {error}") from None


def load_classifier(
    name: str | None, device: str | None = None
) -> tuple[nn.Module, ClassifierConfig, list[str]]:
    """A classifier from weights, for evaluation, with its pictures and the names of its classes.

    Args:
        name: catalogue name or path; the default when None.
        device: where to run; the best there is when None.

    Raises:
        FoveateError: no such weights or device.
    """
    place = pick_device(device)
    weights = open_weights(name, task="classification")
    config = weights.config(ClassifierConfig)
    classes: list[str] = weights.metadata["classes"]
    model = create_classifier(config, len(classes))
    weights.fill(model)
    return model.to(place).eval(), config, classes


@torch.inference_mode()
def evaluate(weights: str | None, *, images: Path, device: str | None = None) -> dict[str, Any]:
    """Classify a folder or tar of pictures, in a folder a class.

    Args:
        weights: catalogue name or path; the default when None.
        images: uncompressed tar or folder.
        device: where to run.

    Returns:
        `images`; `top1` and `top5` (None below six classes), in [0, 1]; `per_class`
        `{name: top1}`; and `images_per_second` of the model alone, batches of 50.

    Raises:
        FoveateError: weights, pictures or a device that are not there, or unknown classes.
    """
    model, config, classes = load_classifier(weights, device)
    pictures = Pictures(images, config.view.evaluation(), classes)
    place = next(model.parameters()).device
    ranks, labels, seconds = [], [], []
    for batch, truth in DataLoader(pictures, batch_size=BATCH):
        batch = batch.to(place)
        begin = time.perf_counter()
        logits = model(batch).cpu()  # waits for the device
        seconds.append((time.perf_counter() - begin) / len(batch))
        ranks.append((logits > logits.gather(1, truth[:, None])).sum(1))
        labels.append(truth)
    rank, label = torch.cat(ranks), torch.cat(labels)
    first = (rank == 0).double()
    return {
        "images": len(pictures),
        "top1": float(first.mean()),
        "top5": float((rank < 5).double().mean()) if len(classes) > 5 else None,
        "images_per_second": 1 / sorted(seconds)[len(seconds) // 2],
        "per_class": {
            name: float(first[label == i].mean())
            for i, name in enumerate(classes)
            if (label == i).any()
        },
    }


def print_report(report: dict[str, Any], console: Console | None = None) -> None:
    """Print what `evaluate` returned."""
    console = console or Console()
    table = Table("class", "top-1 (%)")
    for name, share in sorted(report["per_class"].items(), key=lambda row: -row[1]):
        table.add_row(name, f"{100 * share:.1f}")
    console.print(table)
    five = "" if report["top5"] is None else f", top-5 {100 * report['top5']:.1f} %"
    console.print(
        f"{report['images']} pictures: top-1 {100 * report['top1']:.1f} %{five}, "
        f"{report['images_per_second']:.0f} images/s"
    )
