"""What each part of the features costs: `python -m vision.features.bench VIDEO`, on one thread."""

from __future__ import annotations

import argparse
import time
from itertools import islice
from pathlib import Path
from statistics import median

import torch

from vision.features.extractor import FeatureConfig, FeatureExtractor
from vision.features.video import read_video

PARTS = {
    "person": FeatureConfig(parts=("person",)),
    "motion": FeatureConfig(parts=("motion",)),
    "appearance, tf_efficientnet_lite0": FeatureConfig(parts=("appearance",)),
    "appearance, gaussian_vit_nano": FeatureConfig(
        parts=("appearance",), backbone="gaussian_vit_nano", weights="timm", size=112
    ),
    "appearance, biformer_pico": FeatureConfig(
        parts=("appearance",), backbone="biformer_pico", weights="random"
    ),
}


def main() -> None:
    """Print processor milliseconds a frame, median over batches of eight frames."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("video", type=Path)
    video = parser.parse_args().video
    torch.set_num_threads(1)
    frames = [frame for _, frame in islice(read_video(video), 80)]
    batches = [frames[i : i + 8] for i in range(0, len(frames), 8)]
    for name, config in PARTS.items():
        (part,) = FeatureExtractor(config, "cpu").parts
        part.look(batches[0])
        costs = []
        for batch in batches:
            began = time.process_time()
            part.look(batch)
            costs.append(1000 * (time.process_time() - began) / len(batch))
        print(f"{name}: {median(costs):.1f} ms")


if __name__ == "__main__":
    main()
