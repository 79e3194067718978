"""Small models for 112-pixel pictures whose weights ship: trained on Imagenette, ten classes.

    timm.create_model("vit_tiny_d8_patch16_112", pretrained=True)

reads a file of the package; nothing is downloaded. How the weights were made, and what they reach:
`docs/droppos.md`, `docs/sparsifiner.md`, `docs/gaussian.md`.
"""

from __future__ import annotations

from typing import Any

from timm.models import build_model_with_cfg, generate_default_cfgs, register_model
from timm.models.vision_transformer import VisionTransformer

from vision.backbones.shipped import shipped_cfg
from vision.backbones.sparsifiner import Sparsifiner, create_sparsifiner


def _vit_cfg(stem: str) -> dict[str, Any]:
    return shipped_cfg(
        stem,
        pool_size=None,
        fixed_input_size=True,
        first_conv="patch_embed.proj",
        classifier="head",
    )


default_cfgs = generate_default_cfgs(
    {
        "vit_tiny_d8_patch16_112.imagenette": _vit_cfg("vit_tiny_d8_imagenette"),
        "sparsifiner_vit_tiny_patch16_112.keep25_imagenette": _vit_cfg(
            "sparsifiner_vit_tiny_keep25_imagenette"
        ),
        "sparsifiner_vit_tiny_patch16_112_token70.keep25_imagenette": _vit_cfg(
            "sparsifiner_vit_tiny_keep25_token70_imagenette"
        ),
    }
)

_ARGS: dict[str, Any] = {
    "img_size": 112,
    "embed_dim": 192,
    "depth": 8,
    "num_heads": 3,
    "global_pool": "avg",
}


@register_model
def vit_tiny_d8_patch16_112(pretrained: bool = False, **kwargs: Any) -> VisionTransformer:
    """ViT-Ti/16 of 8 blocks, patches pooled by their mean: 3.7 M parameters, 0.18 GMACs."""
    return build_model_with_cfg(
        VisionTransformer,
        "vit_tiny_d8_patch16_112",
        pretrained,
        feature_cfg={"out_indices": 3, "feature_cls": "getter"},
        **dict(_ARGS, **kwargs),
    )


_SPARSIFINER_ARGS: dict[str, Any] = {
    **_ARGS,
    "token_reduction": 3,  # half as many keys as DeiT's need a basis that is not as small again
}


@register_model
def sparsifiner_vit_tiny_patch16_112(pretrained: bool = False, **kwargs: Any) -> Sparsifiner:
    """Sparsifiner on `vit_tiny_d8_patch16_112`, a quarter of the keys a query."""
    return create_sparsifiner(
        "sparsifiner_vit_tiny_patch16_112", pretrained, **dict(_SPARSIFINER_ARGS, **kwargs)
    )


@register_model
def sparsifiner_vit_tiny_patch16_112_token70(
    pretrained: bool = False, **kwargs: Any
) -> Sparsifiner:
    """The same that also drops tokens: 35, 25 and 17 of 49 patches stay."""
    args = {**_SPARSIFINER_ARGS, "token_keep_rate": 0.7, "prune_at": (2, 4, 6)}
    return create_sparsifiner(
        "sparsifiner_vit_tiny_patch16_112_token70", pretrained, **dict(args, **kwargs)
    )
