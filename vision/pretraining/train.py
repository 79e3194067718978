"""Pretraining a backbone by dropped positions from a recipe."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from pathlib import Path

import lightning as L
import torch
from lightning.pytorch.utilities.types import OptimizerLRSchedulerConfig
from torch import Tensor
from torch.optim import Optimizer

from vision.optim import OptimConfig, clip_each, optimizer
from vision.pretraining.checkpoint import load_encoder, read_init
from vision.pretraining.data import PictureData
from vision.pretraining.metrics import PositionMetrics
from vision.pretraining.model import ModelConfig, create_model
from vision.pretraining.pretext import DropPosOutput
from vision.recipes import Recipe
from vision.training import Run, seed_step, training


@dataclass(frozen=True)
class DropPosRecipe(Recipe):
    """Everything that determines a pretrained backbone.

    Args:
        train: tar or folder of pictures; labels are not used.
        val: pictures held out.
        model: backbone, pictures and pretext.
        optim: optimiser and schedule.
        sigma: width of the soft targets in cells at the beginning; 0 for exact ones.
        sigma_decay: shrink it to 0 over the run.
        validate_every: steps between validations.
    """

    train: str
    val: str
    model: ModelConfig
    optim: OptimConfig
    sigma: float = 1.0
    sigma_decay: bool = True
    validate_every: int = 500


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
        seed_step(self, self.recipe.seed)
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


@training(DropPosRecipe)
def train(run: Run[DropPosRecipe]) -> Path:
    """Pretrain a backbone; it is written with its decoder."""
    recipe = run.recipe
    run.seed()
    module = DropPosModule(recipe)
    if run.init is not None:
        load_encoder(module.model.encoder, read_init(run.init))
    loaders = PictureData(
        run.data / recipe.train, run.data / recipe.val, recipe.model.view, recipe.optim, recipe.seed
    )
    run.fit(module, loaders, recipe.optim, recipe.validate_every)
    return run.write("droppos", module.model.state_dict(), config=asdict(recipe.model))
