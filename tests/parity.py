"""Compare foveate with recorded outputs of the published implementations.

    python -m tests.parity FILE...

prints for every recorded output the largest error relative to that output's largest magnitude.
Exit code 0: all within tolerance; 1: some are not; 2: a file cannot be read or nothing knows it.

A fixture is a `.safetensors` file (`weights.*`, `input.*`, `output.*`, `grad.*`, and JSON under
`config` in its metadata) or a `.json` file. What to run for it is known to an adapter, found by
the start of the file's name: any `tests/**/parity.py` may hold

    PREFIXES: dict[str, Adapter] = {"biformer_": check}

where `check(fixture)` returns one `Check` for each recorded output.
"""

from __future__ import annotations

import argparse
import json
import math
import sys
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass
from functools import cache
from importlib import import_module
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError, safe_open
from torch import Tensor

FORWARD = 1e-5
"""Tolerance of what a forward pass in evaluation mode returns."""

BACKWARD = 1e-4
"""Tolerance of gradients and of training mode."""

EXACT = 0.0
"""Tolerance of indices, counts and names."""


class FixtureError(Exception):
    """A file that cannot be read, or that no adapter knows: one line."""


@dataclass(frozen=True)
class Fixture:
    """A recorded run.

    Args:
        path: its file.
        config: what was run; of a `.json` file its `config`, or nothing.
        tensors: of a `.safetensors` file.
        data: of a `.json` file, all of it.
    """

    path: Path
    config: dict[str, Any]
    tensors: dict[str, Tensor]
    data: Any = None

    def group(self, name: str) -> dict[str, Tensor]:
        """Tensors under `name.`, without it."""
        start = f"{name}."
        return {k[len(start) :]: v for k, v in self.tensors.items() if k.startswith(start)}


@dataclass(frozen=True)
class Check:
    """One recorded output beside ours.

    Args:
        name: of the output.
        actual: tensor, number, string, or list or dict of them; None for what we failed to give.
        expected: likewise.
        tolerance: largest error allowed, relative to the largest magnitude expected.
        scale: magnitude to which errors relate instead where it is larger: for outputs that are
            zero but for rounding.
    """

    name: str
    actual: Any
    expected: Any
    tolerance: float = FORWARD
    scale: float = 0.0

    @property
    def error(self) -> float:
        """Largest error relative to the largest magnitude expected; infinite for what differs in
        kind, shape or text."""
        return _error(self.actual, self.expected, self.scale)

    @property
    def passed(self) -> bool:
        return self.error <= self.tolerance


Adapter = Callable[[Fixture], Iterable[Check]]


def compare(
    actual: Mapping[str, Any], expected: Mapping[str, Any], tolerance: float = FORWARD
) -> Iterator[Check]:
    """Check every expected value against ours of the same name; integers must be exact."""
    for name, value in expected.items():
        exact = isinstance(value, Tensor) and not value.is_floating_point()
        yield Check(name, actual.get(name), value, EXACT if exact else tolerance)


def load(path: Path) -> Fixture:
    """Read a fixture.

    Raises:
        FixtureError: there is no such file, or it is not a fixture.
    """
    try:
        if path.suffix == ".json":
            data = json.loads(path.read_text())
            return Fixture(path, data.get("config", {}) if isinstance(data, dict) else {}, {}, data)
        with safe_open(path, "pt") as file:
            config = json.loads(file.metadata()["config"])
            names = list(file.keys())
            return Fixture(path, config, {name: file.get_tensor(name) for name in names})
    except (OSError, ValueError, KeyError, TypeError, SafetensorError) as error:
        raise FixtureError(f"{path}: not a readable fixture: {error}") from error


@cache
def adapters() -> dict[str, Adapter]:
    """Every adapter under `tests/`, by the prefix of the file names it knows."""
    root = Path(__file__).parent
    found: dict[str, Adapter] = {}
    for path in sorted(root.glob("*/**/parity.py")):
        module = ".".join(("tests", *path.relative_to(root).with_suffix("").parts))
        found.update(import_module(module).PREFIXES)
    return found


def adapter_for(path: Path) -> Adapter:
    """The adapter with the longest prefix of the file's name.

    Raises:
        FixtureError: there is none.
    """
    known = [prefix for prefix in adapters() if path.name.startswith(prefix)]
    if not known:
        raise FixtureError(f"{path}: no adapter; known are {', '.join(sorted(adapters()))}")
    return adapters()[max(known, key=len)]


def run(path: Path) -> list[Check]:
    """All checks of one file."""
    return list(adapter_for(path)(load(path)))


def _error(actual: Any, expected: Any, scale: float = 0.0) -> float:
    if isinstance(expected, dict):
        if not isinstance(actual, dict) or actual.keys() != expected.keys():
            return math.inf
        return max((_error(actual[key], expected[key], scale) for key in expected), default=0.0)
    if isinstance(expected, str | bool | None):
        return 0.0 if actual == expected else math.inf
    try:
        ours, theirs = (torch.as_tensor(x, dtype=torch.float64) for x in (actual, expected))
    except (TypeError, ValueError, RuntimeError):  # ragged lists, or lists of text
        if not isinstance(actual, list | tuple) or len(actual) != len(expected):
            return math.inf
        return max(_error(a, e, scale) for a, e in zip(actual, expected, strict=True))
    if ours.shape != theirs.shape:
        return math.inf
    same = (ours == theirs) | (ours.isnan() & theirs.isnan())
    if same.all():
        return 0.0
    finite = theirs[theirs.isfinite()].abs()
    largest = max(finite.max().item() if finite.numel() else 0.0, scale) or 1.0
    error = (ours - theirs)[~same].abs().max().item() / largest
    return error if math.isfinite(error) else math.inf


def main(arguments: list[str] | None = None) -> int:
    """Run the command and return its exit code."""
    parser = argparse.ArgumentParser(prog="python -m tests.parity", description=__doc__)
    parser.add_argument("files", nargs="+", type=Path, metavar="FILE")
    code = 0
    for path in parser.parse_args(arguments).files:
        try:
            checks = run(path)
        except FixtureError as error:
            print(error, file=sys.stderr)
            return 2
        failed = [check for check in checks if not check.passed]
        print(f"{path.name}: {len(checks) - len(failed)} of {len(checks)} within tolerance")
        for check in checks:
            verdict = "ok  " if check.passed else "FAIL"
            print(f"  {verdict} {check.name:<48} {check.error:.1e} (at most {check.tolerance:.0e})")
        code = 1 if failed or not checks else code
    return code


if __name__ == "__main__":
    sys.exit(main())
