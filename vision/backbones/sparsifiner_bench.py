"""The benchmark of sparse connectivity: attention by itself, whole backbones, and what they count.

foveate bench sparsifiner
"""

from collections.abc import Callable, Iterable
from functools import partial
from itertools import groupby
from math import ceil
from typing import Any

import timm
import torch
from rich.box import SIMPLE
from rich.console import Console
from rich.table import Table
from torch import Tensor, nn
from torch.nn.functional import scaled_dot_product_attention

from kernels.bench import Form, Record, measure, one_thread
from kernels.sparse_connectivity import (
    block_attention,
    keep_largest,
    masked_softmax,
    sparse_attention,
)
from vision.attention.connectivity import ConnectivityPredictor
from vision.backbones.sparsifiner_flops import executed_macs, published_cost

TOKENS = (197, 577, 1024, 4096)
KEEP_RATES = (0.05, 0.1, 0.25, 0.5)
WIDTH = 64
QUERY_BLOCK, KEY_BLOCK = 128, 32
NAME = "sparsifiner_deit_small_patch16_224"


def bench_sparsifiner(
    quick: bool = False,
) -> tuple[list[Record], Callable[[Iterable[Record]], None]]:
    """Measure everything on one thread of the CPU, batch 1.

    Args:
        quick: only the two smaller numbers of tokens and two keep rates, and fewer runs.

    Returns:
        The records, and the function that prints them.
    """
    sizes, rates, repeats = (TOKENS[:2], KEEP_RATES[1:3], 3) if quick else (TOKENS, KEEP_RATES, 3)
    records = []
    with one_thread(), torch.inference_mode():
        for tokens in sizes:
            for rate in rates:
                subject = f"attention N={tokens} keep={rate}"
                often = 3 * repeats if tokens <= 1024 else repeats  # short ones vary more
                records += measure(subject, attention_forms(tokens, rate), often)
        records += measure("backbone 224x224", _model_forms(), repeats)
    return records, print_report


def print_report(records: Iterable[Record]) -> None:
    """Print times, then multiply-adds, which say little about them."""
    print_times(records)
    print("Multiply-adds of DeiT-S at 224x224, in millions:")
    print("  attention as published counts it: keep, kept pairs, predictor, against dense")
    for rate in KEEP_RATES:
        cost = published_cost(rate)
        core, predictor = cost.core / 1e6, cost.predictor / 1e6
        print(f"    {rate:<5} {core:7.1f} {predictor:7.1f}  {100 * cost.change:+.0f} %")
    print("  whole backbone as executed:")
    x = torch.randn(1, 3, 224, 224)
    for name, model in _models().items():
        print(f"    {name:<28} {executed_macs(model, x) / 1e6:8.0f}")


def print_times(records: Iterable[Record]) -> None:
    """Print a table; beside each time stands its ratio to that of the first, dense form."""
    table = Table("", box=SIMPLE, padding=(0, 1, 0, 0))
    for title in ("ms", "of dense", "peak MB"):
        table.add_column(title, justify="right")
    for subject, group in groupby(records, key=lambda record: record["subject"]):
        forms = list(group)
        table.add_section()
        table.add_row(f"[bold]{subject}")
        for record in forms:
            ratio = record["forward_ms"] / forms[0]["forward_ms"]
            verdict = "[green]" if ratio < 0.995 else "[red]" if ratio > 1.005 else ""
            table.add_row(
                "  " + record["form"],
                f"{record['forward_ms']:.1f}",
                f"{verdict}{ratio:.2f}x",
                f"{record['peak_mb']:.1f}",
            )
        table.caption = forms[0]["machine"]
    Console().print(table)


def attention_forms(tokens: int, rate: float) -> dict[str, Form]:
    """Ways to attend from all queries to a share of the keys, and to all of them."""
    generator = torch.Generator().manual_seed(0)
    heads = 6 if tokens <= 1024 else 3  # all pairs take much memory
    query, key, value = (
        torch.randn(1, heads, tokens, WIDTH, generator=generator) for _ in range(3)
    )
    budget, scale = ceil(rate * tokens), WIDTH**-0.5
    torch.manual_seed(0)
    predictor = ConnectivityPredictor(heads * WIDTH, heads, tokens, rate).eval()

    def published() -> Tensor:
        chosen = predictor(query, key).mask
        return masked_softmax((query * scale) @ key.transpose(-2, -1), chosen) @ value

    def select() -> Tensor:
        reduce, basis = predictor.matrices(None, None, None)
        return keep_largest(predictor.score(query, key, reduce, basis), budget)

    def by_blocks() -> Tensor:
        reduce, basis = predictor.matrices(None, None, None)
        scores = predictor.score_blocks(query, key, reduce, basis, QUERY_BLOCK, KEY_BLOCK)
        index = scores.topk(ceil(rate * scores.shape[-1]), dim=-1).indices
        return block_attention(query, key, value, index, scale, QUERY_BLOCK, KEY_BLOCK)

    mask = select()
    forms: dict[str, Callable[[], Tensor]] = {
        "dense": partial(scaled_dot_product_attention, query, key, value),
        "published: predict, mask": published,
        "mask given, masked dense": partial(
            sparse_attention, query, key, value, mask, scale, backend="reference"
        ),
        "mask given, csr": partial(sparse_attention, query, key, value, mask, scale),
        "csr: predict, select": lambda: sparse_attention(query, key, value, select(), scale),
        "block: predict, select": by_blocks,
    }
    return {name: Form(run) for name, run in forms.items()}


def _models() -> dict[str, nn.Module]:
    forms: dict[str, dict[str, Any]] = {
        "dense": {"mode": "dense"},
        "dense, tokens 0.7": {"mode": "dense", "token_keep_rate": 0.7},
        "published": {"mode": "published"},
        "published, tokens 0.7": {"mode": "published", "token_keep_rate": 0.7},
        "csr": {},
        "csr, tokens 0.7": {"token_keep_rate": 0.7},
        "block": {"mode": "block"},
        "block, tokens 0.7": {"mode": "block", "token_keep_rate": 0.7},
    }
    torch.manual_seed(0)
    models = {"timm deit_small": timm.create_model("deit_small_patch16_224").eval()}
    for name, options in forms.items():
        models[name] = timm.create_model(NAME, **options).eval()
    return models


def _model_forms() -> dict[str, Form]:
    x = torch.randn(1, 3, 224, 224)
    return {name: Form(partial(model, x)) for name, model in _models().items()}
