"""Recipes and their overrides."""

from dataclasses import dataclass, field

import pytest

from vision.catalogue import weights_folder
from vision.errors import FoveateError
from vision.recipes import load_recipe
from vision.tasks.detection.train import DetectionRecipe


@dataclass(frozen=True)
class Inner:
    rate: float = 0.1
    names: tuple[str, ...] = ()


@dataclass(frozen=True)
class Outer:
    name: str
    steps: int = 1
    inner: Inner = field(default_factory=Inner)


@pytest.fixture
def path(tmp_path):
    file = tmp_path / "r.toml"
    file.write_text('name = "x"\n[inner]\nrate = 0.5\n')
    return str(file)


def test_a_file_fills_the_dataclass(path):
    assert load_recipe(Outer, path) == Outer("x", 1, Inner(0.5))


def test_overrides_reach_any_depth(path):
    recipe = load_recipe(
        Outer, path, ["steps=7", "inner.rate=2e-3", "name=bare", 'inner.names=["a"]']
    )
    assert recipe == Outer("bare", 7, Inner(0.002, ("a",)))


@pytest.mark.parametrize(
    ("override", "answer"),
    [
        ("inner.rat=1", "did you mean 'rate'"),
        ("steps=many", "steps"),
        ("steps", "key=value"),
        ("name.x=1", "name has no parts"),
    ],
)
def test_a_wrong_override_is_named(path, override, answer):
    with pytest.raises(FoveateError, match=answer):
        load_recipe(Outer, path, [override])


def test_an_unknown_recipe_gets_the_nearest():
    with pytest.raises(FoveateError, match="did you mean 'detection-fod'"):
        load_recipe(DetectionRecipe, "detection-fob")


def test_broken_and_missing_files(tmp_path):
    with pytest.raises(FoveateError, match="no such recipe file"):
        load_recipe(Outer, str(tmp_path / "none.toml"))
    broken = tmp_path / "broken.toml"
    broken.write_text("name = ")
    with pytest.raises(FoveateError, match=r"broken\.toml"):
        load_recipe(Outer, str(broken))


def test_every_shipped_recipe_is_valid():
    names = sorted(p.stem for p in (weights_folder() / "recipes").glob("detection-*.toml"))
    assert names
    for name in names:
        assert load_recipe(DetectionRecipe, name).name
