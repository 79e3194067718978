"""Weights by name: what there is, whether a file is whole, and how to load it.

A weight is a safetensors file whose metadata holds one JSON object under `foveate`: task,
architecture, labels, preprocessing, recipe, data, licence and score. `catalogue.toml` beside the
shipped files lists them with size and checksum. Nothing is ever unpickled.
"""

from __future__ import annotations

import hashlib
import json
import math
import tomllib
from collections.abc import Mapping
from dataclasses import asdict, dataclass, replace
from difflib import get_close_matches
from functools import cache
from importlib.resources import files
from pathlib import Path
from typing import Any, TypeVar

from pydantic import TypeAdapter, ValidationError
from safetensors import SafetensorError, safe_open
from safetensors.torch import save_file
from torch import Tensor, nn

from vision.errors import FoveateError
from vision.writing import whole_file

Config = TypeVar("Config")


@dataclass(frozen=True)
class Entry:
    """One line of the catalogue.

    Args:
        name: what users call it.
        task: task it belongs to.
        file: file name beside the catalogue.
        sha256: checksum of the file.
        bytes: its size.
        licence: SPDX identifier, or words where there is none.
        score: what it reaches, with metric and data named.
        default: whether it is what its task uses when the user names none.
    """

    name: str
    task: str
    file: str
    sha256: str
    bytes: int
    licence: str
    score: dict[str, float]
    default: bool = False

    def to_dict(self) -> dict[str, Any]:
        """The entry as JSON-ready values."""
        return asdict(self)


@dataclass(frozen=True)
class Weights:
    """Tensors and metadata of one file; tensors are float32."""

    name: str
    tensors: dict[str, Tensor]
    metadata: dict[str, Any]

    def config(self, kind: type[Config]) -> Config:
        """The architecture's configuration as the dataclass `kind`."""
        try:
            return TypeAdapter(kind).validate_python(self.metadata["config"])
        except (KeyError, ValidationError) as error:
            reason = " ".join(str(error).split())
            raise FoveateError(f"weights {self.name!r}: unusable configuration: {reason}") from None

    def fill(self, model: nn.Module) -> None:
        """Load the tensors into a model; FoveateError when it is of another architecture."""
        try:
            model.load_state_dict(self.tensors)
        except RuntimeError as error:
            reason = " ".join(str(error).split())[:200]
            raise FoveateError(f"weights {self.name!r} do not fit their model: {reason}") from None


@cache
def weights_folder() -> Path:
    """Folder of the shipped weights: inside the installed package, else in the checkout."""
    packaged = Path(str(files("vision") / "_weights"))
    return packaged if packaged.is_dir() else Path(__file__).parent.parent / "weights"


@cache
def catalogue() -> dict[str, Entry]:
    """All shipped weights by name."""
    path = weights_folder() / "catalogue.toml"
    if not path.is_file():
        raise FoveateError(f"no weights in {path.parent}: reinstall foveate")
    return {entry.name: entry for entry in _read_catalogue(path)}


def default_name(task: str) -> str | None:
    """Name of the weights that a task uses when the user names none; None if there are none."""
    defaults = (entry for entry in catalogue().values() if entry.task == task and entry.default)
    return next((entry.name for entry in defaults), None)


def open_weights(name: str | None, *, task: str) -> Weights:
    """Load weights by catalogue name or by path, and check that they are the task's.

    Args:
        name: name, or path of a `.safetensors` file; the task's default when None.
        task: task they must belong to.

    Raises:
        FoveateError: nothing of that name, a damaged file, or weights of another task.
    """
    name = name or default_name(task)
    if name is None:
        raise FoveateError(f"no default weights for {task}; name some with --weights")
    if name in catalogue():
        entry = catalogue()[name]
        path = weights_folder() / entry.file
        verify(path, entry)
    else:
        path = Path(name)
        if path.suffix != ".safetensors":
            raise FoveateError(unknown_weights(name, task))
        if not path.is_file():
            raise FoveateError(f"no such weights file: {path}")
    weights = read_weights(path, name)
    found = weights.metadata.get("task")
    if found != task:
        raise FoveateError(f"weights {name!r} are for {found}, not for {task}")
    return weights


def unknown_weights(name: str, task: str) -> str:
    """What to say of a name that is not in the catalogue."""
    names = [e.name for e in catalogue().values() if e.task == task]
    near = get_close_matches(name, names, n=1, cutoff=0.4)
    hint = f"did you mean {near[0]!r}?" if near else f"there are {', '.join(names)}"
    return f"unknown weights {name!r}; {hint}"


def verify(path: Path, entry: Entry) -> None:
    """Compare a file with its checksum; FoveateError when it is missing or differs."""
    if not path.is_file():
        raise FoveateError(f"weights file {path} is missing: reinstall foveate")
    digest = hashlib.sha256(path.read_bytes()).hexdigest()
    if digest != entry.sha256:
        raise FoveateError(f"weights file {path} is damaged (checksum differs): reinstall foveate")


def read_weights(path: Path, name: str | None = None) -> Weights:
    """Read any weights file of foveate's kind; FoveateError when it is not one."""
    try:
        with safe_open(path, framework="pt") as file:
            metadata = json.loads((file.metadata() or {})["foveate"])
            tensors = {key: file.get_tensor(key) for key in file.keys()}  # noqa: SIM118  no dict
    except (OSError, SafetensorError) as error:
        raise FoveateError(f"{path} is not a safetensors file: {error}") from None
    except (KeyError, ValueError):
        raise FoveateError(f"{path} holds no foveate metadata") from None
    widened = {k: t.float() if t.is_floating_point() else t for k, t in tensors.items()}
    return Weights(name or path.stem, widened, metadata)


def write_weights(
    path: Path,
    tensors: Mapping[str, Tensor],
    metadata: dict[str, Any],
    *,
    largest: float = math.inf,
) -> None:
    """Write a weights file, floats as fp16; it appears whole or not at all.

    Args:
        path: to write to.
        tensors: the weights.
        metadata: what they say of themselves.
        largest: bytes that the file may have.

    Raises:
        FoveateError: it has more; a file that was there before stays.
    """
    narrow = {
        k: (t.half() if t.is_floating_point() else t).contiguous() for k, t in tensors.items()
    }
    with whole_file(path) as partial:
        save_file(narrow, partial, metadata={"foveate": json.dumps(metadata)})
        if partial.stat().st_size > largest:
            raise FoveateError(f"{path.name} is larger than {largest / 1e6:g} MB and does not ship")
        partial.chmod(0o644)  # safetensors makes it the owner's alone


def add_to_catalogue(path: Path, *, default: bool = False) -> None:
    """Enter a weights file into the `catalogue.toml` beside it, from its own metadata.

    Args:
        path: the file; its stem becomes the name and replaces an entry of that name.
        default: whether its task uses it when the user names none; it then takes the place of
            the task's default so far.
    """
    weights = read_weights(path)
    entry = Entry(
        name=path.stem,
        task=weights.metadata["task"],
        file=path.name,
        sha256=hashlib.sha256(path.read_bytes()).hexdigest(),
        bytes=path.stat().st_size,
        licence=weights.metadata["licence"],
        score=weights.metadata["score"],
        default=default,
    )
    listing = path.parent / "catalogue.toml"
    old = _read_catalogue(listing) if listing.is_file() else []
    entries = [e for e in old if e.name != entry.name]
    if default:
        entries = [replace(e, default=False) if e.task == entry.task else e for e in entries]
    lines = ["# Made by vision.catalogue.add_to_catalogue from the metadata of the files.", ""]
    for e in sorted([*entries, entry], key=lambda e: (e.task, e.name)):
        lines.append("[[weights]]")
        lines += [f"{key} = {_toml(value)}" for key, value in e.to_dict().items()]
        lines.append("")
    partial = listing.with_suffix(".partial")
    partial.write_text("\n".join(lines))
    partial.replace(listing)


def _read_catalogue(path: Path) -> list[Entry]:
    content = tomllib.loads(path.read_text())
    return TypeAdapter(list[Entry]).validate_python(content.get("weights", []))


def _toml(value: Any) -> str:
    if isinstance(value, dict):
        return "{ " + ", ".join(f"{json.dumps(k)} = {_toml(v)}" for k, v in value.items()) + " }"
    return json.dumps(value)  # JSON's strings, numbers and booleans are TOML's too
