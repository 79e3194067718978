"""Backbone families, one file each; importing this package registers all of them with timm."""

from __future__ import annotations

from typing import Any

import timm
import torch

from vision.backbones import biformer as biformer
from vision.backbones import gaussian_vit as gaussian_vit
from vision.backbones import imagenette as imagenette
from vision.backbones import sparsifiner as sparsifiner


def names() -> list[str]:
    """Names of the models that foveate registers with timm."""
    entries = ((name, timm.models.model_entrypoint(name)) for name in timm.list_models())
    return [name for name, entry in entries if entry.__module__.startswith(f"{__name__}.")]


def describe() -> list[dict[str, Any]]:
    """Name, `parameters`, `input_size` (C, H, W) and whether weights are shipped, for each."""
    rows = []
    for name in names():
        with torch.device("meta"):
            model = timm.create_model(name)
        config = timm.get_pretrained_cfg(name)
        assert config is not None
        rows.append(
            {
                "name": name,
                "parameters": sum(p.numel() for p in model.parameters()),
                "input_size": list(config.input_size),
                "pretrained": timm.is_model_pretrained(name),
            }
        )
    return rows
