"""Training recipes: a TOML file that names everything, read into the task's dataclass."""

from __future__ import annotations

import tomllib
from collections.abc import Sequence
from dataclasses import dataclass
from difflib import get_close_matches
from pathlib import Path
from typing import Any, TypeVar

from pydantic import TypeAdapter, ValidationError

from vision.catalogue import weights_folder
from vision.errors import FoveateError

Kind = TypeVar("Kind")


@dataclass(frozen=True, kw_only=True)
class Recipe:
    """What every recipe says; paths in recipes are relative to the data root.

    Args:
        name: of the weights it makes.
        seed: of every random choice.
        licence: of the weights.
        data: attribution of the data, kept in the weights.
    """

    name: str
    seed: int
    licence: str = ""
    data: str = ""


def load_recipe(kind: type[Kind], recipe: str, overrides: Sequence[str] = ()) -> Kind:
    """Read a recipe.

    Args:
        kind: dataclass to fill; a key it does not have is an error.
        recipe: path of a TOML file, or the name of a shipped recipe.
        overrides: `"a.b=value"` each, the value as TOML (or a bare word).

    Raises:
        FoveateError: no such recipe, or a key or value that the dataclass does not take.
    """
    path = Path(recipe)
    if path.suffix != ".toml":
        folder = weights_folder() / "recipes"
        names = sorted(p.stem for p in folder.glob("*.toml"))
        if recipe not in names:
            near = get_close_matches(recipe, names, n=1)
            hint = f"did you mean {near[0]!r}?" if near else f"there are {', '.join(names)}"
            raise FoveateError(f"unknown recipe {recipe!r}; {hint}")
        path = folder / f"{recipe}.toml"
    try:
        content = tomllib.loads(path.read_text())
    except OSError:
        raise FoveateError(f"no such recipe file: {path}") from None
    except tomllib.TOMLDecodeError as error:
        raise FoveateError(f"{path}: {error}") from None
    for override in overrides:
        _override(content, override)
    try:
        filled = TypeAdapter(kind).validate_python(content)
    except ValidationError as error:
        first = error.errors()[0]
        place = ".".join(str(part) for part in first["loc"])
        raise FoveateError(f"{path.name}: {place}: {first['msg']}") from None
    _refuse_unknown(content, TypeAdapter(kind).dump_python(filled), path.name)
    return filled


def _refuse_unknown(content: Any, known: Any, place: str) -> None:
    """Compare what was written with what was read: pydantic drops keys it does not know."""
    if isinstance(content, dict) and isinstance(known, dict):
        for key, value in content.items():
            if key not in known:
                near = get_close_matches(key, known, n=1)
                hint = f"; did you mean {near[0]!r}?" if near else ""
                raise FoveateError(f"{place}: unknown key {key!r}{hint}")
            _refuse_unknown(value, known[key], f"{place}: {key}")
    elif isinstance(content, list) and isinstance(known, (list, tuple)):
        for one, other in zip(content, known, strict=True):
            _refuse_unknown(one, other, place)


def _override(content: dict[str, Any], override: str) -> None:
    key, equals, text = override.partition("=")
    if not equals:
        raise FoveateError(f"--set takes key=value, not {override!r}")
    try:
        value = tomllib.loads(f"value = {text}")["value"]
    except tomllib.TOMLDecodeError:
        value = text
    *parents, last = key.strip().split(".")
    for parent in parents:
        content = content.setdefault(parent, {})
        if not isinstance(content, dict):
            raise FoveateError(f"--set {key}: {parent} has no parts")
    content[last] = value
