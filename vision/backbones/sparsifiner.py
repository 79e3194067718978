"""Sparsifiner: vision transformers whose queries attend to a learned subset of keys.

Wei, Duke, Jiang, Aarabi, Taylor, Shkurti: Sparsifiner: Learning Sparse Instance-Dependent Attention
for Efficient Vision Transformers, CVPR 2023, https://arxiv.org/abs/2303.13755. It starts from the
weights of a dense model, official or timm's, from a local file::

    timm.create_model(
        "sparsifiner_deit_small_patch16_224",
        pretrained=True,
        pretrained_cfg_overlay=dict(file=path),
        attn_keep_rate=0.25,
        token_keep_rate=0.7,
    )
"""

from collections.abc import Sequence
from functools import partial
from typing import Any, Literal, cast

import torch
from timm.data import IMAGENET_DEFAULT_MEAN, IMAGENET_DEFAULT_STD
from timm.layers import LayerNorm, PatchEmbed, get_device_dtype, to_2tuple
from timm.models import build_model_with_cfg, generate_default_cfgs, register_model
from timm.models._features import feature_take_indices
from timm.models._manipulate import checkpoint
from timm.models.vision_transformer import VisionTransformer
from torch import Tensor, nn

from vision.attention.sparse_connectivity import AttentionTrace, Mode
from vision.backbones.sparsifiner_blocks import (
    ConvStem,
    SparsifinerBlock,
    SparsifinerTrace,
    each_block,
    make_block,
    token_keep_rates,
)
from vision.backbones.sparsifiner_checkpoint import checkpoint_filter_fn

__all__ = ["Sparsifiner"]


class Sparsifiner(VisionTransformer):
    """DeiT or LV-ViT with sparse attention and token pruning.

    Args:
        img_size: of pictures, in pixels.
        patch_size: in pixels.
        in_chans: channels of the picture.
        num_classes: classes; 0 for no classifier.
        global_pool: what the classifier sees: the class token, or a pooling of the patches that
            remain; `""` for all tokens.
        embed_dim: channels C.
        depth: blocks.
        num_heads: attention heads.
        mlp_ratio: hidden width of the MLPs as a multiple of C.
        qkv_bias: whether queries, keys and values have a bias.
        attn_keep_rate: share of all tokens that a query attends to, for all blocks or each.
        token_keep_rate: share of all patches that stay. A number r keeps r, r^2, r^3, ... at the
            places of `prune_at`, and 1 keeps all; a sequence gives the rate of every block.
        prune_at: blocks in which tokens are dropped.
        mode: how attention is computed, see `SparseAttention`. In `"published"` the whole model
            runs as published, dropped tokens staying in the sequence as zeros.
        query_block, key_block: see `SparseAttention`.
        token_reduction, channel_reduction: see `ConnectivityPredictor`.
        predictor: further keywords of `ConnectivityPredictor`.
        conv_stem: embed patches by LV-ViT's convolutions.
        skip_scale: factor on attention and MLPs before they are added.
        aux_head: classify the patches as well, as LV-ViT does, and add half their largest logits.
        norm_eps: added to the variance in the norms.
        dynamic_img_size: take pictures of any size in whole patches; position embedding and
            predictors are resampled.
        dynamic_img_pad: pad pictures to whole patches.
        drop_rate, pos_drop_rate, proj_drop_rate, drop_path_rate: as of timm's VisionTransformer.
        device: where parameters are made.
        dtype: of parameters.

    Raises:
        ValueError: the options do not fit together.

    Source: Sparsifiner, section 3; defaults are DeiT-S.
    """

    def __init__(
        self,
        img_size: int | tuple[int, int] = 224,
        patch_size: int = 16,
        in_chans: int = 3,
        num_classes: int = 1000,
        global_pool: Literal["", "avg", "avgmax", "max", "token"] = "token",
        embed_dim: int = 384,
        depth: int = 12,
        num_heads: int = 6,
        mlp_ratio: float = 4.0,
        qkv_bias: bool = True,
        attn_keep_rate: float | Sequence[float] = 0.25,
        token_keep_rate: float | Sequence[float] = 1.0,
        prune_at: Sequence[int] = (3, 6, 9),
        mode: Mode = "csr",
        query_block: int = 128,
        key_block: int = 32,
        token_reduction: int = 6,
        channel_reduction: int = 2,
        predictor: dict[str, Any] | None = None,
        conv_stem: bool = False,
        skip_scale: float = 1.0,
        aux_head: bool = False,
        norm_eps: float = 1e-6,
        dynamic_img_size: bool = False,
        dynamic_img_pad: bool = False,
        drop_rate: float = 0.0,
        pos_drop_rate: float = 0.0,
        proj_drop_rate: float = 0.0,
        drop_path_rate: float = 0.0,
        device: torch.device | str | None = None,
        dtype: torch.dtype | None = None,
    ) -> None:
        factory: dict[str, Any] = {"device": device, "dtype": dtype}
        token_rates = token_keep_rates(token_keep_rate, prune_at, depth)
        if aux_head and mode == "published" and any(rate is not None for rate in token_rates):
            raise ValueError("the published LV-ViT form drops no tokens: use another mode")
        if dynamic_img_size and mode == "published":
            raise ValueError("the published form takes pictures of one size: use another mode")
        height, width = to_2tuple(img_size)
        block = partial(
            make_block,
            num_tokens=1 + (height // patch_size) * (width // patch_size),
            keep_rates=each_block(attn_keep_rate, depth, "attn_keep_rate"),
            token_rates=token_rates,
            attention={"mode": mode, "query_block": query_block, "key_block": key_block},
            predictor={
                "token_reduction": token_reduction,
                "channel_reduction": channel_reduction,
                **(predictor or {}),
            },
            skip_scale=skip_scale,
            norm_eps=norm_eps,
        )
        super().__init__(
            img_size=img_size,
            patch_size=patch_size,
            in_chans=in_chans,
            num_classes=num_classes,
            global_pool=global_pool,
            embed_dim=embed_dim,
            depth=depth,
            num_heads=num_heads,
            mlp_ratio=mlp_ratio,
            qkv_bias=qkv_bias,
            dynamic_img_size=dynamic_img_size,
            dynamic_img_pad=dynamic_img_pad,
            drop_rate=drop_rate,
            pos_drop_rate=pos_drop_rate,
            proj_drop_rate=proj_drop_rate,
            drop_path_rate=drop_path_rate,
            embed_layer=ConvStem if conv_stem else PatchEmbed,
            norm_layer=partial(LayerNorm, eps=norm_eps),
            block_fn=cast(Any, block),
            **factory,
        )
        # Not a chain as in timm: the blocks hand on more than one tensor.
        self.blocks = nn.ModuleList(self.blocks)  # type: ignore[assignment]  # see above
        self.published = mode == "published"
        has_aux = aux_head and num_classes > 0
        self.aux_head = nn.Linear(embed_dim, num_classes, **factory) if has_aux else None
        if self.aux_head is not None:
            nn.init.trunc_normal_(self.aux_head.weight, std=0.02)
            nn.init.zeros_(self.aux_head.bias)

    # --- what timm asks of a model --------------------------------------------------------------

    def reset_classifier(self, num_classes: int, global_pool: str | None = None) -> None:
        """Replace the classifiers; 0 removes them. None keeps the pooling, `""` removes it."""
        super().reset_classifier(num_classes, global_pool)
        if self.aux_head is None:
            return
        if num_classes == 0:
            self.aux_head = None
        else:
            aux = nn.Linear(self.embed_dim, num_classes, **get_device_dtype(self))
            self.aux_head = aux.train(self.training)

    def set_input_size(
        self,
        img_size: tuple[int, int] | None = None,
        patch_size: tuple[int, int] | None = None,
    ) -> None:
        """Change the size of pictures or patches; what belongs to places is resampled."""
        before = self.patch_embed.grid_size
        super().set_input_size(img_size, patch_size)
        after = self.patch_embed.grid_size
        if after != before:
            for block in self._each():
                block.attn.set_grid(after, before)

    # Unlike timm's, the next three take no attention mask: the predictors make it. (Where these
    # are left out of the types, TorchScript wants nothing else on the line.)

    def forward_features(self, x: Tensor) -> Tensor:  # type: ignore[override]
        """Class token and the patches that remain, after the last norm: (B, 1 + n, C)."""
        # A scripted model cannot hold the published form. The others' numbers are the same.
        if self.published and not torch.jit.is_scripting():
            x, blocks = self.trace_features(x)
            return _remaining(x, blocks[-1].alive)
        x, grid, home = self._embed(x)
        ids: Tensor | None = None
        for block in self.blocks:
            if self.grad_checkpointing and not torch.jit.is_scripting():
                x, ids = checkpoint(block, x, ids, grid, home)
            else:
                x, ids = block(x, ids, grid, home)
        return self.norm(x)

    def forward_head(self, x: Tensor, pre_logits: bool = False) -> Tensor:
        """Pool, normalise and classify what `forward_features` gave."""
        pooled = self.head_drop(self.fc_norm(self.pool(x)))
        if pre_logits:
            return pooled
        logits = self.head(pooled)
        if self.aux_head is not None and self.global_pool != "":
            logits = logits + 0.5 * self.aux_head(x[:, 1:]).amax(1)
        return logits

    def forward(self, x: Tensor) -> Tensor:  # type: ignore[override]
        """Classify normalised pictures (B, 3, H, W): (B, classes)."""
        return self.forward_head(self.forward_features(x))

    def forward_intermediates(  # type: ignore[override]
        self,
        x: Tensor,
        indices: int | list[int] | None = None,
        return_prefix_tokens: bool = False,
        norm: bool = False,
        stop_early: bool = False,
        output_fmt: str = "NCHW",
        intermediates_only: bool = False,
        output_dict: bool = False,
        attn_mask: None = None,
    ) -> list[Any] | tuple[Tensor, list[Any]] | dict[str, Any]:
        """Run the model and return what its blocks give. Dropped tokens are zeros there.

        Args:
            x: normalised pictures (B, 3, H, W).
            indices: blocks whose outputs to return; an int for the last so many, None for all.
            return_prefix_tokens: return pairs of map and class token (B, 1, C).
            norm: apply the last norm to all of them.
            stop_early: compute nothing after the last of these blocks.
            output_fmt: `"NCHW"`, or `"NLC"` for tokens (B, N - 1, C).
            intermediates_only: return only these outputs.
            output_dict: return a dict of `"image_features"`, `"image_intermediates"` and, apart
                from them, `"image_intermediates_prefix"`.
            attn_mask: must be None; timm's `get_intermediate_layers` passes it.

        Returns:
            What `forward_features` gives, and the outputs; or the outputs; or the dict.
        """
        if output_fmt not in ("NCHW", "NLC"):
            raise ValueError(f"output_fmt must be 'NCHW' or 'NLC', not {output_fmt!r}")
        take_indices, max_index = feature_take_indices(len(self.blocks), indices)
        size = self.patch_embed.dynamic_feat_size(x.shape[-2:])
        x, grid, home = self._embed(x)
        patches = x.shape[1] - 1
        ids = alive = None
        maps: list[Tensor] = []
        prefixes: list[Tensor] = []
        for i, block in enumerate(self._each()[: max_index + 1 if stop_early else None]):
            if self.published:
                x, trace = block.trace(x, alive)
                alive = trace.alive
            elif self.grad_checkpointing:
                x, ids = checkpoint(block, x, ids, grid, home)
            else:
                x, ids = block(x, ids, grid, home)
            if i in take_indices:
                tokens = x[:, 1:] if ids is None else _put_back(x[:, 1:], ids, patches)
                first = x[:, :1]
                if norm:
                    tokens, first = self.norm(tokens), self.norm(first)
                if output_fmt == "NCHW":
                    tokens = tokens.transpose(1, 2).unflatten(2, size).contiguous()
                maps.append(tokens)
                prefixes.append(first)
        if output_dict:
            found: dict[str, Any] = {"image_intermediates": maps}
            if return_prefix_tokens:
                found["image_intermediates_prefix"] = prefixes
            if not intermediates_only:
                found["image_features"] = _remaining(self.norm(x), alive)
            return found
        outputs = list(zip(maps, prefixes, strict=True)) if return_prefix_tokens else maps
        return outputs if intermediates_only else (_remaining(self.norm(x), alive), outputs)

    # --- the published form ---------------------------------------------------------------------

    @torch.jit.ignore
    def set_reconstruction(self, enable: bool = True) -> None:
        """Enter or leave the stage in which predictors learn to reconstruct attention.

        Concerns the published form alone. In training, attention is then dense and the predictors'
        scores are left uncut; tokens are not dropped, in training or not.
        """
        for block in self._each():
            block.attn.reconstruct = enable

    @torch.jit.ignore
    def trace(self, x: Tensor) -> SparsifinerTrace:
        """Run the published form, whatever the mode, and tell all that it did.

        Args:
            x: normalised pictures (B, 3, H, W), of the size that the model was made for.
        """
        x, blocks = self.trace_features(x)
        pooled = self.pool(_remaining(x, blocks[-1].alive))
        logits = self.head(self.head_drop(self.fc_norm(pooled)))
        if self.aux_head is None:
            # Models that pool patches normalise only then; features are normalised in any case.
            return SparsifinerTrace(logits, self.fc_norm(x[:, 1:]), blocks)
        auxiliary = self.aux_head(x[:, 1:])
        if not self.training:
            logits = logits + 0.5 * auxiliary.amax(1)
        return SparsifinerTrace(logits, auxiliary, blocks)

    @torch.jit.ignore
    def trace_features(self, x: Tensor) -> tuple[Tensor, list[AttentionTrace]]:
        """Features (B, N, C) after the last norm in the published form, and what led to them."""
        x = self._embed(x)[0]
        alive: Tensor | None = None
        blocks = []
        for block in self._each():
            x, trace = block.trace(x, alive)
            alive = trace.alive
            blocks.append(trace)
        return self.norm(x), blocks

    @torch.jit.ignore
    def _each(self) -> list[SparsifinerBlock]:
        return cast(list[SparsifinerBlock], list(self.blocks))

    def _embed(self, x: Tensor) -> tuple[Tensor, list[int] | None, list[int] | None]:
        """Tokens (B, N, C), and with sizes that vary this picture's grid and the model's own."""
        x = self.patch_embed(x)
        grid: list[int] | None = None
        home: list[int] | None = None
        if self.dynamic_img_size:
            grid = [x.shape[1], x.shape[2]]
            home = [self.patch_embed.grid_size[0], self.patch_embed.grid_size[1]]
        return self._pos_embed(x), grid, home


@torch.jit.ignore
def _remaining(x: Tensor, alive: Tensor | None) -> Tensor:
    """Class token and the patches that no block of the published form dropped."""
    if alive is None:
        return x
    keep = nn.functional.pad(alive, (1, 0), value=True)
    return x[keep].unflatten(0, (len(x), -1))


def _put_back(tokens: Tensor, ids: Tensor, patches: int) -> Tensor:
    """Put the patches that remain, (B, n, C), in their places among zeros: (B, patches, C)."""
    places = ids.unsqueeze(-1).expand(-1, -1, tokens.shape[2])
    return tokens.new_zeros(len(tokens), patches, tokens.shape[2]).scatter(1, places, tokens)


def _cfg(**options: Any) -> dict[str, Any]:
    return {
        "input_size": (3, 224, 224),
        "pool_size": None,
        "fixed_input_size": True,
        "crop_pct": 0.875,
        "interpolation": "bicubic",
        "mean": IMAGENET_DEFAULT_MEAN,
        "std": IMAGENET_DEFAULT_STD,
        "num_classes": 1000,
        "first_conv": "patch_embed.proj",
        "classifier": "head",
        **options,
    }


_LVVIT_CFG = _cfg(first_conv="patch_embed.conv1", classifier=("head", "aux_head"))

default_cfgs = generate_default_cfgs(
    {
        "sparsifiner_deit_tiny_patch16_224": _cfg(),
        "sparsifiner_deit_small_patch16_224": _cfg(),
        "sparsifiner_deit_small_patch16_224_token70": _cfg(),
        "sparsifiner_deit_base_patch16_224": _cfg(),
        "sparsifiner_lvvit_small_patch16_224": _LVVIT_CFG,
        "sparsifiner_lvvit_medium_patch16_224": _LVVIT_CFG,
    }
)

_LVVIT_ARGS: dict[str, Any] = {
    "mlp_ratio": 3.0,
    "qkv_bias": False,
    "conv_stem": True,
    "skip_scale": 0.5,
    "aux_head": True,
    "norm_eps": 1e-5,
}


def create_sparsifiner(variant: str, pretrained: bool, **kwargs: Any) -> Sparsifiner:
    """Build a variant as its entry point does: `default_cfgs` of timm know its name."""
    return build_model_with_cfg(
        Sparsifiner,
        variant,
        pretrained,
        pretrained_filter_fn=checkpoint_filter_fn,
        feature_cfg={"out_indices": 3, "feature_cls": "getter"},
        **kwargs,
    )


@register_model
def sparsifiner_deit_tiny_patch16_224(pretrained: bool = False, **kwargs: Any) -> Sparsifiner:
    """Sparsifiner on DeiT-T, a quarter of the keys a query."""
    args = {"embed_dim": 192, "num_heads": 3}
    return create_sparsifiner(
        "sparsifiner_deit_tiny_patch16_224", pretrained, **dict(args, **kwargs)
    )


@register_model
def sparsifiner_deit_small_patch16_224(pretrained: bool = False, **kwargs: Any) -> Sparsifiner:
    """Sparsifiner on DeiT-S, a quarter of the keys a query."""
    return create_sparsifiner("sparsifiner_deit_small_patch16_224", pretrained, **kwargs)


@register_model
def sparsifiner_deit_small_patch16_224_token70(
    pretrained: bool = False, **kwargs: Any
) -> Sparsifiner:
    """Sparsifiner on DeiT-S that also drops tokens: 138, 97 and 68 of 196 patches stay."""
    args = {"token_keep_rate": 0.7}
    return create_sparsifiner(
        "sparsifiner_deit_small_patch16_224_token70", pretrained, **dict(args, **kwargs)
    )


@register_model
def sparsifiner_deit_base_patch16_224(pretrained: bool = False, **kwargs: Any) -> Sparsifiner:
    """Sparsifiner on DeiT-B, a quarter of the keys a query."""
    args = {"embed_dim": 768, "num_heads": 12}
    return create_sparsifiner(
        "sparsifiner_deit_base_patch16_224", pretrained, **dict(args, **kwargs)
    )


@register_model
def sparsifiner_lvvit_small_patch16_224(pretrained: bool = False, **kwargs: Any) -> Sparsifiner:
    """Sparsifiner on LV-ViT-S, a quarter of the keys a query."""
    args = {**_LVVIT_ARGS, "depth": 16}
    return create_sparsifiner(
        "sparsifiner_lvvit_small_patch16_224", pretrained, **dict(args, **kwargs)
    )


@register_model
def sparsifiner_lvvit_medium_patch16_224(pretrained: bool = False, **kwargs: Any) -> Sparsifiner:
    """Sparsifiner on LV-ViT-M, a quarter of the keys a query."""
    args = {**_LVVIT_ARGS, "embed_dim": 512, "depth": 20, "num_heads": 8}
    return create_sparsifiner(
        "sparsifiner_lvvit_medium_patch16_224", pretrained, **dict(args, **kwargs)
    )
