"""Small models, layouts and viewers."""

from pathlib import Path

import numpy as np
import pytest
import torch

from vision.tasks.scanpath.baselines import Habits
from vision.tasks.scanpath.features import BoxFeatures, FeatureConfig
from vision.tasks.scanpath.model import ScanpathConfig, ScanpathModel
from vision.tasks.scanpath.predict import Looker

FIXTURES = Path(__file__).parents[3] / "data" / "fixtures"
HABITS = Habits((0.5, 0.5), (0.2, 0.2), (3.0, 5.0, 8.0), (100.0, 200.0, 400.0))


def wake(model: ScanpathModel) -> ScanpathModel:
    """A model that cares: weights larger than at its beginning, so that choices differ."""
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.mul_(1.5)
        model.stop.bias.fill_(-2.0)
    return model.eval()


@pytest.fixture
def layout_model() -> ScanpathModel:
    """Of layouts without pictures; labels a and b."""
    torch.manual_seed(0)
    config = ScanpathConfig(labels=("a", "b"), width=16, heads=2, longest=8)
    return wake(ScanpathModel(config))


@pytest.fixture(scope="session")
def looker() -> Looker:
    """Looks at pictures with a random backbone, and has no detector."""
    torch.manual_seed(0)
    features = FeatureConfig("test_resnet", levels=(1, 2), size=64)
    config = ScanpathConfig(
        features, labels=("a", "b"), width=16, heads=2, longest=6, grid=(3, 4), patch_width=4
    )
    frozen = BoxFeatures(config.features)
    return Looker(wake(ScanpathModel(config, frozen.width)), frozen, None, HABITS)


@pytest.fixture
def picture() -> np.ndarray:
    """60 x 80 pixels of noise about a bright spot."""
    image = np.random.default_rng(0).integers(0, 120, (60, 80, 3)).astype(np.uint8)
    image[20:35, 50:70] = (250, 200, 40)
    return image
