"""What every `release.py` shares: from what a training wrote to measured weights that ship."""

from __future__ import annotations

import argparse
import math
import sys
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

from torch import Tensor

from vision.catalogue import add_to_catalogue, write_weights
from vision.errors import FoveateError

LARGEST = 8_000_000
"""Bytes that a file may have."""


def arguments(description: str | None) -> argparse.ArgumentParser:
    """Parser of what every release is given: `weights`, `--default` and `--into`."""
    parser = argparse.ArgumentParser(description=description)
    parser.add_argument("weights", type=Path, help="what `foveate train` wrote")
    parser.add_argument("--default", action="store_true", help="what their task uses")
    parser.add_argument("--into", type=Path, default=Path("weights"), help="catalogue's folder")
    return parser


@contextmanager
def trial(tensors: Mapping[str, Tensor], metadata: dict[str, Any]) -> Iterator[str]:
    """Path of weights while they are measured: those that ship stay until there is a score.

    Raises:
        FoveateError: they are too large.
    """
    with TemporaryDirectory() as folder:
        path = Path(folder, "trial.safetensors")
        write_weights(path, tensors, metadata, largest=LARGEST)
        yield str(path)


def put(path: Path, tensors: Mapping[str, Tensor], metadata: dict[str, Any]) -> None:
    """Write weights beside a catalogue; FoveateError, and nothing written, when too large."""
    if not path.parent.is_dir():
        raise FoveateError(f"no such folder: {path.parent}")
    write_weights(path, tensors, metadata, largest=LARGEST)


def enter(
    path: Path,
    tensors: Mapping[str, Tensor],
    metadata: dict[str, Any],
    score: dict[str, float],
    *,
    default: bool,
) -> None:
    """Write measured weights and enter them into the catalogue beside them.

    Args:
        path: to write them to.
        tensors: the weights.
        metadata: what they say of themselves.
        score: what they reach, with metric and data named.
        default: whether their task uses them when the user names none.

    Raises:
        FoveateError: they are too large, a score is not finite, or there is no such folder.
    """
    for name, value in score.items():
        if not math.isfinite(value):
            raise FoveateError(f"{path.stem} does not ship: its {name} is {value:g}")
    put(path, tensors, {**metadata, "score": score})
    add_to_catalogue(path, default=default)


def run(main: Callable[[], None]) -> None:
    """Run a release; mistakes of the user's give one line and exit code 2."""
    try:
        main()
    except FoveateError as error:
        print(error, file=sys.stderr)
        sys.exit(2)
