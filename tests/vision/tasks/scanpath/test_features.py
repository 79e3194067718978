"""Features of boxes from backbones of every kind."""

import numpy as np
import pytest
import torch

from vision.errors import FoveateError
from vision.tasks.scanpath.features import BoxFeatures, FeatureConfig, pool_boxes
from vision.tasks.scanpath.patches import crop_patches

KINDS = [
    ("test_resnet", (1, 2)),
    ("test_convnext", (2,)),
    ("test_vit", (-1,)),
    ("swin_tiny_patch4_window7_224", (0,)),
    ("biformer_tiny", (1, 2)),
]


@pytest.mark.parametrize(("name", "levels"), KINDS)
def test_any_backbone_gives_features_of_boxes(name, levels):
    features = BoxFeatures(FeatureConfig(name, levels, size=64))
    maps = features.maps(np.random.default_rng(0).integers(0, 255, (40, 90, 3)).astype(np.uint8))
    pooled = pool_boxes(maps, np.array([[0, 0, 1, 1], [0.2, 0.1, 0.4, 0.9]]))
    assert pooled.shape == (2, features.width)
    assert pooled.isfinite().all()
    assert not any(p.requires_grad for p in features.parameters())


@pytest.mark.parametrize(("name", "levels"), [("no_such_net", (1,)), ("test_resnet", (9,))])
def test_what_gives_no_maps_is_named(name, levels):
    with pytest.raises(FoveateError, match=f"backbone '{name}' gives no maps"):
        BoxFeatures(FeatureConfig(name, levels))


def test_pooling_takes_what_lies_in_the_box():
    level = torch.zeros(1, 10, 20)
    level[:, :, 10:] = 1
    boxes = np.array([[0, 0, 0.4, 1], [0.6, 0, 1, 1], [0, 0, 1, 1]])
    assert pool_boxes([level], boxes)[:, 0].tolist() == pytest.approx([0, 1, 0.5])


def test_patches_are_the_pixels_of_their_boxes():
    image = np.zeros((40, 80, 3), np.uint8)
    image[:, 40:] = (255, 0, 0)
    left, right = crop_patches(image, np.array([[0, 0, 0.4, 1], [0.6, 0, 1, 1]]), 8)
    assert left.max() == 0
    assert torch.allclose(right, torch.tensor([1.0, 0.0, 0.0]).expand(8, 8, 3))


def test_a_backbone_stays_in_evaluation_mode():
    features = BoxFeatures(FeatureConfig("test_resnet", (1,)))
    assert not features.train().training
    assert not any(module.training for module in features.modules())
