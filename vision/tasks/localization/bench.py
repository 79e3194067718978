"""Which head, which gate, which features: every row trained with several seeds, in one table.

    python -m vision.tasks.localization.bench --data ROOT --out TABLE.json

trains each row on the training videos of `actions`, measures it on the validation videos through
the stream, and prints mean and spread over the seeds; then, for the default recipe, how many
trimmed clips of a subject that was left out get the right class.
"""

from __future__ import annotations

import argparse
import json
import tempfile
import time
from pathlib import Path
from typing import Any

import numpy as np
import torch
from rich.console import Console
from rich.table import Table

from vision.features import FeatureExtractor, video_features
from vision.recipes import load_recipe
from vision.tasks.localization.data import Track, read_annotations
from vision.tasks.localization.evaluate import choose, measure
from vision.tasks.localization.frames import class_probabilities
from vision.tasks.localization.model import LocalizationModel
from vision.tasks.localization.train import LocalizationRecipe, load_data, train_model
from vision.training import Run

APPEARANCE = ('model.features.parts=["appearance"]', "model.frames.input_dropout=0.3")

OURS = (
    *APPEARANCE,
    'model.features.backbone="gaussian_vit_nano"',
    'model.features.weights="timm"',
    "model.features.size=112",
    "model.features.mean=[0.485, 0.456, 0.406]",
    "model.features.std=[0.229, 0.224, 0.225]",
)

ROWS: dict[str, tuple[str, tuple[str, ...]]] = {
    "multi-scale (default)": ("localization-actions", ()),
    "per-frame head": ("localization-actions", ('model.head="frames"', "augment.window=9.6")),
    "BMN": ("localization-bmn", ()),
    "BMN + SE": ("localization-bmn", ('model.bmn.gate="se"',)),
    "BMN + CSA": ("localization-bmn", ('model.bmn.gate="csa"',)),
    "multi-scale, lite0 features": ("localization-actions", APPEARANCE),
    "multi-scale, gaussian_vit_nano features": ("localization-actions", OURS),
}
"""Name of a row, and the recipe and overrides that make it."""

LIVE = "causal head of the default"


def run_row(
    recipe: LocalizationRecipe, data: Path, loaded: tuple[list[str], list[Track], list[Track]]
) -> tuple[LocalizationModel, float]:
    """Train one model; returns it and the processor seconds that it took."""
    began = time.process_time()
    with tempfile.TemporaryDirectory() as folder:
        model = train_model(Run(recipe, data, Path(folder)), *loaded)
    return model, time.process_time() - began


def rows(data: Path, seeds: int, names: list[str]) -> dict[str, list[dict[str, Any]]]:
    """Figures of every row, one entry a seed."""
    results: dict[str, list[dict[str, Any]]] = {}
    for name in names:
        base, overrides = ROWS[name]
        recipe = load_recipe(LocalizationRecipe, base, overrides)
        database = choose(read_annotations(data / recipe.annotations), "validation")
        loaded = load_data(recipe, data)
        for seed in range(seeds):
            seeded = load_recipe(LocalizationRecipe, base, (*overrides, f"seed={seed}"))
            model, seconds = run_row(seeded, data, loaded)
            figures = measure(model, loaded[0], database, data / recipe.videos)
            results.setdefault(name, []).append({**figures, "seconds": seconds})
            if name.endswith("(default)"):
                live = measure(model, loaded[0], database, data / recipe.videos, live=True)
                results.setdefault(LIVE, []).append({**live, "seconds": seconds})
            print(name, seed, brief(results[name][-1]), flush=True)
    return results


def brief(figures: dict[str, Any]) -> dict[str, float]:
    """Average mAP in % of each group of videos."""
    return {k: round(100 * group["average"], 1) for k, group in figures["groups"].items()}


def clip_accuracy(data: Path, seeds: int) -> list[float]:
    """Share of trimmed clips of a left-out subject that get the right class, one a seed."""
    clips = json.loads((data / "actions/clips.json").read_text())
    subjects = sorted({clip["subject"] for clip in clips})
    accuracies = []
    for seed in range(seeds):
        right = []
        for subject in subjects:
            overrides = (f"seed={seed}", f"hold_out={subject}")
            recipe = load_recipe(LocalizationRecipe, "localization-actions", overrides)
            loaded = load_data(recipe, data)
            model, _ = run_row(recipe, data, loaded)
            extractor = FeatureExtractor(recipe.model.features, "cpu")
            for clip in (c for c in clips if c["subject"] == subject):
                values = video_features(data / "actions" / clip["file"], extractor).values
                right.append(loaded[0][clip_class(model, values)] == clip["label"])
        accuracies.append(float(np.mean(right)))
        print("clips", seed, round(accuracies[-1], 3), flush=True)
    return accuracies


@torch.inference_mode()
def clip_class(model: LocalizationModel, values: np.ndarray) -> int:
    """The likeliest class of a trimmed clip: mean log probability of its steps."""
    logits = model.frames(model.normalise(torch.from_numpy(values)[None]))[0]
    return int(np.log(class_probabilities(logits)).mean(0).argmax())


def print_table(results: dict[str, list[dict[str, Any]]]) -> None:
    """Mean and standard deviation of each row over its seeds."""
    groups = list(next(iter(results.values()))[0]["groups"])
    table = Table("average mAP@0.3:0.1:0.7 (%)", *groups, "delay", "training")
    for name, runs in results.items():
        cells = []
        for group in groups:
            values = [100 * run["groups"][group]["average"] for run in runs]
            cells.append(f"{np.mean(values):.1f} ± {np.std(values):.1f}")
        delay = np.mean([run["delay"] for run in runs])
        seconds = np.mean([run["seconds"] for run in runs])
        table.add_row(name, *cells, f"{delay:.1f} s", f"{seconds:.0f} s")
    Console(width=140).print(table)


def main() -> None:
    """Train, measure and print."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--data", type=Path, required=True, help="root that holds actions/")
    parser.add_argument("--seeds", type=int, default=5)
    parser.add_argument("--rows", nargs="*", choices=[*ROWS, "clips"], help="all when left out")
    parser.add_argument("--out", type=Path, help="JSON file that keeps all figures")
    given = parser.parse_args()
    torch.set_num_threads(1)
    wanted = given.rows or [*ROWS, "clips"]
    results = rows(given.data, given.seeds, [r for r in wanted if r in ROWS])
    clips = clip_accuracy(given.data, given.seeds) if "clips" in wanted else []
    if results:
        print_table(results)
    if clips:
        spread = f"{100 * np.mean(clips):.1f} ± {100 * np.std(clips):.1f}"
        print(f"clips of a left-out subject: {spread} % right")
    if given.out is not None:
        given.out.write_text(json.dumps({"rows": results, "clips": clips}, indent=1))


if __name__ == "__main__":
    main()
