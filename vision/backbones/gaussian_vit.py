"""Gaussian ViT: a plain vision transformer with a Gaussian adaptive gate beside its token mixers.

The gate alone mixes no tokens, so every block has an explicit mixer and multiplies what that
returns by Gaussian weights over the channels. At the start the gate is the identity; `gate=None`
leaves it out and `mixers="none"` the mixers, so that either part's worth can be measured.

Gate: Ioannides, Chadha, Elkins: Gaussian Adaptive Attention is All You Need, 2024,
https://arxiv.org/abs/2401.11143. The arrangement is foveate's own; there are no official weights.
"""

from collections.abc import Sequence
from typing import Any, Literal, get_args

import torch
from timm.data import IMAGENET_DEFAULT_MEAN, IMAGENET_DEFAULT_STD
from timm.layers import ClassifierHead, LayerScale, get_device_dtype, trunc_normal_
from timm.models import (
    build_model_with_cfg,
    checkpoint,
    checkpoint_seq,
    generate_default_cfgs,
    register_model,
)
from timm.models._features import feature_take_indices
from torch import Tensor, nn

from vision.attention.gaussian_adaptive import Form, GaussianAdaptiveAttention
from vision.attention.lepe import FullAttention
from vision.backbones.biformer_blocks import Block, ConvMixer
from vision.backbones.shipped import shipped_cfg

__all__ = ["GaussianVit"]

Mixer = Literal["attention", "conv", "none"]


class GatedMixer(nn.Module):
    """A token mixer, and a gate on what it returns that starts as the identity.

    Args:
        mixer: module (B, H, W, C) -> (B, H, W, C).
        gate: likewise.
        dim: channels C.
        **factory: `device` and `dtype`.
    """

    def __init__(self, mixer: nn.Module, gate: nn.Module, dim: int, **factory: Any) -> None:
        super().__init__()
        self.mixer = mixer
        self.gate = gate
        self.strength = LayerScale(dim, 0.0, **factory)

    def forward(self, x: Tensor) -> Tensor:
        x = self.mixer(x)
        return x + self.strength(self.gate(x) - x)


def make_mixer(
    kind: Mixer,
    gate: Form | None,
    dim: int,
    num_heads: int,
    num_gaussians: int,
    **factory: Any,
) -> nn.Module:
    """Make the token mixer of a block, and its gate; arguments as of `GaussianVit`."""
    mixer: nn.Module = nn.Identity()
    if kind == "attention":
        mixer = FullAttention(dim, num_heads, qkv_bias=True, lepe_kernel=0, **factory)
    elif kind == "conv":
        mixer = ConvMixer(dim, **factory)
    if gate is None:
        return mixer
    unit_mean = {} if gate == "logmix" else {"unit_mean": True}
    gaussians = GaussianAdaptiveAttention(
        gate, -1, num_heads, num_gaussians=num_gaussians, **unit_mean, **factory
    )
    return GatedMixer(mixer, gaussians, dim, **factory)


class GaussianVit(nn.Module):
    """Blocks of one width on patches of 16 pixels; takes pictures of any size.

    Position comes from a depthwise convolution in front of every block.

    Args:
        in_chans: channels of the picture.
        num_classes: classes; 0 for no classifier.
        global_pool: a pooling of `timm.layers.SelectAdaptivePool2d`; `""` for none.
        patch_size: side of a patch in pixels.
        embed_dim: channels.
        depth: blocks.
        num_heads: attention heads, and heads of the gate.
        mlp_ratio: hidden width of the MLPs over their input's.
        mixers: token mixer of all blocks, or a pattern that is repeated over them:
            `"attention"`, among all tokens; `"conv"`, a depthwise 5x5 convolution; `"none"`.
        gate: form of the gates, see `GaussianAdaptiveAttention`; None for no gates.
        num_gaussians: Gaussians a head of the gate.
        pos_conv: begin blocks with a depthwise 3x3 convolution. It mixes tokens too.
        layer_scale: see `Block`.
        drop_rate: dropout before the classifier.
        drop_path_rate: stochastic depth of the last block; grows linearly from 0.
        device: where parameters are made.
        dtype: of parameters.
    """

    def __init__(
        self,
        in_chans: int = 3,
        num_classes: int = 1000,
        global_pool: str = "avg",
        patch_size: int = 16,
        embed_dim: int = 192,
        depth: int = 12,
        num_heads: int = 3,
        mlp_ratio: float = 4.0,
        mixers: Mixer | Sequence[Mixer] = ("conv", "attention"),
        gate: Form | None = "product",
        num_gaussians: int = 1,
        pos_conv: bool = True,
        layer_scale: float | None = None,
        drop_rate: float = 0.0,
        drop_path_rate: float = 0.0,
        device: torch.device | str | None = None,
        dtype: torch.dtype | None = None,
    ) -> None:
        super().__init__()
        factory: dict[str, Any] = {"device": device, "dtype": dtype}
        pattern = (mixers,) if isinstance(mixers, str) else tuple(mixers)
        known = get_args(Mixer)
        if not pattern or not set(pattern) <= set(known):
            raise ValueError(f"mixers must be among {', '.join(known)}, not {mixers!r}")
        if gate not in (None, "product", "mixture", "logmix"):
            raise ValueError(f"a gate over channels is a product, mixture or logmix, not {gate!r}")
        drop_paths = torch.linspace(0, drop_path_rate, depth, device="cpu").tolist()

        self.num_classes = num_classes
        self.in_chans = in_chans
        self.num_features = embed_dim
        self.grad_checkpointing = False
        self.feature_info = [
            {"num_chs": embed_dim, "reduction": patch_size, "module": f"blocks.{i}"}
            for i in range(depth)
        ]
        self.stem = nn.Conv2d(in_chans, embed_dim, patch_size, patch_size, **factory)
        self.blocks = nn.Sequential()
        for i, rate in enumerate(drop_paths):
            kind = pattern[i % len(pattern)]
            block = Block(
                embed_dim,
                make_mixer(kind, gate, embed_dim, num_heads, num_gaussians, **factory),
                mlp_ratio=mlp_ratio,
                pos_conv=pos_conv,
                layer_scale=layer_scale,
                drop_path=rate,
                **factory,
            )
            self.blocks.append(block)
        self.norm: nn.Module = nn.LayerNorm(embed_dim, eps=1e-6, **factory)
        self.head = ClassifierHead(
            embed_dim, num_classes, pool_type=global_pool, drop_rate=drop_rate, **factory
        )
        self.head_hidden_size = self.head.num_features
        self.apply(_init_weights)

    @torch.jit.ignore
    def no_weight_decay(self) -> set[str]:
        """Parameters to keep out of weight decay: those of the gates' Gaussians."""
        return {name for name, _ in self.named_parameters() if ".gate." in name}

    @torch.jit.ignore
    def group_matcher(self, coarse: bool = False) -> dict[str, Any]:
        """Patterns that group parameters by depth, for layer-wise learning rates."""
        return {"stem": r"^stem", "blocks": [(r"^blocks\.(\d+)", None), (r"^norm", (99999,))]}

    @torch.jit.ignore
    def set_grad_checkpointing(self, enable: bool = True) -> None:
        """Recompute each block in the backward pass instead of keeping what it computed."""
        self.grad_checkpointing = enable

    @torch.jit.ignore
    def get_classifier(self) -> nn.Module:
        """The last linear layer."""
        return self.head.fc

    @torch.jit.ignore
    def reset_classifier(self, num_classes: int, global_pool: str | None = None) -> None:
        """Replace the classifier; 0 removes it. None keeps the pooling, `""` removes it."""
        self.num_classes = num_classes
        width = self.num_features
        self.head.reset(num_classes, global_pool, in_features=width, **get_device_dtype(self))
        self.head_hidden_size = self.head.num_features

    def forward_intermediates(
        self,
        x: Tensor,
        indices: int | list[int] | None = None,
        norm: bool = False,
        stop_early: bool = False,
        output_fmt: str = "NCHW",
        intermediates_only: bool = False,
    ) -> list[Tensor] | tuple[Tensor, list[Tensor]]:
        """Maps of the blocks, and the final features unless only the maps are wanted.

        Args:
            x: pictures (B, in_chans, H, W).
            indices: blocks whose maps to return; an int for the last so many, None for all.
            norm: apply the final norm to the maps.
            stop_early: compute nothing after the last of these blocks.
            output_fmt: `"NCHW"`, or `"NLC"` for tokens (B, H * W / patch ** 2, C).
            intermediates_only: return only the maps.

        Returns:
            Final features and maps, or the maps (B, C, H / patch, W / patch).
        """
        if output_fmt not in ("NCHW", "NLC"):
            raise ValueError(f"output_fmt must be 'NCHW' or 'NLC', not '{output_fmt}'")
        take_indices, max_index = feature_take_indices(len(self.blocks), indices)
        intermediates = []
        x = self.stem(x).permute(0, 2, 3, 1).contiguous()
        for i, block in enumerate(self.blocks):
            if i <= max_index or not stop_early:
                if self.grad_checkpointing and not torch.jit.is_scripting():
                    x = checkpoint(block, x)
                else:
                    x = block(x)
                if i in take_indices:
                    y = self.norm(x) if norm else x
                    as_map = output_fmt == "NCHW"
                    intermediates.append(y.permute(0, 3, 1, 2) if as_map else y.flatten(1, 2))
        if intermediates_only:
            return intermediates
        return self.norm(x).permute(0, 3, 1, 2), intermediates

    def prune_intermediate_layers(
        self, indices: int | list[int] = 1, prune_norm: bool = False, prune_head: bool = True
    ) -> list[int]:
        """Remove what the maps of some blocks do not need.

        Args:
            indices: blocks to keep the maps of, as in `forward_intermediates`.
            prune_norm: remove the final norm too.
            prune_head: remove the classifier too.

        Returns:
            Indices of these blocks.
        """
        take_indices, max_index = feature_take_indices(len(self.blocks), indices)
        self.blocks = self.blocks[: max_index + 1]
        if prune_norm:
            self.norm = nn.Identity()
        if prune_head:
            self.reset_classifier(0, "")
        return take_indices

    def forward_features(self, x: Tensor) -> Tensor:
        """Map of the last block, normalised: (B, C, H / patch, W / patch)."""
        x = self.stem(x).permute(0, 2, 3, 1).contiguous()
        if self.grad_checkpointing and not torch.jit.is_scripting():
            x = checkpoint_seq(self.blocks, x)
        else:
            x = self.blocks(x)
        return self.norm(x).permute(0, 3, 1, 2)

    def forward_head(self, x: Tensor, pre_logits: bool = False) -> Tensor:
        """Pool and classify what `forward_features` returns."""
        return self.head(x, pre_logits=pre_logits)

    def forward(self, x: Tensor) -> Tensor:
        """Class scores (B, num_classes) of pictures (B, in_chans, H, W)."""
        return self.forward_head(self.forward_features(x))


def _init_weights(module: nn.Module) -> None:
    if isinstance(module, nn.Linear):
        trunc_normal_(module.weight, std=0.02)
        if module.bias is not None:
            nn.init.zeros_(module.bias)


def _cfg() -> dict[str, Any]:
    return {
        "num_classes": 1000,
        "input_size": (3, 224, 224),
        "pool_size": (14, 14),
        "crop_pct": 0.875,
        "interpolation": "bicubic",
        "mean": IMAGENET_DEFAULT_MEAN,
        "std": IMAGENET_DEFAULT_STD,
        "first_conv": "stem",
        "classifier": "head.fc",
        "license": "apache-2.0",
    }


default_cfgs = generate_default_cfgs(
    {
        "gaussian_vit_nano.imagenette": shipped_cfg(
            "gaussian_vit_nano_imagenette",
            pool_size=(7, 7),
            first_conv="stem",
            classifier="head.fc",
        ),
        "gaussian_vit_tiny": _cfg(),
        "gaussian_vit_small": _cfg(),
        "gaussian_vit_base": _cfg(),
    }
)


def _create(variant: str, pretrained: bool, **kwargs: Any) -> GaussianVit:
    feature_cfg = {"out_indices": 3, "feature_cls": "getter"}
    return build_model_with_cfg(GaussianVit, variant, pretrained, feature_cfg=feature_cfg, **kwargs)


@register_model
def gaussian_vit_nano(pretrained: bool = False, **kwargs: Any) -> GaussianVit:
    """For CPUs: 1.0 M parameters, 0.05 GMACs at 112 x 112; made for ten classes."""
    args = {"embed_dim": 128, "depth": 6, "num_heads": 4, "mlp_ratio": 3.0}
    return _create("gaussian_vit_nano", pretrained, **dict(args, **kwargs))


@register_model
def gaussian_vit_tiny(pretrained: bool = False, **kwargs: Any) -> GaussianVit:
    """The width and depth of ViT-Ti/16: 5.3 M parameters, 1.1 GMACs at 224 x 224."""
    return _create("gaussian_vit_tiny", pretrained, **kwargs)


@register_model
def gaussian_vit_small(pretrained: bool = False, **kwargs: Any) -> GaussianVit:
    """The width and depth of ViT-S/16: 20.3 M parameters, 4.1 GMACs at 224 x 224."""
    args = {"embed_dim": 384, "num_heads": 6}
    return _create("gaussian_vit_small", pretrained, **dict(args, **kwargs))


@register_model
def gaussian_vit_base(pretrained: bool = False, **kwargs: Any) -> GaussianVit:
    """The width and depth of ViT-B/16: 79.5 M parameters, 15.8 GMACs at 224 x 224."""
    args = {"embed_dim": 768, "num_heads": 12}
    return _create("gaussian_vit_base", pretrained, **dict(args, **kwargs))
