"""Published BMN checkpoints under our names."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any

from torch import Tensor

from vision.errors import FoveateError

CONSTANTS = ("sample_mask", "bm_mask")
"""What checkpoints store beside weights: computed here, 128 MB at the published size."""

SEQUENTIAL = {
    "x_1d_b": "base",
    "x_1d_s": "start",
    "x_1d_e": "end",
    "x_1d_p": "reduce",
    "x_3d_p": "fold",
    "x_2d_p": "confidence",
}
"""Stems of the usual PyTorch code and of MMAction2 and their place in our `BMN`."""

OPENTAD = (
    (r"projection\.convs\.(\d)\.conv", lambda m: f"base.{2 * int(m[1])}"),
    (r"rpn_head\.tem\.0\.(\d)\.conv", lambda m: f"start.{2 * int(m[1])}"),
    (r"rpn_head\.tem\.1\.(\d)\.conv", lambda m: f"end.{2 * int(m[1])}"),
    (r"roi_head\.proposal_roi_extractor\.reduce_dim\.0", lambda m: "reduce.0"),
    (r"roi_head\.proposal_roi_extractor\.conv3d\.0", lambda m: "fold.0"),
    (r"roi_head\.proposal_roi_extractor\.conv2d\.0", lambda m: "confidence.0"),
    (r"roi_head\.proposal_head\.head\.([01])\.0", lambda m: f"confidence.{2 * int(m[1]) + 2}"),
    (r"roi_head\.proposal_head\.head\.2", lambda m: "confidence.6"),
)
"""OpenTAD's names."""


def translate(checkpoint: Mapping[str, Any]) -> dict[str, Tensor]:
    """Rename the weights of a BMN checkpoint.

    It may be a state dict of the usual PyTorch code, of MMAction2 or of OpenTAD, or a training
    checkpoint that holds one (averaged weights are preferred); names may begin with `module.`.
    OpenTAD's two output channels come in the other order and are swapped.

    Args:
        checkpoint: names and tensors, or a dict under `state_dict` or `state_dict_ema`.

    Returns:
        State dict of `vision.tasks.localization.bmn.BMN`.

    Raises:
        FoveateError: a name that none of the three layouts has.
    """
    for nested in ("state_dict_ema", "state_dict"):
        if nested in checkpoint:
            return translate(checkpoint[nested])
    state = {}
    for name, tensor in checkpoint.items():
        stripped = name.removeprefix("module.")
        if stripped in CONSTANTS:
            continue
        ours, theirs = _rename(stripped)
        if theirs and ours == "fold.0.weight" and tensor.ndim == 4:
            tensor = tensor[..., None]
        if theirs and ours.startswith("confidence.6."):
            tensor = tensor.flip(0)
        state[ours] = tensor
    return state


def _rename(name: str) -> tuple[str, bool]:
    """Our name, and whether it was OpenTAD's."""
    stem, _, rest = name.partition(".")
    if stem in SEQUENTIAL:
        return f"{SEQUENTIAL[stem]}.{rest}", False
    for pattern, place in OPENTAD:
        if match := re.match(pattern + r"\.(weight|bias)$", name):
            return f"{place(match)}.{name.rpartition('.')[2]}", True
    if stem in {*SEQUENTIAL.values(), "gates"}:
        return name, False
    raise FoveateError(f"{name!r} is no weight of a boundary-matching network")
