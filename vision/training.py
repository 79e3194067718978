"""What every training shares: averaging, checkpoints, resuming, and the weights it writes."""

from __future__ import annotations

import logging
import warnings
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass
from datetime import timedelta
from pathlib import Path
from typing import Any, Generic, Protocol, TypeVar

import lightning as L
import torch
from lightning.pytorch.callbacks import EMAWeightAveraging, ModelCheckpoint
from lightning.pytorch.loggers import CSVLogger
from torch import Tensor

from vision.catalogue import write_weights
from vision.errors import FoveateError
from vision.optim import OptimConfig
from vision.recipes import Recipe, load_recipe

QUIET = (
    ".*treespec, LeafSpec",  # Lightning's own affair with torch
    ".*exists and is not empty",  # `fit` decides what may be written over
    ".*smaller than the logging interval",
    ".*in eval mode at the start of training",  # frozen batch norms are meant to be
    ".*your dataloader is not resumable",  # samplers begin at the trainer's step
)
"""Warnings of Lightning's that say nothing here."""

logging.getLogger("lightning.pytorch").setLevel(logging.WARNING)

AnyRecipe = TypeVar("AnyRecipe", bound=Recipe)


@dataclass(frozen=True)
class Run(Generic[AnyRecipe]):
    """One run of a recipe, and where it takes place.

    Args:
        recipe: what to train.
        data: root of the data sets that the recipe names.
        out: folder for checkpoints, metrics and weights.
        resume: go on from the last checkpoint in `out`.
        init: weights to begin with, by name or path.
    """

    recipe: AnyRecipe
    data: Path
    out: Path
    resume: bool = False
    init: str | None = None

    def seed(self) -> None:
        """Fix every source of randomness."""
        L.seed_everything(self.recipe.seed, workers=True, verbose=False)
        torch.use_deterministic_algorithms(True, warn_only=True)

    def fit(
        self,
        module: L.LightningModule,
        loaders: L.LightningDataModule,
        optim: OptimConfig,
        validate_every: int,
    ) -> None:
        """Train to the end of the schedule; the module's weights are the averaged ones then.

        Checkpoints go to `out/last.ckpt` every four minutes and metrics to
        `out/metrics/version_N/metrics.csv`, N counting how often the run was resumed.

        Args:
            module: the training module.
            loaders: its data.
            optim: steps, averaging and clipping.
            validate_every: steps between validations.

        Raises:
            FoveateError: resuming without a checkpoint, or starting over a run that has one.
        """
        last = self.out / "last.ckpt"
        if self.resume and not last.is_file():
            raise FoveateError(f"nothing to resume: no {last}")
        if not self.resume and last.is_file():
            raise FoveateError(f"{last} exists: add --resume, or choose another --out")
        self.out.mkdir(parents=True, exist_ok=True)
        trainer = L.Trainer(
            accelerator="cpu",
            devices=1,
            max_steps=optim.steps,
            precision=optim.precision,
            gradient_clip_val=optim.clip,
            callbacks=[
                EMAWeightAveraging(decay=optim.ema),
                ModelCheckpoint(
                    self.out,
                    filename="last",
                    train_time_interval=timedelta(minutes=4),
                    enable_version_counter=False,
                ),
            ],
            logger=CSVLogger(self.out, name="metrics"),
            log_every_n_steps=20,
            val_check_interval=validate_every,
            check_val_every_n_epoch=None,
            num_sanity_val_steps=0,
            enable_model_summary=False,
            enable_progress_bar=False,
        )
        with warnings.catch_warnings():
            for message in QUIET:
                warnings.filterwarnings("ignore", message)
            begun = last if self.resume else None
            trainer.fit(module, loaders, ckpt_path=begun, weights_only=True)
            trainer.save_checkpoint(last)

    def write(self, task: str, tensors: Mapping[str, Tensor], **about: Any) -> Path:
        """Write weights to `out/<name>.safetensors`.

        Args:
            task: that they are for.
            tensors: the weights.
            **about: what they say of themselves beside the recipe.

        Returns:
            Their path.
        """
        recipe = self.recipe
        path = self.out / f"{recipe.name}.safetensors"
        made = {"recipe": asdict(recipe), "licence": recipe.licence, "data": recipe.data}
        write_weights(path, tensors, {"task": task, **about, **made})
        return path


class Train(Protocol):
    """A training, as `foveate train NAME` runs it."""

    def __call__(
        self,
        recipe: str,
        data: Path,
        out: Path,
        *,
        resume: bool = False,
        init: str | None = None,
        overrides: Sequence[str] = (),
    ) -> Path:
        """Train, and write the weights to `out/<name>.safetensors`.

        Args:
            recipe: name of a shipped recipe or path of a TOML file.
            data: root of the data sets that the recipe names.
            out: folder for checkpoints, metrics and weights.
            resume: go on from the last checkpoint in `out`.
            init: weights to begin with, by name or path.
            overrides: `"optim.steps=100"` and the like.

        Returns:
            Path of the weights.

        Raises:
            FoveateError: an unusable recipe, data that is not there, or nothing to resume.
        """
        ...


def training(kind: type[AnyRecipe]) -> Callable[[Callable[[Run[AnyRecipe]], Path]], Train]:
    """Decorate what a `Run` of one kind of recipe does: the result is a `Train`."""

    def decorate(go: Callable[[Run[AnyRecipe]], Path]) -> Train:
        def train(
            recipe: str,
            data: Path,
            out: Path,
            *,
            resume: bool = False,
            init: str | None = None,
            overrides: Sequence[str] = (),
        ) -> Path:
            return go(Run(load_recipe(kind, recipe, overrides), data, out, resume, init))

        train.__doc__ = go.__doc__
        return train

    return decorate


def seed_step(module: L.LightningModule, seed: int) -> None:
    """Seed a training step by its number: a resumed run draws what an unbroken one would."""
    torch.manual_seed(seed * 1_000_003 + module.global_step)
