"""`foveate eval`, `foveate train`, `foveate bench` and `foveate NAME-show`."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Annotated, Any

import typer

from video.cli.options import with_options
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

AsJson = Annotated[bool, typer.Option("--json", help="Print JSON instead of tables")]


def add_to(app: typer.Typer) -> None:
    """Add the three groups of commands, and the pictures of studies that have one."""
    evaluations = typer.Typer(help="Measure weights on annotated data", no_args_is_help=True)
    trainings = typer.Typer(help="Train weights from a recipe", no_args_is_help=True)
    benches = typer.Typer(help="Measure speed and memory", no_args_is_help=True)
    for study in (*map(get_task, TASKS), *STUDIES):
        evaluations.command(study.name, help=study.summary)(_evaluation(study))
        trainings.command(study.name, help=study.summary)(_training(study))
        if study.show is not None:
            app.command(f"{study.name}-show", help=f"{study.summary}: one picture")(_show(study))
    for name, (reference, summary) in BENCHES.items():
        benches.command(name, help=summary)(_bench(reference))
    app.add_typer(evaluations, name="eval")
    app.add_typer(trainings, name="train")
    app.add_typer(benches, name="bench")


def _evaluation(study: Study) -> Any:
    def evaluation(
        *,
        weights: Annotated[
            str | None,
            typer.Option(help="Name (see `foveate weights`) or file", show_default=False),
        ] = None,
        as_json: AsJson = False,
        **given: Any,
    ) -> None:
        report = study.load("evaluate")(weights, **given)
        if as_json:
            print(json.dumps(report, indent=1))
        else:
            study.load("report")(report)

    return with_options(evaluation, study.eval_options)


def _training(study: Study) -> Any:
    def training(
        recipe: Annotated[str, typer.Option(help="Name of a shipped recipe, or a TOML file")],
        data: Annotated[Path, typer.Option(help="Root of the data that the recipe names")],
        out: Annotated[Path, typer.Option(help="Folder for checkpoints, metrics and weights")],
        resume: Annotated[bool, typer.Option("--resume", help="Go on from --out")] = False,
        init: Annotated[str | None, typer.Option(help="Weights to begin with")] = None,
        override: Annotated[
            list[str] | None, typer.Option("--set", help="Change the recipe: a.b=value")
        ] = None,
    ) -> None:
        path = study.load("train")(
            recipe, data, out, resume=resume, init=init, overrides=tuple(override or ())
        )
        print(path)

    return training


def _show(study: Study) -> Any:
    def show(
        image: Annotated[Path, typer.Argument(help="A picture", show_default=False)],
        output: Annotated[
            Path, typer.Option("--output", "-o", help="Folder for the result")
        ] = Path("foveate-out"),
        weights: Annotated[
            str | None,
            typer.Option(help="Name (see `foveate weights`) or file", show_default=False),
        ] = None,
        seed: Annotated[int, typer.Option(help="Of what is hidden", min=0)] = 0,
        device: Annotated[
            str | None, typer.Option(help="Where to run, such as cpu or cuda:0", show_default=False)
        ] = None,
    ) -> None:
        from video.pictures import save_picture
        from vision.images import ImageStore

        pixels = ImageStore(image.parent).read(image.name)
        picture, line = study.load("show")(pixels, weights, seed=seed, device=device)
        path = output / f"{image.stem}-{study.name}.png"
        save_picture(path, picture)
        print(f"{line}, see {path}")

    return show


def _bench(reference: str) -> Any:
    def bench(
        quick: Annotated[bool, typer.Option("--quick", help="Fewer runs, smaller sizes")] = False,
        as_json: AsJson = False,
    ) -> None:
        records, show = resolve(reference)(quick=quick)
        if as_json:
            print(json.dumps(records, indent=1))
        else:
            show(records)

    return bench
