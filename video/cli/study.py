"""`foveate eval`, `foveate train`, `foveate bench` and `foveate NAME-show`."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Annotated, Any

import typer

from video.cli.options import OUTPUT, AsJson, Device, Output, Weights, bind
from vision.pretraining import STUDIES
from vision.tasks import TASKS, get_task
from vision.tasks.base import Study, resolve

BENCHES = {
    "backbones": (
        "vision.backbones.classifiers_bench:bench_backbones",
        "Classifiers that ship, beside timm's: parameters, multiply-adds, accuracy, speed",
    ),
    "biformer": (
        "vision.backbones.bench:bench_biformer",
        "Bi-level routing: published form, ours, dense attention, and whole backbones",
    ),
    "droppos": (
        "vision.pretraining.bench:bench_droppos",
        "Pretraining and fine-tuning: a training step of each shipped recipe",
    ),
    "gaussian": (
        "vision.backbones.gaussian_bench:bench_gaussian",
        "Gaussian gates: published loop, ours, and backbones with and without them",
    ),
    "sparsifiner": (
        "vision.backbones.sparsifiner_bench:bench_sparsifiner",
        "Sparse connectivity: published form, csr, blocks, dense attention, and whole backbones",
    ),
    "video": (
        "video.bench:bench_detect",
        "Frames/s of decoding, inference and encoding alone, and of the whole pipeline",
    ),
}
"""Benchmark -> function `(quick) -> (records, print_function)`, and one line of help."""


def add_to(app: typer.Typer) -> None:
    """Add the three groups of commands, and the pictures of studies that have one."""
    evaluations = typer.Typer(help="Measure weights on annotated data", no_args_is_help=True)
    trainings = typer.Typer(help="Train weights from a recipe", no_args_is_help=True)
    benches = typer.Typer(help="Measure speed and memory", no_args_is_help=True)
    for study in (*map(get_task, TASKS), *STUDIES):
        name, summary = study.name, study.summary
        evaluations.command(name, help=summary)(bind(evaluate, study, options=study.eval_options))
        trainings.command(name, help=summary)(bind(train, study))
        if study.show is not None:
            app.command(f"{name}-show", help=f"{summary}: one picture")(bind(show, study))
    for name, (reference, summary) in BENCHES.items():
        benches.command(name, help=summary)(bind(bench, reference))
    app.add_typer(evaluations, name="eval")
    app.add_typer(trainings, name="train")
    app.add_typer(benches, name="bench")


def evaluate(
    study: Study, *, weights: Weights = None, as_json: AsJson = False, **given: Any
) -> None:
    """Measure weights and print the figures."""
    report = study.load("evaluate")(weights, **given)
    if as_json:
        print(json.dumps(report, indent=1))
    else:
        study.load("report")(report)


def train(
    study: Study,
    *,
    recipe: Annotated[str, typer.Option(help="Name of a shipped recipe, or a TOML file")],
    data: Annotated[Path, typer.Option(help="Root of the data that the recipe names")],
    out: Annotated[Path, typer.Option(help="Folder for checkpoints, metrics and weights")],
    resume: Annotated[bool, typer.Option("--resume", help="Go on from --out")] = False,
    init: Annotated[str | None, typer.Option(help="Weights to begin with")] = None,
    override: Annotated[
        list[str] | None, typer.Option("--set", help="Change the recipe: a.b=value")
    ] = None,
) -> None:
    """Train weights and print where they are."""
    overrides = tuple(override or ())
    print(study.load("train")(recipe, data, out, resume=resume, init=init, overrides=overrides))


def show(
    study: Study,
    *,
    image: Annotated[Path, typer.Argument(help="A picture", show_default=False)],
    output: Output = OUTPUT,
    weights: Weights = None,
    seed: Annotated[int, typer.Option(help="Of what is hidden", min=0)] = 0,
    device: Device = None,
) -> None:
    """Write one picture of what a study's weights do."""
    from video.pictures import save_picture
    from vision.images import ImageStore

    pixels = ImageStore(image.parent).read(image.name)
    picture, line = study.load("show")(pixels, weights, seed=seed, device=device)
    path = output / f"{image.stem}-{study.name}.png"
    save_picture(path, picture)
    print(f"{line}, see {path}")


def bench(
    reference: str,
    *,
    quick: Annotated[bool, typer.Option("--quick", help="Fewer runs, smaller sizes")] = False,
    as_json: AsJson = False,
) -> None:
    """Run a benchmark and print its records."""
    records, show_records = resolve(reference)(quick=quick)
    if as_json:
        print(json.dumps(records, indent=1))
    else:
        show_records(records)
