"""Rendered assembly clips, and an untrained checker that is quick to run."""

from pathlib import Path

import pytest
import torch

from tests.conftest import DATA
from vision.tasks.mistakes.data import ClipSet
from vision.tasks.mistakes.encoders import EncoderConfig, ThumbnailConfig
from vision.tasks.mistakes.predict import CheckerConfig, MistakeChecker
from vision.tasks.mistakes.recognition import MiniROAD, RecognizerConfig

ASSEMBLY = DATA / "assembly"


@pytest.fixture(scope="session")
def clip_set() -> ClipSet:
    return ClipSet.read(ASSEMBLY / "annotations.json")


@pytest.fixture(scope="session")
def videos() -> Path:
    return ASSEMBLY / "videos"


@pytest.fixture(scope="module")
def restless(clip_set: ClipSet) -> MistakeChecker:
    """A checker with random weights, so large that it names many steps, and a short window."""
    torch.manual_seed(3)
    model = RecognizerConfig(
        features=2 * 3 * 8**2, classes=len(clip_set.classes), embed=16, hidden=16
    )
    network = MiniROAD(model)
    with torch.no_grad():
        for parameter in network.parameters():
            parameter.mul_(4)
    config = CheckerConfig(
        model=model,
        encoder=EncoderConfig(thumbnails=ThumbnailConfig(size=8)),
        windows="noma",
        window=0.4,
        classes=clip_set.classes,
        background=("idle",),
    )
    return MistakeChecker(network, config, name="restless")
