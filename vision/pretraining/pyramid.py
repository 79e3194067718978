"""Dropped positions for pyramids, which have no position embedding: regions out of place."""

from __future__ import annotations

from functools import partial
from typing import Any, cast

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from vision.errors import FoveateError
from vision.pretraining.decoders import Decoder, init_linear
from vision.pretraining.losses import position_loss
from vision.pretraining.positions import Masking, random_masking, smoothing_map, take
from vision.pretraining.pretext import DropPosConfig, DropPosOutput, Noise

EPS = 1e-6
"""Of the decoder's norms, as in vision transformers."""


class RegionDropPos(nn.Module):
    """A pyramid and the pretext that pretrains it: DropPos with regions in place of patches.

    In a pyramid a token's position is its place in the map. So some regions of the picture are
    blanked (the patches removed), some stay where they are (those that keep their position), and
    the rest change places among themselves (those that lose it), marked by one learned pattern
    that says so. From the map of the last stage the decoder predicts the cell that each visible
    region came from. The encoder is a plain timm model afterwards.

    Args:
        encoder: a timm model with `forward_intermediates`: a pyramid, or a vision transformer
            without position embedding.
        config: the pretext; its `attn_guide`, `multi_task`, `shuffle` and `official` have no
            meaning here, and of the `mask_token_type`s `"param"` is the learned pattern and
            `"zeros"` none.
        size: height and width of the pictures.
        region: side of a region in pixels, a multiple of the stride.

    Raises:
        FoveateError: sizes that do not fit, or a setting without meaning.

    Source: our extension of DropPos, section 3.1.
    """

    def __init__(
        self, encoder: nn.Module, config: DropPosConfig, size: tuple[int, int], region: int
    ) -> None:
        super().__init__()
        self.encoder = cast(Any, encoder)
        stride = self.encoder.feature_info[-1]["reduction"]
        if region % stride or any(side % region for side in size):
            raise FoveateError(
                f"pictures of {size[0]}x{size[1]} pixels do not fall into regions of {region} "
                f"pixels, or these not into steps of {stride}"
            )
        for name in ("attn_guide", "multi_task", "shuffle", "official"):
            if getattr(config, name):
                raise FoveateError(f"{name} has no meaning for pyramids")
        if config.mask_token_type == "wrong_pos":
            raise FoveateError("mask_token_type is param or zeros for pyramids")
        self.config = config
        self.region = region
        self.grid = (size[0] // region, size[1] // region)
        self.mark = nn.Parameter(
            torch.zeros(3, region, region), requires_grad=config.mask_token_type == "param"
        )
        self.decoder = Decoder(self.encoder.num_features, self.grid[0] * self.grid[1], config, EPS)
        self.decoder.apply(init_linear)
        if self.mark.requires_grad:
            nn.init.normal_(self.mark, std=0.02)

    def smoothing(self, sigma: float) -> Tensor:
        """Soft targets of this grid."""
        return smoothing_map(self.grid, sigma)

    def draw_noise(self, batch: int, generator: torch.Generator | None = None) -> Noise:
        """The random numbers of one forward pass; `shuffle` says who takes whose place."""
        cells = self.grid[0] * self.grid[1]
        visible = int(cells * (1 - self.config.mask_ratio))
        dropped = visible - int(visible * (1 - self.config.pos_mask_ratio))
        draw = partial(torch.rand, generator=generator)
        return Noise(draw(batch, cells), draw(batch, visible), draw(batch, dropped))

    def forward(
        self, images: Tensor, smoothing: Tensor, noise: Noise | None = None
    ) -> DropPosOutput:
        """Move regions, predict where they came from, compare; see `DropPos.forward`."""
        noise = (self.draw_noise(len(images)) if noise is None else noise).to(images.device)
        assert noise.shuffle is not None
        patches = random_masking(noise.patch, self.config.mask_ratio)
        positions = random_masking(noise.position, self.config.pos_mask_ratio)
        places = self._places(patches, positions, noise.shuffle)
        maps = self.encoder.forward_intermediates(
            self._rearrange(images, patches, positions, places),
            indices=1,
            norm=True,
            output_fmt="NCHW",
            intermediates_only=True,
        )
        tokens = F.adaptive_avg_pool2d(maps[-1], self.grid).flatten(2).transpose(1, 2)
        encoded = take(tokens, places)
        logits = self.decoder(encoded)
        loss, accuracy, weight = position_loss(
            logits,
            patches.keep,
            positions.removed.to(logits.dtype),
            smoothing.to(logits),
            conf_ignore=self.config.conf_ignore,
        )
        return DropPosOutput(loss, loss, accuracy, logits, weight, patches, positions, encoded)

    @staticmethod
    def _places(patches: Masking, positions: Masking, noise: Tensor) -> Tensor:
        """Cell (B, V) where every visible region is shown."""
        order = positions.restore.argsort(dim=1)
        cells = patches.keep.gather(1, order)
        kept = positions.keep.shape[1]
        moved = cells[:, kept:].gather(1, noise.argsort(dim=1))
        return torch.cat([cells[:, :kept], moved], dim=1).gather(1, positions.restore)

    def _rearrange(
        self, images: Tensor, patches: Masking, positions: Masking, places: Tensor
    ) -> Tensor:
        """Pictures with regions blanked (to the mean colour, zero) and out of place."""
        regions = split(images, self.region)
        shown = take(regions, patches.keep)
        shown = shown + self.mark.flatten() * positions.removed.unsqueeze(-1)
        index = places.unsqueeze(-1).expand_as(shown)
        return merge(torch.zeros_like(regions).scatter(1, index, shown), self.grid, self.region)


def split(images: Tensor, side: int) -> Tensor:
    """Pictures (B, C, H, W) as regions (B, L, C * side * side) in raster order."""
    return F.unfold(images, side, stride=side).transpose(1, 2)


def merge(regions: Tensor, grid: tuple[int, int], side: int) -> Tensor:
    """The reverse of `split`."""
    size = (grid[0] * side, grid[1] * side)
    return F.fold(regions.transpose(1, 2), size, side, stride=side)
