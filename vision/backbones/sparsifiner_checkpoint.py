"""Official DeiT and LV-ViT checkpoints, and timm's, as weights of Sparsifiner."""

from __future__ import annotations

from math import isqrt
from typing import TYPE_CHECKING, Any

from torch import Tensor

from vision.attention.connectivity import resample_tokens
from vision.errors import FoveateError

if TYPE_CHECKING:
    from vision.backbones.sparsifiner import Sparsifiner


def checkpoint_filter_fn(state_dict: dict[str, Any], model: Sparsifiner) -> dict[str, Tensor]:
    """Make a checkpoint fit `model`, as timm asks for before it loads one.

    Takes weights of DeiT, LV-ViT, timm's `deit_*` or Sparsifiner, alone or under `model`. The six
    tensors a block of the connectivity predictor that dense models lack keep their initial values.
    What depends on the number of patches is resampled bicubically, from a square grid.

    Raises:
        FoveateError: names are left over or missing: another architecture.
    """
    weights = dict(state_dict.get("model", state_dict))
    own = model.state_dict()
    for name, weight in own.items():
        if ".mask_predictor." in name:
            weights.setdefault(name, weight)
    grid = model.patch_embed.grid_size
    for name in [name for name in weights if name in own]:
        weight = weights[name]
        if name.endswith("pos_embed") and weight.shape[1] != own[name].shape[1]:
            weights[name] = resample_pos_embed(weight, grid)
        elif name.endswith((".proj_n", ".proj_back_n")) and len(weight) != len(own[name]):
            weights[name] = resample_tokens(weight, list(grid), _square(len(weight) - 1))
    heads = ("head.", "aux_head.")  # a classifier that only one side has is left to timm
    unexpected = [n for n in weights if n not in own and not n.startswith(heads)]
    missing = [n for n in own if n not in weights and not n.startswith(heads)]
    if unexpected or missing:
        problems = [
            f"{kind} {names[0]!r}" + (f" and {len(names) - 1} more" if names[1:] else "")
            for kind, names in (("unexpected", unexpected), ("missing", missing))
            if names
        ]
        raise FoveateError(
            f"checkpoint does not fit this Sparsifiner: {', '.join(problems)}; create the form "
            "(DeiT or LV-ViT, and its size) that it was saved from"
        )
    return weights


def resample_pos_embed(pos_embed: Tensor, grid: tuple[int, int]) -> Tensor:
    """Resample a position embedding (1, 1 + n * n, C) bicubically to another grid of patches."""
    old = _square(pos_embed.shape[1] - 1)
    return resample_tokens(pos_embed[0], list(grid), old).unsqueeze(0)


def _square(patches: int) -> list[int]:
    side = isqrt(patches)
    if side * side != patches:
        raise FoveateError(f"{patches} patches of a checkpoint are no square grid; give img_size")
    return [side, side]
