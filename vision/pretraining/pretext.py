"""The pretext of dropped positions: its settings, its random numbers and what it gives."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

import torch
from torch import Tensor

from vision.pretraining.positions import Masking


@dataclass(frozen=True)
class DropPosConfig:
    """How positions are dropped and reconstructed; the defaults are the published ones.

    Args:
        mask_ratio: share of the patches that the encoder never sees.
        pos_mask_ratio: share of the visible patches that lose their position.
        decoder_dim: width of the decoder.
        decoder_depth: its blocks.
        decoder_heads: their heads.
        mlp_ratio: of the decoder's blocks.
        mask_token_type: what takes the place of a dropped position embedding: one learned vector
            (`"param"`), nothing (`"zeros"`), or that of another dropped patch (`"wrong_pos"`).
        shuffle: put the visible tokens in random order; changes nothing but rounding.
        attn_guide: weigh the patches by their likeness to the class token of the whole picture.
        temperature: of these weights.
        conf_ignore: leave out patches that are placed surely enough.
        multi_task: also reconstruct the pixels of removed patches, as MAE does.
        norm_pix_loss: normalise these pixels patch by patch.
        pos_weight: weight of the position loss beside the pixels'.
        official: do as the published code where it errs: soft targets of a wrong grid with
            columns instead of rows normalised, gradients clipped tensor by tensor, and, with
            `multi_task` and `shuffle`, pixels reconstructed from tokens in the wrong cells.
    """

    mask_ratio: float = 0.75
    pos_mask_ratio: float = 0.75
    decoder_dim: int = 512
    decoder_depth: int = 2
    decoder_heads: int = 16
    mlp_ratio: float = 4.0
    mask_token_type: Literal["param", "zeros", "wrong_pos"] = "param"
    shuffle: bool = False
    attn_guide: bool = False
    temperature: float = 0.1
    conf_ignore: bool = False
    multi_task: bool = False
    norm_pix_loss: bool = True
    pos_weight: float = 1.0
    official: bool = False

    def __post_init__(self) -> None:
        for name in ("mask_ratio", "pos_mask_ratio"):
            if not 0 <= getattr(self, name) <= 1:
                raise ValueError(f"{name} is a share from 0 to 1, not {getattr(self, name)}")
        if self.mask_token_type not in ("param", "zeros", "wrong_pos"):
            raise ValueError(
                f"mask_token_type is param, zeros or wrong_pos, not {self.mask_token_type!r}"
            )
        if self.multi_task and self.mask_ratio == 0:
            raise ValueError("multi_task reconstructs removed patches: mask_ratio must not be 0")


@dataclass
class Noise:
    """Every random number of one forward pass.

    Args:
        patch: (B, L), which patches are removed.
        position: (B, V), which of the visible lose their position.
        shuffle: (B, V), the order of the visible tokens.
        permutation: (dropped,) int64, whose position embedding each dropped patch gets.
    """

    patch: Tensor
    position: Tensor
    shuffle: Tensor | None = None
    permutation: Tensor | None = None

    def to(self, device: torch.device) -> Noise:
        """The same numbers elsewhere."""
        shuffle, permutation = (
            None if part is None else part.to(device) for part in (self.shuffle, self.permutation)
        )
        return Noise(self.patch.to(device), self.position.to(device), shuffle, permutation)


@dataclass
class DropPosOutput:
    """What a forward pass gives.

    Args:
        loss: of everything, to be minimised.
        loss_pos: of the positions.
        accuracy: share of the positions that are exact, weighted as the loss is.
        logits: (B, V, L) scores of every cell for every visible patch, in the order of `patches`.
        weight: (B, V) how much each counts.
        patches: which patches are visible; `keep` holds their true cells.
        positions: which of the visible keep their position; `removed` are those to be found.
        encoded: (B, prefix + V, C), the encoder's tokens in the order they were fed; of a
            pyramid (B, V, C).
        attention: (B, V) weights of the visible patches, with `attn_guide`.
        attention_full: (B, L) weights of all patches, with `attn_guide`.
        pixels: (B, L, patch pixels) reconstruction, with `multi_task`.
        loss_pix: its loss, with `multi_task`.
    """

    loss: Tensor
    loss_pos: Tensor
    accuracy: Tensor
    logits: Tensor
    weight: Tensor
    patches: Masking
    positions: Masking
    encoded: Tensor
    attention: Tensor | None = None
    attention_full: Tensor | None = None
    pixels: Tensor | None = None
    loss_pix: Tensor | None = None
