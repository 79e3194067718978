"""Official BiFormer checkpoints: their names for weights, and ours."""

import argparse
import pickle
import re
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from vision.errors import FoveateError

RENAMES = (
    (r"^downsample_layers\.0\.", "stem."),
    (r"^downsample_layers\.(\d+)\.", r"stages.\1.downsample."),
    (r"^extra_norms\.", "feature_norms."),
    (r"^head\.(weight|bias)$", r"head.fc.\1"),
    (r"^(stages\.\d+)\.(\d+)\.", r"\1.blocks.\2."),
    (r"\bpos_embed\.", "pos_conv."),
    (r"\bgamma([12])$", r"ls\1.gamma"),
    (r"\bmlp\.0\.", "mlp.fc1."),
    (r"\bmlp\.1\.dwconv\.", "mlp.dwconv."),
    (r"\bmlp\.[23]\.", "mlp.fc2."),
    (r"\battn\.1\.", "attn.expand."),
    (r"\battn\.2\.", "attn.conv."),
    (r"\battn\.3\.", "attn.proj."),
    (r"\bqkv\.qkv\.", "qkv."),
    (r"\bqkv_linear\.", "qkv."),
    (r"\b(wo|output_linear)\.", "proj."),
)
"""Pattern and replacement, applied in turn. They fit whole models and single blocks alike."""

LINEAR = re.compile(r"\b(qkv|proj|fc1|fc2|expand)\.weight$")
"""Linear layers, which BiFormer-STL-nchw writes as 1x1 convolutions."""


def translate(state_dict: dict[str, Tensor]) -> dict[str, Tensor]:
    """Give official weights our names and shapes; ours pass unchanged.

    Args:
        state_dict: weights of an official BiFormer (NHWC or NCHW), of a part, or of ours.
    """
    translated = {}
    for name, weight in state_dict.items():
        for pattern, replacement in RENAMES:
            name = re.sub(pattern, replacement, name)
        linear = LINEAR.search(name) and weight.ndim == 4
        translated[name] = weight.flatten(1) if linear else weight
    return translated


def official_weights(path: str | Path) -> dict[str, Tensor]:
    """Read the weights whose scores are published from an official training checkpoint.

    timm prefers a file's averaged weights (`model_ema`), which the authors never evaluated.
    Usage::

        overlay = dict(state_dict=official_weights(path))
        timm.create_model("biformer_tiny", pretrained=True, pretrained_cfg_overlay=overlay)

    Raises:
        FoveateError: the file cannot be read or holds no weights under `model`.
    """
    try:
        with torch.serialization.safe_globals([argparse.Namespace]):  # the training options
            checkpoint = torch.load(path, map_location="cpu", weights_only=True)
        return dict(checkpoint["model"])
    except (OSError, RuntimeError, pickle.UnpicklingError, KeyError, TypeError) as error:
        raise FoveateError(f"{path}: not an official BiFormer checkpoint: {error!r}") from error


def checkpoint_filter_fn(state_dict: dict[str, Any], model: nn.Module) -> dict[str, Tensor]:
    """Make a checkpoint fit `model`, as timm asks for before it loads one.

    Takes official weights, alone or under `model`, or ours. A classifier that only one side has is
    left to timm, and `feature_norms` that the checkpoint lacks keep their initial values.

    Raises:
        FoveateError: names are left over or missing: another architecture.
    """
    weights = translate(state_dict.get("model", state_dict))
    own = model.state_dict()
    for name, weight in own.items():
        if name.startswith("feature_norms."):
            weights.setdefault(name, weight)
    unexpected = [name for name in weights if name not in own and not name.startswith("head.")]
    missing = [name for name in own if name not in weights and not name.startswith("head.")]
    if unexpected or missing:
        problems = [
            f"{kind} {names[0]!r}" + (f" and {len(names) - 1} more" if names[1:] else "")
            for kind, names in (("unexpected", unexpected), ("missing", missing))
            if names
        ]
        raise FoveateError(
            f"checkpoint does not fit {type(model).__name__}: {', '.join(problems)}; "
            "create the architecture it was saved from"
        )
    return weights
