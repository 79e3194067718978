"""The heads that only pretraining has: tokens to positions, and tokens to pixels."""

from __future__ import annotations

from functools import partial
from typing import Any

import torch
from timm.models.vision_transformer import Block
from torch import Tensor, nn

from vision.pretraining.positions import sincos_position_embedding, take
from vision.pretraining.pretext import DropPosConfig


class Decoder(nn.Module):
    """Embedding, transformer blocks, norm and prediction.

    Args:
        width: channels of the encoder's tokens.
        outputs: channels predicted.
        config: its size.
        eps: of the layer norms.
    """

    def __init__(self, width: int, outputs: int, config: DropPosConfig, eps: float) -> None:
        super().__init__()
        norm_layer: Any = partial(nn.LayerNorm, eps=eps)
        dim = config.decoder_dim
        self.embed = nn.Linear(width, dim)
        self.blocks = nn.Sequential(
            *(
                Block(
                    dim,
                    config.decoder_heads,
                    mlp_ratio=config.mlp_ratio,
                    qkv_bias=True,
                    norm_layer=norm_layer,
                )
                for _ in range(config.decoder_depth)
            )
        )
        self.norm = norm_layer(dim)
        self.pred = nn.Linear(dim, outputs)

    def forward(self, tokens: Tensor) -> Tensor:
        """Tokens (B, T, width) to (B, T, outputs). No position embedding: order means nothing."""
        return self.pred(self.norm(self.blocks(self.embed(tokens))))


class PixelDecoder(Decoder):
    """The decoder of MAE: removed patches come in as mask tokens, all at their places."""

    pos_embed: Tensor

    def __init__(
        self,
        width: int,
        outputs: int,
        config: DropPosConfig,
        eps: float,
        *,
        grid: tuple[int, int],
        prefix: int,
    ) -> None:
        super().__init__(width, outputs, config, eps)
        self.prefix = prefix
        self.mask_token = nn.Parameter(torch.zeros(1, 1, config.decoder_dim))
        self.register_buffer("pos_embed", fixed_positions(grid, config.decoder_dim, prefix))

    def forward(self, tokens: Tensor, restore: Tensor | None = None) -> Tensor:
        """Tokens (B, prefix + V, width) and their places among all to (B, L, outputs)."""
        assert restore is not None
        x = self.embed(tokens)
        prefix, visible = x[:, : self.prefix], x[:, self.prefix :]
        missing = restore.shape[1] - visible.shape[1]
        masks = self.mask_token.expand(len(x), missing, -1)
        patches = take(torch.cat([visible, masks], dim=1), restore)
        x = torch.cat([prefix, patches], dim=1) + self.pos_embed
        return self.pred(self.norm(self.blocks(x)))[:, self.prefix :]


def init_linear(module: nn.Module) -> None:
    """The published initialisation of linear layers and norms."""
    if isinstance(module, nn.Linear):
        nn.init.xavier_uniform_(module.weight)
        if module.bias is not None:
            nn.init.zeros_(module.bias)
    elif isinstance(module, nn.LayerNorm) and module.weight is not None:
        nn.init.ones_(module.weight)
        nn.init.zeros_(module.bias)


def fixed_positions(grid: tuple[int, int], dim: int, prefix: int) -> Tensor:
    """Position embeddings (1, prefix + L, dim), zero for the prefix."""
    table = sincos_position_embedding(grid, dim).float()
    return torch.cat([torch.zeros(prefix, dim), table]).unsqueeze(0)
