"""BiFormer: vision transformers with bi-level routing attention.

Zhu, Wang, Ke, Zhang, Lau: BiFormer: Vision Transformer with Bi-Level Routing Attention, CVPR 2023,
https://arxiv.org/abs/2303.08810. Official weights load from a local file (where it holds averaged
weights too, see `official_weights`)::

    timm.create_model("biformer_tiny", pretrained=True, pretrained_cfg_overlay=dict(file=path))

For dense prediction every stage's map passes a norm of its own on its way out::

    timm.create_model("biformer_small", features_only=True, feature_norms=True, regions=16)
"""

from collections.abc import Sequence
from functools import partial
from itertools import pairwise
from typing import Any, Literal, cast

import torch
from timm.data import IMAGENET_DEFAULT_MEAN, IMAGENET_DEFAULT_STD
from timm.layers import ClassifierHead, LayerNorm2d, get_device_dtype, to_ntuple, trunc_normal_
from timm.models import build_model_with_cfg, generate_default_cfgs, register_model
from timm.models._features import feature_take_indices
from torch import Tensor, nn

from vision.attention.bi_level_routing import BiLevelRoutingAttention
from vision.attention.lepe import FullAttention
from vision.attention.maps import AttentionMaps
from vision.backbones.biformer_blocks import STEMS, Block, ConvMixer, Norm, Stage
from vision.backbones.biformer_checkpoint import checkpoint_filter_fn, official_weights

__all__ = ["BiFormer", "official_weights"]

Mixer = int | Literal["lepe", "full", "conv"]

FIXED_REGIONS: list[dict[str, Any]] = [
    *({"region_size": size, "padding": "mask"} for size in (8, 4, 2)),
    {},
]
"""Regions of one size whatever the picture's, as large as those of 7 x 7 regions at 224 x 224."""


def make_mixer(
    kind: Mixer,
    dim: int,
    num_heads: int,
    regions: int,
    routing: dict[str, Any],
    lepe_kernel: int,
    lepe_on: Literal["input", "value"],
    **factory: Any,
) -> nn.Module:
    """Make the token mixer of a block; arguments as of `BiFormer`, for one stage."""
    if kind == "conv":
        return ConvMixer(dim, **factory)
    if kind in ("lepe", "full"):
        kernel = lepe_kernel if kind == "lepe" else 0
        return FullAttention(dim, num_heads, lepe_kernel=kernel, lepe_on=lepe_on, **factory)
    if not isinstance(kind, int):
        raise ValueError(f"mixer must be a number, 'lepe', 'full' or 'conv', not {kind!r}")
    options = {"lepe_kernel": lepe_kernel, **routing}
    return BiLevelRoutingAttention(dim, num_heads, kind, regions, **options, **factory)


class BiFormer(nn.Module):
    """BiFormer, BiFormer-STL and what lies between them.

    Takes any input size from 32 pixels a side on (`stem="overlap"`: any at all). What happens
    where regions do not divide a map is for `padding` and `rounding` of the attention to say.

    Args:
        in_chans: channels of the picture.
        num_classes: classes; 0 for no classifier.
        global_pool: a pooling of `timm.layers.SelectAdaptivePool2d`; `""` for none.
        depths: blocks of each stage.
        embed_dims: channels of each stage.
        num_heads: attention heads of each stage.
        mixers: token mixer of each stage: the number of regions that a region attends to,
            `"lepe"` for full attention with LePE, `"full"` without, or `"conv"`.
        regions: regions along each side of the map, for all stages or each.
        routing: further keywords of `BiLevelRoutingAttention`, for all stages or each.
        mlp_ratio: hidden width of the MLPs over their input's, for all stages or each.
        mlp_dwconv, pos_conv, pre_norm, layer_scale: see `Block`.
        stem: `"overlap"`, two 3x3 convolutions of stride 2 and one in front of each further
            stage, or `"patch"`, a 4x4 convolution of stride 4 and then 2x2 ones of stride 2.
        lepe_kernel: side of the LePE kernel of all attentions; 0 leaves LePE out.
        lepe_on: what LePE of full attention convolves, see `FullAttention`.
        norm_layer: norm of NCHW maps in the stem, between stages and at the end.
        feature_norms: give each stage a LayerNorm for the maps that `forward_intermediates`
            returns with `norm=True`. The next stage gets the map without it.
        drop_rate: dropout before the classifier.
        drop_path_rate: stochastic depth of the last block; grows linearly from 0.
        device: where parameters are made.
        dtype: of parameters.

    Source: BiFormer, section 3.3; defaults are BiFormer-T.
    """

    def __init__(
        self,
        in_chans: int = 3,
        num_classes: int = 1000,
        global_pool: str = "avg",
        depths: Sequence[int] = (2, 2, 8, 2),
        embed_dims: Sequence[int] = (64, 128, 256, 512),
        num_heads: Sequence[int] = (2, 4, 8, 8),
        mixers: Sequence[Mixer] = (1, 4, 16, "lepe"),
        regions: int | Sequence[int] = 7,
        routing: dict[str, Any] | Sequence[dict[str, Any]] | None = None,
        mlp_ratio: float | Sequence[float] = 3.0,
        mlp_dwconv: bool = False,
        pos_conv: bool = True,
        pre_norm: bool = True,
        layer_scale: float | None = None,
        stem: Literal["overlap", "patch"] = "overlap",
        lepe_kernel: int = 5,
        lepe_on: Literal["input", "value"] = "input",
        norm_layer: Norm = nn.BatchNorm2d,
        feature_norms: bool = False,
        drop_rate: float = 0.0,
        drop_path_rate: float = 0.0,
        device: torch.device | str | None = None,
        dtype: torch.dtype | None = None,
    ) -> None:
        super().__init__()
        factory: dict[str, Any] = {"device": device, "dtype": dtype}
        if stem not in STEMS:
            raise ValueError(f"stem must be one of {', '.join(STEMS)}, not {stem!r}")
        make_stem, make_downsample = STEMS[stem]
        each = to_ntuple(len(depths))
        all_regions, mlp_ratios = each(regions), each(mlp_ratio)
        routings = routing if isinstance(routing, Sequence) else [routing or {}] * len(depths)
        drop_paths = torch.linspace(0, drop_path_rate, sum(depths), device="cpu")

        self.num_classes = num_classes
        self.in_chans = in_chans
        self.feature_info = [
            {"num_chs": dim, "reduction": 4 * 2**i, "module": f"stages.{i}"}
            for i, dim in enumerate(embed_dims)
        ]
        self.stem = make_stem(in_chans, embed_dims[0], norm_layer, **factory)
        downsamples = [
            nn.Identity(),
            *(make_downsample(*dims, norm_layer, **factory) for dims in pairwise(embed_dims)),
        ]
        stages = []
        for i, rates in enumerate(drop_paths.split(list(depths))):
            mixer = partial(
                make_mixer,
                mixers[i],
                embed_dims[i],
                num_heads[i],
                all_regions[i],
                routings[i],
                lepe_kernel,
                lepe_on,
                **factory,
            )
            blocks = [
                Block(
                    embed_dims[i],
                    mixer(),
                    mlp_ratio=mlp_ratios[i],
                    mlp_dwconv=mlp_dwconv,
                    pos_conv=pos_conv,
                    pre_norm=pre_norm,
                    layer_scale=layer_scale,
                    drop_path=rate,
                    **factory,
                )
                for rate in rates.tolist()
            ]
            stages.append(Stage(downsamples[i], blocks))
        self.stages = nn.Sequential(*stages)
        self.norm: nn.Module = norm_layer(embed_dims[-1], **factory)
        self.feature_norms = nn.ModuleList(
            LayerNorm2d(dim, **factory) for dim in (embed_dims if feature_norms else ())
        )
        self.num_features = embed_dims[-1]
        self.head = ClassifierHead(
            embed_dims[-1], num_classes, pool_type=global_pool, drop_rate=drop_rate, **factory
        )
        self.head_hidden_size = self.head.num_features
        self.apply(_init_weights)

    @torch.jit.ignore
    def no_weight_decay(self) -> set[str]:
        """Parameters to keep out of weight decay beside biases and norms: none."""
        return set()

    @torch.jit.ignore
    def group_matcher(self, coarse: bool = False) -> dict[str, Any]:
        """Patterns that group parameters by depth, for layer-wise learning rates."""
        blocks = [(r"^stages\.(\d+)\.downsample", (0,)), (r"^stages\.(\d+)\.blocks\.(\d+)", None)]
        return {
            "stem": r"^stem",
            "blocks": r"^stages\.(\d+)" if coarse else [*blocks, (r"^(?:feature_)?norm", (99999,))],
        }

    @torch.jit.ignore
    def set_grad_checkpointing(self, enable: bool = True) -> None:
        """Recompute each block in the backward pass instead of keeping what it computed."""
        for stage in self.modules():
            if isinstance(stage, Stage):
                stage.grad_checkpointing = enable

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

    @torch.jit.ignore
    def attention_maps(self, x: Tensor, block: tuple[int, int] = (2, -1)) -> AttentionMaps:
        """Where one block looks when the model is given a picture.

        Args:
            x: normalised pictures (B, 3, H, W).
            block: index of the stage and of the block in it. The default is the one that the
                paper draws.

        Returns:
            Chosen regions and attention probabilities, see `AttentionMaps`.

        Raises:
            ValueError: the block does not attend, or there is no such block.

        Source: BiFormer, figure 4.
        """
        stage, index = block
        try:
            mixer = cast(Block, cast(Stage, self.stages[stage]).blocks[index]).attn
        except IndexError:
            raise ValueError(f"there is no block {index} in a stage {stage}") from None
        if not isinstance(mixer, BiLevelRoutingAttention | FullAttention):
            raise ValueError(
                f"block {index} of stage {stage} is a convolution: it has no attention"
            )
        inputs: list[Tensor] = []
        hook = mixer.register_forward_pre_hook(lambda _, args: inputs.append(args[0]))
        try:
            self.forward_features(x)
        finally:
            hook.remove()
        return mixer.attention_maps(inputs[0])

    def forward_intermediates(
        self,
        x: Tensor,
        indices: int | list[int] | None = None,
        norm: bool = False,
        stop_early: bool = False,
        output_fmt: str = "NCHW",
        intermediates_only: bool = False,
    ) -> list[Tensor] | tuple[Tensor, list[Tensor]]:
        """Run the model and return the maps after its stages.

        Args:
            x: normalised pictures (B, 3, H, W).
            indices: stages whose maps to return; an int for the last so many, None for all.
            norm: apply `feature_norms` to the maps, or without them the final norm to the last.
            stop_early: compute nothing after the last of these stages.
            output_fmt: `"NCHW"`.
            intermediates_only: return only the maps.

        Returns:
            Final features and maps, or the maps (B, C, H / reduction, W / reduction).
        """
        if output_fmt != "NCHW":
            raise ValueError(f"output_fmt must be 'NCHW', not '{output_fmt}'")
        take_indices, max_index = feature_take_indices(len(self.stages), indices)
        intermediates = []
        x = self.stem(x)
        for i, stage in enumerate(self.stages):
            if i <= max_index or not stop_early:
                x = stage(x)
                if i in take_indices:
                    intermediates.append(self._normed(x, i) if norm else x)
        if intermediates_only:
            return intermediates
        whole = max_index == len(self.stages) - 1 or not stop_early
        return self.norm(x) if whole else x, intermediates

    def _normed(self, x: Tensor, stage: int) -> Tensor:
        if len(self.feature_norms) == 0 and stage == len(self.stages) - 1:
            x = self.norm(x)
        for i, norm in enumerate(self.feature_norms):  # TorchScript takes no other index
            if i == stage:
                x = norm(x)
        return x

    def prune_intermediate_layers(
        self, indices: int | list[int] = 1, prune_norm: bool = False, prune_head: bool = True
    ) -> list[int]:
        """Remove what the maps of some stages do not need.

        Args:
            indices: stages to keep the maps of, as in `forward_intermediates`.
            prune_norm: remove the norms too.
            prune_head: remove the classifier too, even if its features stay.

        Returns:
            Indices of these stages.
        """
        take_indices, max_index = feature_take_indices(len(self.stages), indices)
        shortened = max_index < len(self.stages) - 1
        self.stages = self.stages[: max_index + 1]
        if prune_norm or shortened or len(self.feature_norms):
            self.norm = nn.Identity()
        self.feature_norms = nn.ModuleList(
            norm if i in take_indices else nn.Identity()
            for i, norm in enumerate(self.feature_norms[: 0 if prune_norm else max_index + 1])
        )
        if shortened:
            self.num_features = self.feature_info[max_index]["num_chs"]
        if prune_head or shortened:
            self.reset_classifier(0, "")
        return take_indices

    def forward_features(self, x: Tensor) -> Tensor:
        """Map of the last stage, normalised: (B, C, H / 32, W / 32)."""
        return self.norm(self.stages(self.stem(x)))

    def forward_head(self, x: Tensor, pre_logits: bool = False) -> Tensor:
        """Pool and classify what `forward_features` returns."""
        return self.head(x, pre_logits=pre_logits)

    def forward(self, x: Tensor) -> Tensor:
        """Class scores (B, num_classes) of pictures (B, in_chans, H, W)."""
        return self.forward_head(self.forward_features(x))


def _init_weights(module: nn.Module) -> None:
    """Linear layers as published; convolutions and norms keep torch's initial values."""
    if isinstance(module, nn.Linear):
        trunc_normal_(module.weight, std=0.02)
        if module.bias is not None:
            nn.init.zeros_(module.bias)


def _cfg(**kwargs: Any) -> dict[str, Any]:
    return {
        "num_classes": 1000,
        "input_size": (3, 224, 224),
        "pool_size": (7, 7),
        "crop_pct": 0.875,
        "interpolation": "bicubic",
        "mean": IMAGENET_DEFAULT_MEAN,
        "std": IMAGENET_DEFAULT_STD,
        "first_conv": "stem.0",
        "classifier": "head.fc",
        "license": "mit",
        "origin_url": "https://github.com/rayleizhu/BiFormer",
        **kwargs,
    }


def _own_cfg() -> dict[str, Any]:
    size = {"input_size": (3, 160, 160), "pool_size": (5, 5)}
    return _cfg(**size, license="apache-2.0", origin_url=None)


default_cfgs = generate_default_cfgs(
    {
        "biformer_pico": _own_cfg(),
        "biformer_nano": _own_cfg(),
        "biformer_tiny": _cfg(),
        "biformer_small": _cfg(),
        "biformer_base": _cfg(),
        "biformer_stl": _cfg(),
        "biformer_stl_nchw": _cfg(),
    }
)


def _create_biformer(variant: str, pretrained: bool, **kwargs: Any) -> BiFormer:
    feature_cfg: dict[str, Any] = {"out_indices": (0, 1, 2, 3), "flatten_sequential": True}
    if kwargs.get("feature_norms"):
        feature_cfg.update(feature_cls="getter", norm=True)
    return build_model_with_cfg(
        BiFormer,
        variant,
        pretrained,
        pretrained_filter_fn=checkpoint_filter_fn,
        feature_cfg=feature_cfg,
        **kwargs,
    )


@register_model
def biformer_pico(pretrained: bool = False, **kwargs: Any) -> BiFormer:
    """The smallest, for CPUs, with fixed regions: 1.1 M parameters, 87 MMACs at 160 x 160."""
    args = {
        "depths": (1, 1, 4, 1),
        "embed_dims": (24, 48, 96, 192),
        "num_heads": (1, 2, 4, 8),
        "mlp_ratio": 2.0,
        "routing": FIXED_REGIONS,
    }
    return _create_biformer("biformer_pico", pretrained, **dict(args, **kwargs))


@register_model
def biformer_nano(pretrained: bool = False, **kwargs: Any) -> BiFormer:
    """For CPUs, with fixed regions: 3.5 M parameters, 0.3 GMACs at 160 x 160."""
    args = {
        "embed_dims": (32, 64, 128, 256),
        "num_heads": (1, 2, 4, 8),
        "routing": FIXED_REGIONS,
    }
    return _create_biformer("biformer_nano", pretrained, **dict(args, **kwargs))


@register_model
def biformer_tiny(pretrained: bool = False, **kwargs: Any) -> BiFormer:
    """BiFormer-T: 13.1 M parameters, 2.2 GMACs at 224 x 224."""
    return _create_biformer("biformer_tiny", pretrained, **kwargs)


@register_model
def biformer_small(pretrained: bool = False, **kwargs: Any) -> BiFormer:
    """BiFormer-S: 25.5 M parameters, 4.5 GMACs at 224 x 224."""
    args = {"depths": (4, 4, 18, 4)}
    return _create_biformer("biformer_small", pretrained, **dict(args, **kwargs))


@register_model
def biformer_base(pretrained: bool = False, **kwargs: Any) -> BiFormer:
    """BiFormer-B: 56.8 M parameters, 9.8 GMACs at 224 x 224."""
    args = {
        "depths": (4, 4, 18, 4),
        "embed_dims": (96, 192, 384, 768),
        "num_heads": (3, 6, 12, 8),
    }
    return _create_biformer("biformer_base", pretrained, **dict(args, **kwargs))


_STL_ARGS = {
    "depths": (2, 2, 6, 2),
    "embed_dims": (96, 192, 384, 768),
    "num_heads": (3, 6, 12, 8),
    "mlp_ratio": 4.0,
    "pos_conv": False,
    "stem": "patch",
}


@register_model
def biformer_stl(pretrained: bool = False, **kwargs: Any) -> BiFormer:
    """BiFormer-STL, the layout of Swin-T: 28.4 M parameters, 4.6 GMACs at 224 x 224."""
    return _create_biformer("biformer_stl", pretrained, **dict(_STL_ARGS, **kwargs))


@register_model
def biformer_stl_nchw(pretrained: bool = False, **kwargs: Any) -> BiFormer:
    """BiFormer-STL with the NCHW form of the attention and LePE of the values throughout."""
    args = {
        **_STL_ARGS,
        "routing": {"rounding": "down", "padding": "zero"},
        "lepe_on": "value",
    }
    return _create_biformer("biformer_stl_nchw", pretrained, **dict(args, **kwargs))
