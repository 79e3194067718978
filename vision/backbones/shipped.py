"""What timm has to know of classifiers whose weights ship with foveate."""

from __future__ import annotations

from typing import Any

from timm.data import IMAGENET_DEFAULT_MEAN, IMAGENET_DEFAULT_STD

from vision.catalogue import weights_folder

LABELS = (
    "n01440764",  # tench
    "n02102040",  # English springer
    "n02979186",  # cassette player
    "n03000684",  # chain saw
    "n03028079",  # church
    "n03394916",  # French horn
    "n03417042",  # garbage truck
    "n03425413",  # gas pump
    "n03445777",  # golf ball
    "n03888257",  # parachute
)
"""WordNet ids of the classes, in the order of the logits."""

CROP_PCT = 0.875


def shipped_cfg(stem: str, **options: Any) -> dict[str, Any]:
    """Configuration of weights `stem.safetensors`; their path stands in it where the file does."""
    path = weights_folder() / f"{stem}.safetensors"
    return {
        "file": str(path) if path.is_file() else None,
        "num_classes": len(LABELS),
        "label_names": LABELS,
        "input_size": (3, 112, 112),
        "crop_pct": CROP_PCT,
        "interpolation": "bicubic",
        "mean": IMAGENET_DEFAULT_MEAN,
        "std": IMAGENET_DEFAULT_STD,
        "license": "apache-2.0",
        **options,
    }
