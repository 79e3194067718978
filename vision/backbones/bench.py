"""The benchmark of bi-level routing: the operator, its module, and whole backbones.

foveate bench biformer
"""

from collections.abc import Callable, Iterable, Sequence
from functools import partial
from itertools import groupby
from unittest.mock import patch

import timm
import torch
from rich.box import SIMPLE
from rich.console import Console
from rich.table import Table
from torch import Tensor

from kernels.bench import (
    SHAPES,
    Form,
    Record,
    Shape,
    bench_core,
    measure,
    one_thread,
    published_attention,
)
from vision.attention import bi_level_routing
from vision.attention.bi_level_routing import BiLevelRoutingAttention

SIZES = ((224, 224), (448, 448), (800, 1088))
TRAIN_SIZE = (224, 224)
BASELINE = "swin_tiny_patch4_window7_224"


def bench_biformer(
    sizes: Sequence[tuple[int, int]] = SIZES, quick: bool = False
) -> tuple[list[Record], Callable[[Iterable[Record]], None]]:
    """Measure everything on one thread of the CPU, batch 1.

    Args:
        sizes: (height, width) of the pictures for whole backbones.
        quick: only the smallest shapes and pictures, and fewer runs.

    Returns:
        The records, and the function that prints them.
    """
    shapes = [shape for shape in SHAPES if shape.side <= 56] if quick else SHAPES
    sizes, repeats = (sizes[:1], 3) if quick else (sizes, 5)
    records = bench_core(shapes, repeats)
    with one_thread():
        for shape in shapes:
            records += measure(f"module {shape}", _module_forms(shape), repeats)
        for height, width in sizes:
            records += measure(f"eval {height}x{width}", _model_forms((height, width)), repeats)
        height, width = TRAIN_SIZE
        forms = _model_forms(TRAIN_SIZE, train=True)
        records += measure(f"train step {height}x{width}", forms, repeats)
    return records, print_bench


def print_bench(records: Iterable[Record]) -> None:
    """Print a table; beside each number stands how many times smaller it is than the first one."""
    table = Table("", box=SIMPLE, padding=(0, 1, 0, 0))
    for title in ("forward ms", "with backward ms", "peak MB"):
        table.add_column(title, justify="right")
    for subject, group in groupby(records, key=lambda record: record["subject"]):
        forms = list(group)
        table.add_section()
        table.add_row(f"[bold]{subject}")
        for record in forms:
            table.add_row(
                "  " + record["form"],
                _cell(record["forward_ms"], forms[0]["forward_ms"]),
                _cell(record["total_ms"], forms[0]["total_ms"]),
                _cell(record["peak_mb"], forms[0]["peak_mb"]),
            )
        table.caption = forms[0]["machine"]
    Console().print(table)


def _cell(value: float | None, first: float | None) -> str:
    return f"{value:.1f} {first / value:5.1f}x" if value and first else ""


def _module_forms(shape: Shape) -> dict[str, Form]:
    """Linear layers, routing, attention and LePE, with either core."""
    torch.manual_seed(0)
    module = BiLevelRoutingAttention(shape.channels, shape.heads, shape.topk, shape.splits)
    x = torch.randn(1, shape.side, shape.side, shape.channels, requires_grad=True)
    leaves = [x, *module.parameters()]
    run = partial(module, x)
    return {"published core": Form(_with_published_core(run), leaves), "ours": Form(run, leaves)}


def _model_forms(size: tuple[int, int], train: bool = False) -> dict[str, Form]:
    torch.manual_seed(0)
    x = torch.randn(1, 3, *size)
    baseline = timm.create_model(BASELINE, img_size=size).train(train)
    model = timm.create_model("biformer_tiny").train(train)
    leaves, run = list(model.parameters()) if train else [], partial(model, x)
    return {
        "swin_tiny": Form(partial(baseline, x), list(baseline.parameters()) if train else []),
        "with published core": Form(_with_published_core(run), leaves),
        "biformer_tiny": Form(run, leaves),
    }


def _with_published_core(run: Callable[[], Tensor]) -> Callable[[], Tensor]:
    def swapped() -> Tensor:
        with patch.object(bi_level_routing, "routed_attention", _published):
            return run()

    return swapped


def _published(
    query: Tensor,
    key: Tensor,
    value: Tensor,
    index: Tensor,
    heads: int,
    scale: float,
    weight: None = None,
    key_mask: None = None,
) -> Tensor:
    """Soft routing and masks are not part of what is compared."""
    return published_attention(query, torch.cat([key, value], -1), index, heads, scale)
