"""Published OAT checkpoints: Lightning files, and the place table they do not hold."""

from __future__ import annotations

import argparse
import pickle
import re
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from vision.errors import FoveateError
from vision.tasks.scanpath.oat import OAT, OATConfig
from vision.tasks.scanpath.oat_places import Rule

UNUSED = ("LinearEmbedding.", "onedpositional_encoding.")
"""Modules that are saved and never used, or hold nothing that was learnt."""

LEVELS = {1440: 0, 160: 2, 672: 3, 2720: 4}
"""Inputs of the patch network's last layer -> levels of its spatial pyramid."""


def load_oat(
    path: Path,
    rows: int,
    columns: int,
    *,
    table: Tensor | Path | None = None,
    places: Rule | None = None,
    heads: int = 4,
    pointer_scale: int = 512,
    alpha: float = 0.9,
    wide_rows: bool = False,
) -> OAT:
    """Load a published checkpoint; sizes follow from its tensors.

    Args:
        path: Lightning file, read without running anything it may hold.
        rows: of the lattice.
        columns: of the lattice.
        table: `(K, D)` learned place table, or a `.npy` or text file of it.
        places: rule of the sinusoid instead of a table.
        heads: of attention, which the tensors do not tell.
        pointer_scale: `CA_dk`, likewise.
        alpha: of the sinusoid's rule.
        wide_rows: `changeX`.

    Returns:
        The model, in evaluation mode.

    Raises:
        FoveateError: no such file, not a checkpoint of OAT's, or neither table nor rule.
    """
    if (table is None) == (places is None):
        raise FoveateError("an OAT checkpoint needs either its place table or a sinusoid's rule")
    state = read_checkpoint(path)
    pointer = any(key.startswith("cross_attentions.") for key in state)
    unused = UNUSED + (("generator.",) if pointer else ())
    state = {key: value for key, value in state.items() if not key.startswith(unused)}
    try:
        config = OATConfig(
            rows=rows,
            columns=columns,
            width=state["transformer_encoder.layers.0.norm1.weight"].shape[0],
            heads=heads,
            hidden=state["transformer_encoder.layers.0.linear1.weight"].shape[0],
            encoder_layers=_count(state, "transformer_encoder.layers"),
            decoder_layers=_count(state, "transformer_decoder.layers"),
            places=places or "learned",
            alpha=alpha,
            wide_rows=wide_rows,
            pointer=pointer,
            pointer_heads=max(1, _count(state, "cross_attentions")),
            pointer_scale=pointer_scale,
            levels=LEVELS[state["cnn_embedding.fc.weight"].shape[1]],
        )
    except KeyError as error:
        raise FoveateError(f"{path} is no checkpoint of OAT's: no {error}") from None
    model = OAT(config, read_table(table) if isinstance(table, Path) else table)
    try:
        model.load_state_dict(state)
    except RuntimeError as error:
        reason = " ".join(str(error).split())[:200]
        raise FoveateError(f"{path} does not fit OAT: {reason}") from None
    return model.eval()


def read_checkpoint(path: Path) -> dict[str, Tensor]:
    """State dict of a Lightning file, names without the module's."""
    try:
        # The published script saves its arguments beside the tensors.
        with torch.serialization.safe_globals([argparse.Namespace]):
            content = torch.load(path, map_location="cpu", weights_only=True)
    except FileNotFoundError:
        raise FoveateError(f"no such checkpoint: {path}") from None
    except (OSError, RuntimeError, pickle.UnpicklingError, EOFError) as error:
        reason = str(error).splitlines()[0]
        raise FoveateError(f"{path} is not readable as a checkpoint: {reason}") from None
    state = content.get("state_dict", content) if isinstance(content, dict) else {}
    return {
        key.removeprefix("model."): value
        for key, value in state.items()
        if isinstance(value, Tensor)
    }


def read_table(path: Path) -> Tensor:
    """Place table `(K, D)` from a `.npy` file, or from text with a row a line."""
    try:
        if path.suffix == ".npy":
            values = np.load(path, allow_pickle=False)
        else:
            text = path.read_text()
            values = np.loadtxt(text.splitlines(), delimiter="," if "," in text else None)
    except (OSError, ValueError) as error:
        raise FoveateError(f"{path} is no place table: {error}") from None
    if values.ndim != 2:
        raise FoveateError(f"{path} is no place table: {values.ndim} dimensions instead of 2")
    return torch.from_numpy(values).float()


def _count(state: dict[str, Tensor], prefix: str) -> int:
    pattern = re.compile(re.escape(prefix) + r"\.(\d+)\.")
    return len({match[1] for key in state if (match := pattern.match(key))})
