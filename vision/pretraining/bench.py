"""`foveate bench droppos`: time of a training picture in the shipped recipes."""

from __future__ import annotations

from collections.abc import Callable

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from kernels.bench import Form, Record, measure, one_thread
from vision.backbones.bench import print_bench
from vision.pretraining.finetune import FinetuneModule, FinetuneRecipe
from vision.pretraining.train import DropPosModule, DropPosRecipe
from vision.recipes import load_recipe

PRETRAININGS = ("droppos-imagenette", "droppos-biformer-imagenette")
TUNING = "imagenette-vit"
BATCH = 32


def bench_droppos(quick: bool = False) -> tuple[list[Record], Callable[[list[Record]], None]]:
    """Measure steps of 32 pictures, without reading them, on one thread.

    Args:
        quick: one repeat instead of five.

    Returns:
        Records, and a function that prints them.
    """
    forms: dict[str, Form] = {}
    for name in PRETRAININGS:
        recipe = load_recipe(DropPosRecipe, name)
        forms[name] = _pretraining(DropPosModule(recipe), recipe.model.view.size)
    tuning = load_recipe(FinetuneRecipe, TUNING)
    forms[TUNING] = _tuning(FinetuneModule(tuning, ["class"] * 10), tuning.model.view.size)
    with one_thread():
        records = measure(f"a step of {BATCH} pictures", forms, repeats=1 if quick else 5)
    return records, print_bench


def _pretraining(module: DropPosModule, size: tuple[int, int]) -> Form:
    images, targets = torch.randn(BATCH, 3, *size), module.model.smoothing(1.0)

    def run() -> Tensor:
        return module.model(images, targets).loss

    return Form(run, _leaves(module))


def _tuning(module: FinetuneModule, size: tuple[int, int]) -> Form:
    images, labels = torch.randn(BATCH, 3, *size), torch.zeros(BATCH, dtype=torch.long)

    def run() -> Tensor:
        return F.cross_entropy(module.model(images), labels)

    return Form(run, _leaves(module))


def _leaves(module: nn.Module) -> list[nn.Parameter]:
    return [p for p in module.parameters() if p.requires_grad]
