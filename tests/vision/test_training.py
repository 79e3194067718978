"""What every training refuses, and what all of them share."""

from dataclasses import dataclass
from pathlib import Path

import lightning as L
import pytest
import torch
from torch.utils.data import DataLoader, TensorDataset

from vision.catalogue import read_weights
from vision.errors import FoveateError
from vision.loaders import Loaders
from vision.optim import OptimConfig, optimizer
from vision.pretraining import STUDIES
from vision.recipes import Recipe
from vision.tasks import TASKS, get_task
from vision.training import Run, seed_step, training

TRAININGS = {
    "detection": "detection-fod",
    "scanpath": "scanpath-amazon",
    "captioning": "captioning-text",
    "mistakes": "mistakes-synthetic",
    "localization": "localization-actions",
    "droppos": "droppos-imagenette",
    "classification": "imagenette-vit",
    "sparsifiner": "sparsifiner-imagenette",
}
"""Study -> a recipe of it that ships."""

STUDY = {study.name: study for study in (*map(get_task, TASKS), *STUDIES)}
NEEDS_INIT = {"sparsifiner": "vit_tiny_d8_imagenette"}


@dataclass(frozen=True)
class LineRecipe(Recipe):
    """Of a line through points."""

    optim: OptimConfig


class Line(L.LightningModule):
    """Learns a line; notes what it is shown and what it draws."""

    def __init__(self, recipe: LineRecipe) -> None:
        super().__init__()
        self.recipe, self.model = recipe, torch.nn.Linear(1, 1)
        self.shown: list[float] = []
        self.drawn: list[float] = []

    def training_step(self, batch: list[torch.Tensor], _: int) -> torch.Tensor:
        seed_step(self, self.recipe.seed)
        self.drawn.append(float(torch.rand(())))
        self.shown += batch[0].flatten().tolist()
        return (self.model(batch[0]) - 1).square().mean()

    def validation_step(self, batch: list[torch.Tensor], _: int) -> None:
        """Nothing to see."""

    def configure_optimizers(self):
        return optimizer(self.model, self.recipe.optim, lambda _: False)


LINES: list[Line] = []


@training(LineRecipe)
def train_line(run: Run[LineRecipe]) -> Path:
    """Train a line."""
    run.seed()
    LINES.append(Line(run.recipe))
    optim = run.recipe.optim
    samples = TensorDataset(torch.arange(float(optim.samples))[:, None])
    loaders = Loaders(samples, DataLoader(TensorDataset(torch.zeros(1))), optim.batch)
    run.fit(LINES[-1], loaders, optim, 1_000)
    return run.write("lines", LINES[-1].model.state_dict(), slope=1)


@pytest.fixture
def recipe(tmp_path: Path) -> str:
    path = tmp_path / "line.toml"
    path.write_text('name = "line"\nseed = 3\nlicence = "MIT"\n[optim]\nsteps = 3\nbatch = 2\n')
    return str(path)


def test_weights_say_what_they_are_and_what_made_them(recipe, tmp_path):
    path = train_line(recipe, tmp_path, tmp_path / "run", overrides=["data=points"])
    assert path == tmp_path / "run/line.safetensors"
    metadata = read_weights(path).metadata
    assert (metadata["task"], metadata["slope"]) == ("lines", 1)
    assert (metadata["licence"], metadata["data"]) == ("MIT", "points")
    assert metadata["recipe"]["optim"]["steps"] == 3
    assert train_line.__doc__ == "Train a line."


def test_a_resumed_run_sees_and_draws_what_an_unbroken_one_does(recipe, tmp_path):
    more = ("optim.steps=5",)
    train_line(recipe, tmp_path, tmp_path / "a")
    train_line(recipe, tmp_path, tmp_path / "a", resume=True, overrides=more)
    train_line(recipe, tmp_path, tmp_path / "b", overrides=more)
    first, resumed, whole = LINES[-3:]
    assert first.shown + resumed.shown == whole.shown == [float(n) for n in range(10)]
    assert first.drawn + resumed.drawn == whole.drawn
    assert len(set(whole.drawn)) == 5


def train(name: str, recipe: str, data: Path, out: Path, **given) -> Path:
    given.setdefault("init", NEEDS_INIT.get(name))
    return STUDY[name].load("train")(recipe, data, out, **given)


def test_every_training_is_looked_at_here():
    assert TRAININGS.keys() == STUDY.keys()


@pytest.mark.parametrize(("name", "recipe"), TRAININGS.items())
def test_mistakes_get_one_line(name, recipe, tmp_path):
    other = "detection-fod" if name != "detection" else "scanpath-osie"
    mistakes = [
        (recipe + "x", {}, "did you mean"),
        (other, {}, other),
        (recipe, {"overrides": ("optimm.steps=2",)}, "unknown key 'optimm'"),
        (recipe, {"overrides": ("seed=much",)}, "seed"),
        (recipe, {}, str(tmp_path)),  # names the data that is not there
        (recipe, {"init": "no_such_weights"}, "no_such_weights|scratch|" + str(tmp_path)),
    ]
    for text, given, answer in mistakes:
        with pytest.raises(FoveateError, match=answer) as raised:
            train(name, text, tmp_path, tmp_path / "run", **given)
        assert "\n" not in str(raised.value)
    assert not (tmp_path / "run").exists()
