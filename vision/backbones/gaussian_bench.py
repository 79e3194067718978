"""The benchmark of Gaussian adaptive attention: the gate by itself, and backbones around it.

foveate bench gaussian
"""

from collections.abc import Callable, Iterable
from functools import partial

import timm
import torch

from kernels.bench import Form, Record, measure, one_thread
from kernels.gaussian_adaptive.bench import SHAPES, bench_gate
from vision.backbones.bench import print_bench

MODELS = {"vit_tiny": "vit_tiny_patch16_224", "gaussian_vit_tiny": "gaussian_vit_tiny"}


def bench_gaussian(
    quick: bool = False,
) -> tuple[list[Record], Callable[[Iterable[Record]], None]]:
    """Measure everything on one thread of the CPU.

    Args:
        quick: only the first shape and no backbones, and fewer runs.

    Returns:
        The records, and the function that prints them.
    """
    if quick:
        return bench_gate(SHAPES[:1], repeats=5), print_bench
    records = bench_gate()
    with one_thread():
        records += measure("eval 224x224", model_forms())
    return records, print_bench


def model_forms() -> dict[str, Form]:
    """timm's ViT-Ti, ours, and ours without its gates, on one picture."""
    torch.manual_seed(0)
    x = torch.randn(1, 3, 224, 224)
    models = {name: timm.create_model(model) for name, model in MODELS.items()}
    models["gaussian_vit_tiny without gates"] = timm.create_model("gaussian_vit_tiny", gate=None)
    return {name: Form(partial(model.eval(), x)) for name, model in models.items()}
