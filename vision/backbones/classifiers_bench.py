"""The benchmark of classifiers: those that ship with foveate, and models of timm's of their size.

foveate bench backbones
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from functools import partial
from typing import Any, TypedDict

import timm
import torch
from torch import nn

from kernels.bench import Form, machine, measure, one_thread
from vision.backbones.sparsifiner_flops import executed_macs
from vision.catalogue import catalogue
from vision.pretraining.classify import load_classifier

BATCHES = (1, 32)
SIZE = 112
OTHERS: dict[str, dict[str, Any]] = {
    "vit_tiny_patch16_224": {"img_size": SIZE},
    "resnet18": {},
    "mobilenetv3_small_100": {},
    "tf_efficientnet_lite0": {},
}
"""Models of timm's to compare with -> their options; their weights are random."""


class Row(TypedDict):
    """One classifier.

    `macs` are the multiply-adds of matrix products, convolutions and attention that one picture
    executes, as PyTorch's `FlopCounterMode` sees them, sparse attention by the pairs it computes.
    """

    model: str
    size: tuple[int, int]
    parameters: int
    macs: int
    images_per_second: dict[int, float]  # by size of batch
    top1: float | None  # on the held-out pictures that it was released with
    machine: str


def bench_backbones(quick: bool = False) -> tuple[list[Row], Callable[[Iterable[Row]], None]]:
    """Measure everything on one thread of the CPU.

    Args:
        quick: fewer runs, and batches of one.

    Returns:
        The rows, and the function that prints them.
    """
    batches, repeats = (BATCHES[:1], 3) if quick else (BATCHES, 7)
    torch.manual_seed(0)
    models: dict[str, tuple[nn.Module, tuple[int, int], float | None]] = {}
    for entry in catalogue().values():
        if entry.task == "classification":
            model, config, _ = load_classifier(entry.name, "cpu")
            models[entry.name] = model, config.view.size, entry.score.get("top1")
    for name, options in OTHERS.items():
        model = timm.create_model(name, num_classes=10, **options).eval()
        models[name] = model, (SIZE, SIZE), None
    speeds: dict[str, dict[int, float]] = {name: {} for name in models}
    with one_thread(), torch.inference_mode():
        for batch in batches:
            forms = {
                name: Form(partial(model, torch.randn(batch, 3, *size)))
                for name, (model, size, _) in models.items()
            }
            for record in measure(f"batch {batch}", forms, repeats):
                speeds[record["form"]][batch] = round(1e3 * batch / record["forward_ms"], 1)
        rows = [
            Row(
                model=name,
                size=size,
                parameters=sum(p.numel() for p in model.parameters()),
                macs=executed_macs(model, torch.randn(1, 3, *size)),
                images_per_second=speeds[name],
                top1=top1,
                machine=machine(),
            )
            for name, (model, size, top1) in models.items()
        ]
    return rows, print_rows


def print_rows(rows: Iterable[Row]) -> None:
    """Print a Markdown table."""
    rows = list(rows)
    batches = list(rows[0]["images_per_second"])
    heads = ["model", "pixels", "parameters", "MACs", "top-1", *(f"images/s, {b}" for b in batches)]
    print("| " + " | ".join(heads) + " |")
    print("|---" * len(heads) + "|")
    for row in rows:
        cells = [
            f"`{row['model']}`",
            "x".join(map(str, row["size"])),
            f"{row['parameters'] / 1e6:.2f} M",
            f"{row['macs'] / 1e6:.0f} M",
            "" if row["top1"] is None else f"{100 * row['top1']:.1f} %",
            *(f"{row['images_per_second'][batch]:.0f}" for batch in batches),
        ]
        print("| " + " | ".join(cells) + " |")
    print(f"\nimages/s by size of batch; {rows[0]['machine']}")
