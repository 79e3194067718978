"""Gaussian adapters on real pictures, beside the baselines that give their figures a meaning.

python -m vision.pretraining.adapter WEIGHTS --train train.tar --val val.tar --heat-map if.png
"""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from pathlib import Path
from typing import Any, cast, get_args

import cv2
import torch
from rich.console import Console
from rich.table import Table
from torch import Tensor
from torch.utils.data import DataLoader

from vision.attention.gaussian_adaptive import GaussianAdaptiveAttention
from vision.attention.importance import ImportanceFactor, Order, deletion_curve
from vision.backbones.gaussian_adapter import GaussianAdapter, LayerFeatures
from vision.backbones.gaussian_probe import Features, ProbeConfig, accuracy, collect, compare, fit
from vision.catalogue import catalogue, read_weights
from vision.errors import FoveateError
from vision.pretraining.classify import load_classifier
from vision.pretraining.data import Pictures, ViewConfig
from vision.pretraining.model import load_model

BATCH = 50
PARTS = (0.0, 0.1, 0.25, 0.5, 0.75, 0.9)
"""Shares of the features that the deletion test replaces by their means."""


def open_encoder(weights: str) -> tuple[LayerFeatures, ViewConfig]:
    """The layers of a frozen vision transformer, and its pictures.

    Args:
        weights: of a classifier, or of a pretext, whose encoder is taken; name or path.

    Raises:
        FoveateError: no such weights, or weights of another task.
    """
    known = catalogue().get(weights)
    task = known.task if known else read_weights(Path(weights)).metadata["task"]
    if task == "droppos":
        pretext, its_config = load_model(weights, "cpu")
        return LayerFeatures(pretext.encoder), its_config.view
    model, config, _ = load_classifier(weights, "cpu")
    return LayerFeatures(model), config.view


def probe(
    weights: str,
    *,
    train: Path,
    val: Path,
    seeds: Sequence[int] = (0, 1, 2),
    config: ProbeConfig | None = None,
) -> tuple[dict[str, Any], ImportanceFactor]:
    """Train adapters on the layers of a frozen encoder and put the gate's importance to the test.

    Every picture is seen once, uncropped and unvaried, and its features are kept.

    Args:
        weights: of the encoder, see `open_encoder`.
        train: tar or folder of pictures, in a folder a class.
        val: pictures held out.
        seeds: of the trainings that are averaged.
        config: of the trainings; None for the defaults.

    Returns:
        `rows`, one a kind of gate, with `gate`, `accuracies` on `val` and `learned`; `deletion`
        `{order: accuracies}`, of the adapter with the learned gate when `PARTS` of its features
        are deleted; `lowest` and `highest` mean attention. And the importance of the features.
    """
    encoder, view = open_encoder(weights)
    pictures = Pictures(train, view.evaluation())
    held_out = Pictures(val, view.evaluation(), pictures.classes)
    seen, unseen = (collect(encoder, DataLoader(p, batch_size=BATCH)) for p in (pictures, held_out))
    results = compare(encoder, seen, unseen, seeds=seeds, config=config)

    torch.manual_seed(seeds[0])
    adapter = GaussianAdapter(encoder, len(pictures.classes))
    fit(adapter, seen, config or ProbeConfig(), seeds[0])
    gate = cast(GaussianAdaptiveAttention, adapter.gate)
    importance = gate.importance_factor(unseen.values.split(BATCH))

    def score(values: Tensor) -> float:
        return accuracy(adapter, Features(values, unseen.labels))

    report = {
        "rows": [vars(result) for result in results],
        "parts": PARTS,
        "deletion": {
            order: deletion_curve(score, unseen.values, importance.values, order=order, parts=PARTS)
            for order in get_args(Order)
        },
        "lowest": importance.lowest,
        "highest": importance.highest,
    }
    return report, importance


def print_report(report: dict[str, Any], console: Console | None = None) -> None:
    """Print what `probe` returned."""
    console = console or Console()
    table = Table("gate", "top-1 (%)", "least and most (%)", "learned in gate", "in head")
    for row in report["rows"]:
        shares = [100 * share for share in row["accuracies"]]
        learned = row["learned"]
        table.add_row(
            row["gate"],
            f"{sum(shares) / len(shares):.1f}",
            f"{min(shares):.1f} {max(shares):.1f}",
            str(learned["gate"]),
            str(learned["head"]),
        )
    console.print(table)
    parts = (f"{100 * part:.0f} %" for part in report["parts"])
    table = Table("deleted first", *parts, title="top-1 (%) when features become their means")
    for order, shares in report["deletion"].items():
        table.add_row(order, *(f"{100 * share:.1f}" for share in shares))
    console.print(table)
    console.print(f"mean attention from {report['lowest']:.4f} to {report['highest']:.4f}")


def main() -> None:
    """Compare adapters on a frozen encoder and test what their gate calls important."""
    parser = argparse.ArgumentParser(description=main.__doc__)
    parser.add_argument("weights", help="of the encoder: a classifier's or a pretext's")
    parser.add_argument("--train", type=Path, required=True, help="pictures, a folder a class")
    parser.add_argument("--val", type=Path, required=True, help="pictures held out")
    parser.add_argument("--heat-map", type=Path, help="PNG to write the importance to")
    given = parser.parse_args()
    report, importance = probe(given.weights, train=given.train, val=given.val)
    print_report(report)
    if given.heat_map is not None:
        picture = cv2.cvtColor(importance.heat_map(), cv2.COLOR_RGB2BGR)
        if not cv2.imwrite(str(given.heat_map), picture):
            raise FoveateError(f"cannot write {given.heat_map}")


if __name__ == "__main__":
    main()
