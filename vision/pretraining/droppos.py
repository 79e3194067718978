"""DropPos: pretraining vision transformers by reconstructing dropped positions (NeurIPS 2023)."""

from __future__ import annotations

from functools import partial
from typing import Any, cast

import timm
import torch
from timm.models.vision_transformer import VisionTransformer
from torch import Tensor, nn

from vision.errors import FoveateError
from vision.pretraining.decoders import Decoder, PixelDecoder, fixed_positions, init_linear
from vision.pretraining.losses import attentive_weights, pixel_loss, position_loss
from vision.pretraining.positions import Masking, random_masking, smoothing_map, take
from vision.pretraining.pretext import DropPosConfig, DropPosOutput, Noise


class DropPos(nn.Module):
    """A vision transformer and the pretext that pretrains it.

    Patches are removed as in MAE, most of the visible ones lose their position embedding, and the
    cell each of these came from is predicted from appearance alone. The encoder keeps its name
    `encoder` in the state dict and is a plain timm model afterwards. Its position embedding is
    set to the fixed sine-cosine one and not trained.

    Args:
        encoder: a timm `VisionTransformer` with position embedding and final norm.
        config: the pretext.

    Raises:
        FoveateError: an encoder of another kind.

    Source: DropPos, section 3.
    """

    def __init__(self, encoder: VisionTransformer, config: DropPosConfig) -> None:
        super().__init__()
        _check(encoder, config)
        self.config = config
        self.encoder = encoder
        self.grid: tuple[int, int] = tuple(encoder.patch_embed.grid_size)
        self.patch: tuple[int, int] = tuple(encoder.patch_embed.patch_size)
        self.prefix: int = encoder.num_prefix_tokens
        dim, eps = encoder.embed_dim, cast(float, encoder.norm.eps)
        self.mask_pos_token = nn.Parameter(
            torch.zeros(1, 1, dim), requires_grad=config.mask_token_type == "param"
        )
        self.decoder = Decoder(dim, self.grid[0] * self.grid[1], config, eps)
        self.pixel_decoder: PixelDecoder | None = None
        if config.multi_task:
            outputs = self.patch[0] * self.patch[1] * encoder.in_chans
            self.pixel_decoder = PixelDecoder(
                dim, outputs, config, eps, grid=self.grid, prefix=self.prefix
            )
        self._initialise()

    @torch.no_grad()
    def _initialise(self) -> None:
        self.apply(init_linear)
        projection = self.encoder.patch_embed.proj
        nn.init.xavier_uniform_(projection.weight.view(len(projection.weight), -1))
        for name, parameter in self.named_parameters():
            if name.endswith("_token"):
                nn.init.normal_(parameter, std=0.02)
        embedding = self.encoder.pos_embed
        assert embedding is not None
        prefix = 0 if self.encoder.no_embed_class else self.prefix
        embedding.copy_(fixed_positions(self.grid, embedding.shape[-1], prefix))
        embedding.requires_grad_(False)

    def smoothing(self, sigma: float) -> Tensor:
        """Soft targets of this grid, or with `config.official` of the published code's.

        Raises:
            FoveateError: the published code has no targets for this grid.
        """
        if not self.config.official:
            return smoothing_map(self.grid, sigma)
        # It divides the size of the picture by the patches a side, not by the size of a patch.
        (rows, columns), (side, _) = self.grid, self.patch
        if rows != columns or side < rows:
            raise FoveateError(
                f"official targets need a square grid of at most {side} cells a side, "
                f"not {rows}x{columns}: leave `official` out"
            )
        return smoothing_map((side, side), sigma, official=True)

    def draw_noise(self, batch: int, generator: torch.Generator | None = None) -> Noise:
        """The random numbers of one forward pass, on the CPU so that every device sees the same."""
        cells = self.grid[0] * self.grid[1]
        visible = int(cells * (1 - self.config.mask_ratio))
        dropped = visible - int(visible * (1 - self.config.pos_mask_ratio))
        draw = partial(torch.rand, generator=generator)
        return Noise(
            draw(batch, cells),
            draw(batch, visible),
            draw(batch, visible) if self.config.shuffle else None,
            torch.randperm(dropped, generator=generator)
            if self.config.mask_token_type == "wrong_pos"
            else None,
        )

    def forward(
        self, images: Tensor, smoothing: Tensor, noise: Noise | None = None
    ) -> DropPosOutput:
        """Drop positions, predict them, compare.

        Args:
            images: normalised pictures (B, C, H, W) of the encoder's size.
            smoothing: soft targets, see `smoothing`.
            noise: random numbers, see `draw_noise`; drawn when None.
        """
        config = self.config
        noise = (self.draw_noise(len(images)) if noise is None else noise).to(images.device)
        embedded = self._embed(images)
        patches = random_masking(noise.patch, config.mask_ratio)
        positions = random_masking(noise.position, config.pos_mask_ratio)
        tokens = take(embedded, patches.keep) + self._partial_positions(patches, positions, noise)
        order = None if noise.shuffle is None else noise.shuffle.argsort(dim=1)
        encoded = self._encode(tokens if order is None else take(tokens, order))
        ordered = encoded if order is None else self._in_order(encoded, order.argsort(dim=1))

        attention = attention_full = None
        weight = positions.removed.to(encoded.dtype)
        if config.attn_guide:
            attention_full = self._attention(embedded)
            attention = attention_full.gather(1, patches.keep)
            attention = attention / attention.sum(dim=-1, keepdim=True)
            weight = weight * attention
        logits = self.decoder(ordered)[:, self.prefix :]
        loss_pos, accuracy, weight = position_loss(
            logits, patches.keep, weight, smoothing.to(logits), conf_ignore=config.conf_ignore
        )
        output = DropPosOutput(
            loss_pos, loss_pos, accuracy, logits, weight, patches, positions, encoded
        )
        output.attention, output.attention_full = attention, attention_full
        if self.pixel_decoder is not None:
            source = encoded if config.official else ordered
            output.pixels = self.pixel_decoder(source, patches.restore)
            output.loss_pix = pixel_loss(
                output.pixels, images, patches.removed, self.patch, normalise=config.norm_pix_loss
            )
            output.loss = config.pos_weight * loss_pos + output.loss_pix
        return output

    def _embed(self, images: Tensor) -> Tensor:
        """Patches (B, L, C) without position."""
        x = self.encoder.patch_embed(images)
        return x.flatten(1, 2) if x.ndim == 4 else x  # (B, rows, columns, C) of dynamic sizes

    def _table(self) -> Tensor:
        """Position embeddings (1, L, C) of all patches."""
        assert self.encoder.pos_embed is not None
        return self.encoder.pos_embed[:, -self.grid[0] * self.grid[1] :]

    def _partial_positions(self, patches: Masking, positions: Masking, noise: Noise) -> Tensor:
        """Position embeddings (B, V, C) of the visible patches, those to be dropped replaced."""
        batch, visible = patches.keep.shape
        embedding = take(self._table().expand(batch, -1, -1), patches.keep)
        kept = take(embedding, positions.keep)
        dropped = visible - kept.shape[1]
        if self.config.mask_token_type == "wrong_pos":
            assert noise.permutation is not None
            # Tokens in the order of their noise: the kept ones first, then the dropped.
            order = positions.restore.argsort(dim=1)[:, kept.shape[1] :]
            replaced = take(embedding, order)[:, noise.permutation]
        elif self.config.mask_token_type == "param":
            replaced = self.mask_pos_token.expand(batch, dropped, -1)
        else:
            replaced = kept.new_zeros(batch, dropped, kept.shape[-1])
        return take(torch.cat([kept, replaced], dim=1), positions.restore)

    def _encode(self, patches: Tensor) -> Tensor:
        """Encoder over patches (B, V, C) that already bear their positions."""
        encoder = self.encoder
        names = ("cls_token", "dist_token", "reg_token")
        tokens = [t for name in names if (t := getattr(encoder, name, None)) is not None]
        x = torch.cat([t.expand(len(patches), -1, -1) for t in tokens] + [patches], dim=1)
        return encoder.norm(encoder.blocks(encoder.norm_pre(x)))

    @torch.no_grad()
    def _attention(self, embedded: Tensor) -> Tensor:
        """Weights (B, L) of all patches, seen together and with all positions."""
        x = self._encode(embedded + self._table())
        return attentive_weights(x[:, 0], x[:, self.prefix :], self.config.temperature)

    def _in_order(self, tokens: Tensor, order: Tensor) -> Tensor:
        return torch.cat([tokens[:, : self.prefix], take(tokens[:, self.prefix :], order)], dim=1)


def create_droppos(name: str, config: DropPosConfig, **options: Any) -> DropPos:
    """DropPos over a timm model by name.

    Args:
        name: of a vision transformer.
        config: the pretext.
        options: of the model, such as `img_size` and `depth`.

    Raises:
        FoveateError: no such model, or one that is no plain vision transformer.
    """
    encoder: Any = create_encoder(name, **options)
    if isinstance(getattr(encoder, "fc_norm", None), nn.LayerNorm):
        # What would be normalised after pooling is normalised token by token here.
        encoder.norm, encoder.fc_norm = encoder.fc_norm, nn.Identity()
    return DropPos(encoder, config)


def create_encoder(name: str, **options: Any) -> nn.Module:
    """A timm model without classifier; FoveateError when there is none of that name or kind."""
    if not timm.is_model(name):
        raise FoveateError(f"timm knows no model {name!r}")
    try:
        return timm.create_model(name, num_classes=0, **options)
    except TypeError as error:
        raise FoveateError(f"{name} does not take these options: {error}") from None


def _check(encoder: nn.Module, config: DropPosConfig) -> None:
    """Refuse encoders whose tokens cannot be dropped one by one."""
    kind = type(encoder).__name__
    if not isinstance(encoder, VisionTransformer) or encoder.pos_embed is None:
        raise FoveateError(
            f"{kind} has no absolute position embedding to drop: use a ViT, or a pyramid by regions"
        )
    if not isinstance(encoder.blocks, nn.Sequential):
        raise FoveateError(f"the blocks of {kind} need all patches: pretrain a plain ViT")
    if isinstance(encoder.norm, nn.Identity):
        raise FoveateError(f"{kind} must end in a norm: create it with fc_norm=False")
    if config.attn_guide and not encoder.has_class_token:
        raise FoveateError(f"attn_guide needs a class token, which this {kind} has not")
