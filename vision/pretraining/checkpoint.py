"""DropPos checkpoints: published names into ours, and encoders into plain timm models."""

from __future__ import annotations

import argparse
import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
import torch.nn.functional as F
from safetensors.torch import load_file, save_file
from torch import Tensor, nn

from vision.catalogue import catalogue, open_weights
from vision.errors import FoveateError
from vision.pretraining.droppos import DropPos, create_droppos
from vision.pretraining.pretext import DropPosConfig

OWN = ("decoder.", "pixel_decoder.", "mask_pos_token", "mark")
"""Beginnings of the names that belong to the pretext, not to the encoder."""


def translate(name: str) -> str:
    """Our name of a published parameter; our own names stay as they are."""
    name = name.removeprefix("module.")
    if name.startswith(("encoder.", *OWN)):
        return name
    for theirs, ours in (("aux_decoder_", "pixel_decoder."), ("decoder_", "decoder.")):
        if name.startswith(theirs):
            return ours + name.removeprefix(theirs)
    return "pixel_decoder.mask_token" if name == "mask_token" else f"encoder.{name}"


def encoder_weights(state: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """The encoder alone, under the names of a plain timm model.

    Args:
        state: of `DropPos`, or of a published checkpoint. Also one of several tasks, whose
            `mask_token` would make timm take it for a DINOv2 file.
    """
    ours = {translate(name): tensor for name, tensor in state.items()}
    return {
        name.removeprefix("encoder."): tensor
        for name, tensor in ours.items()
        if name.startswith("encoder.")
    }


def load_encoder(model: nn.Module, state: Mapping[str, Tensor]) -> None:
    """Load a pretrained encoder into a timm model of the same architecture.

    Position embeddings are resized where the grids differ. A final norm is left out where the
    model pools before its norm, which then keeps its initial values, as published. A vision
    transformer of fewer blocks takes the lower ones.

    Args:
        model: with or without a classifier, which is not touched.
        state: see `encoder_weights`.

    Raises:
        FoveateError: the weights are of another architecture.
    """
    own = model.state_dict()
    top = max(map(_block, own))
    weights = {n: t for n, t in encoder_weights(state).items() if _block(n) <= top}
    if "pos_embed" in weights and "pos_embed" in own:
        patches: Any = model.get_submodule("patch_embed")
        prefix = own["pos_embed"].shape[1] - patches.num_patches
        weights["pos_embed"] = resize_positions(weights["pos_embed"], patches.grid_size, prefix)
    unused = [n for n in weights if n not in own and not n.startswith("norm.")]
    wrong = [n for n in weights if n in own and weights[n].shape != own[n].shape]
    missing = [n for n in own if n not in weights and not n.startswith(("head", "fc_norm."))]
    if unused or wrong or missing:
        first = (unused + wrong + missing)[0]
        raise FoveateError(f"the pretrained weights do not fit {type(model).__name__}: {first}")
    model.load_state_dict({n: t for n, t in weights.items() if n in own}, strict=False)


def _block(name: str) -> int:
    """Index of the block of a vision transformer that a parameter is in, -1 for none."""
    found = re.match(r"blocks\.(\d+)\.", name)
    return int(found[1]) if found else -1


def resize_positions(embedding: Tensor, grid: tuple[int, int], prefix: int) -> Tensor:
    """Position embeddings for another grid, bicubic and not antialiased, as published.

    Args:
        embedding: (1, prefix + L, C) of a square grid, or of `grid` already.
        grid: rows and columns wanted.
        prefix: tokens that come first and have no place.

    Returns:
        (1, prefix + rows * columns, C).
    """
    first, cells = embedding[:, :prefix], embedding[:, prefix:]
    if cells.shape[1] == grid[0] * grid[1]:
        return embedding
    side = round(cells.shape[1] ** 0.5)
    if side * side != cells.shape[1]:
        raise FoveateError(f"{cells.shape[1]} position embeddings are no square grid to resize")
    image = cells.reshape(1, side, side, -1).permute(0, 3, 1, 2)
    image = F.interpolate(image, size=tuple(grid), mode="bicubic", align_corners=False)
    return torch.cat([first, image.flatten(2).transpose(1, 2)], dim=1)


def read_state(path: Path) -> tuple[dict[str, Tensor], str | None]:
    """Tensors of a checkpoint and the published name of its architecture, where it has one.

    Reads `.safetensors`, and torch's own files without running anything in them. The published
    files hold a *name* under `model`, and the tensors under `state_dict`; others have the tensors
    under `model`, or nothing but tensors.

    Raises:
        FoveateError: it is no such file.
    """
    try:
        if path.suffix == ".safetensors":
            return load_file(path), None
        content: Any = torch.load(path, map_location="cpu", weights_only=True)
    except Exception as error:  # torch and safetensors have no common one
        raise FoveateError(
            f"{path} is no readable checkpoint: {str(error).splitlines()[0]}"
        ) from None
    name = None
    if isinstance(content, dict):
        if isinstance(content.get("model"), str):
            name = content["model"]
        for key in ("state_dict", "model"):
            if isinstance(content.get(key), dict):
                content = content[key]
                break
    if not isinstance(content, dict) or not all(isinstance(t, Tensor) for t in content.values()):
        raise FoveateError(f"{path} holds no state dict")
    return content, name


def read_init(name: str) -> dict[str, Tensor]:
    """Tensors to begin a training with: shipped weights by name, or a checkpoint by path."""
    if name in catalogue():
        return open_weights(name, task=catalogue()[name].task).tensors
    return read_state(Path(name))[0]


def create_published(name: str, **changes: Any) -> DropPos:
    """The published architecture of a name such as `DropPos_mae_vit_base_patch16_dec512d2b`.

    Args:
        name: from the paper's code.
        changes: to the configuration, such as `multi_task`.

    Raises:
        FoveateError: there is no such architecture.
    """
    found = re.fullmatch(
        r"DropPos_mae_vit_(small|base|large|huge)_patch(14|16|32)_dec(\d+)d(\d+)b", name
    )
    if not found:
        raise FoveateError(f"{name!r} is no architecture of DropPos")
    size, patch, dim, depth = found.groups()
    config = DropPosConfig(decoder_dim=int(dim), decoder_depth=int(depth), **changes)
    return create_droppos(f"vit_{size}_patch{patch}_224", config)


def main() -> None:
    """Write the encoder of a DropPos checkpoint as a plain timm state dict (safetensors)."""
    parser = argparse.ArgumentParser(description=main.__doc__)
    parser.add_argument("checkpoint", type=Path)
    parser.add_argument("out", type=Path)
    given = parser.parse_args()
    state, _ = read_state(given.checkpoint)
    weights = encoder_weights(state)
    save_file({name: tensor.contiguous() for name, tensor in weights.items()}, given.out)
    print(f"{given.out}: {len(weights)} tensors")


if __name__ == "__main__":
    main()
