"""Pretraining a backbone by dropped positions from a recipe."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import lightning as L
import torch
from lightning.pytorch.utilities.types import OptimizerLRSchedulerConfig
from torch import Tensor
from torch.optim import Optimizer

from vision.catalogue import write_weights
from vision.pretraining.checkpoint import load_encoder, read_init
from vision.pretraining.data import PictureData
from vision.pretraining.metrics import PositionMetrics
from vision.pretraining.model import ModelConfig, create_model
from vision.pretraining.pretext import DropPosOutput
from vision.recipes import load_recipe
from vision.training import OptimConfig, clip_each, fit, optimizer, seed_everything


@dataclass(frozen=True)
class DropPosRecipe:
    """Everything that determines a pretrained backbone; paths are relative to the data root.

    Args:
        name: of the weights it makes.
        seed: of every random choice.
        train: tar or folder of pictures; labels are not used.
        val: pictures held out.
        model: backbone, pictures and pretext.
        optim: optimiser and schedule.
        sigma: width of the soft targets in cells at the beginning; 0 for exact ones.
        sigma_decay: shrink it to 0 over the run.
        validate_every: steps between validations.
        licence: of the weights.
        data: attribution of the data, kept in the weights.
    """

    name: str
    seed: int
    train: str
    val: str
    model: ModelConfig
    optim: OptimConfig
    sigma: float = 1.0
    sigma_decay: bool = True
    validate_every: int = 500
    licence: str = ""
    data: str = ""


class DropPosModule(L.LightningModule):
    """Trains a pretext; logs its loss, and on held-out pictures how well positions are found."""

    def __init__(self, recipe: DropPosRecipe) -> None:
        super().__init__()
        self.recipe = recipe
        self.model = create_model(recipe.model)
        self.found = PositionMetrics(self.model.grid)

    def sigma(self) -> float:
        """Width of the soft targets at this step."""
        recipe = self.recipe
        left = 1 - self.global_step / recipe.optim.steps if recipe.sigma_decay else 1.0
        return recipe.sigma * left

    def training_step(self, batch: tuple[Tensor, Tensor], _: int) -> Tensor | None:
        # Seeded by the step, a resumed run draws what an unbroken one would.
        torch.manual_seed(self.recipe.seed * 1_000_003 + self.global_step)
        output: DropPosOutput = self.model(batch[0], self.model.smoothing(self.sigma()))
        if not torch.isfinite(output.loss):
            if self.recipe.model.pretext.conf_ignore and not output.weight.any():
                return None  # every position is found surely enough: nothing to learn here
            raise RuntimeError(f"loss is not finite at step {self.global_step}")
        self.log_dict({"train/loss": output.loss.detach(), "train/accuracy": output.accuracy})
        if output.loss_pix is not None:
            self.log_dict(
                {"train/pixels": output.loss_pix.detach(), "train/positions": output.loss_pos}
            )
        return output.loss

    def on_validation_epoch_start(self) -> None:
        self.found = PositionMetrics(self.model.grid)

    def validation_step(self, batch: tuple[Tensor, Tensor], index: int) -> None:
        noise = self.model.draw_noise(len(batch[0]), torch.Generator().manual_seed(index))
        self.found.update(self.model(batch[0], self.model.smoothing(0.0), noise))

    def on_validation_epoch_end(self) -> None:
        figures = {f"val/{name}": value for name, value in self.found.compute().items()}
        self.log_dict(figures)
        print(self.global_step, {k: round(v, 4) for k, v in figures.items()}, flush=True)

    def configure_gradient_clipping(
        self,
        optimizer: Optimizer,
        gradient_clip_val: float | None = None,
        gradient_clip_algorithm: str | None = None,
    ) -> None:
        """By the norm of all gradients, or as published, tensor by tensor."""
        if self.recipe.model.pretext.official and gradient_clip_val is not None:
            clip_each(self.model.parameters(), gradient_clip_val)
        else:
            super().configure_gradient_clipping(
                optimizer, gradient_clip_val, gradient_clip_algorithm
            )

    def configure_optimizers(self) -> OptimizerLRSchedulerConfig:
        return optimizer(self.model, self.recipe.optim, lambda _: False)


def train(
    recipe: str,
    data: Path,
    out: Path,
    *,
    resume: bool = False,
    init: str | None = None,
    overrides: tuple[str, ...] = (),
) -> Path:
    """Pretrain a backbone and write it, with its decoder, to `out/<name>.safetensors`.

    Args:
        recipe: name of a shipped recipe or path of a TOML file.
        data: root of the data sets that the recipe names.
        out: folder for checkpoints, metrics and weights.
        resume: go on from the last checkpoint in `out`.
        init: weights of the backbone to begin with, by name or path.
        overrides: `"optim.steps=100"` and the like.

    Returns:
        Path of the weights.

    Raises:
        FoveateError: an unusable recipe, data that is not there, or nothing to resume.
    """
    config = load_recipe(DropPosRecipe, recipe, overrides)
    seed_everything(config.seed)
    module = DropPosModule(config)
    if init is not None:
        load_encoder(module.model.encoder, read_init(init))
    loaders = PictureData(
        data / config.train, data / config.val, config.model.view, config.optim, config.seed
    )
    fit(module, loaders, config.optim, out, resume=resume, validate_every=config.validate_every)
    path = out / f"{config.name}.safetensors"
    write_weights(path, module.model.state_dict(), metadata(config))
    return path


def metadata(recipe: DropPosRecipe) -> dict[str, Any]:
    """What the weights say of themselves."""
    return {
        "task": "droppos",
        "config": asdict(recipe.model),
        "recipe": asdict(recipe),
        "licence": recipe.licence,
        "data": recipe.data,
    }
