"""Detectors over backbones of every kind."""

import pytest
import torch

from vision.errors import FoveateError
from vision.tasks.detection.model import DetectorConfig, create_detector
from vision.tasks.detection.pyramid import freeze

BACKBONES = ["test_efficientnet", "test_resnet", "test_vit"]


@pytest.mark.parametrize("head", ["fcos", "retinanet"])
@pytest.mark.parametrize("backbone", BACKBONES)
def test_a_detector_trains_and_detects(backbone, head):
    torch.manual_seed(0)
    config = DetectorConfig(backbone, head, channels=32, convs=1)
    model = create_detector(config, 3)
    image = torch.rand(3, 128, 192)
    target = {
        "boxes": torch.tensor([[20.0, 20.0, 120.0, 110.0]]),
        "labels": torch.tensor([1]),
        "weights": torch.ones(1),
        "labelled": torch.ones(3, dtype=torch.bool),
    }
    losses = model.train()([image], [target])
    sum(losses.values()).backward()
    without = [n for n, p in model.named_parameters() if p.requires_grad and p.grad is None]
    assert not without
    with torch.inference_mode():
        (found,) = model.eval()([image])
    assert found["boxes"].shape == (len(found["scores"]), 4)
    assert (found["scores"].diff() <= 0).all()


def test_a_few_steps_find_the_object():
    """A detector that learns one picture boxes what is in it."""
    torch.manual_seed(0)
    model = create_detector(DetectorConfig("test_efficientnet", channels=32, convs=1), 2).train()
    freeze(model.backbone.body, -1)
    image = torch.full((3, 96, 96), 0.2)
    image[:, 30:70, 20:76] = 0.9
    box = torch.tensor([[20.0, 30.0, 76.0, 70.0]])
    target = {
        "boxes": box,
        "labels": torch.tensor([1]),
        "weights": torch.ones(1),
        "labelled": torch.ones(2, dtype=torch.bool),
    }
    optimizer = torch.optim.AdamW([p for p in model.parameters() if p.requires_grad], 3e-3)
    for _ in range(120):
        optimizer.zero_grad()
        sum(model([image], [target]).values()).backward()
        optimizer.step()
    with torch.inference_mode():
        (found,) = model.eval()([image])
    assert found["labels"][0] == 1
    assert torch.allclose(found["boxes"][0], box[0], atol=8)


@pytest.mark.parametrize(
    ("name", "word"), [("no_such_model", "no_such_model"), ("vit_small_patch32_224", "strides")]
)
def test_an_unusable_backbone_is_named(name, word):
    with pytest.raises(FoveateError, match=word):
        create_detector(DetectorConfig(name, channels=32), 3)


def test_freezing_keeps_stem_stages_and_statistics():
    model = create_detector(DetectorConfig("tf_efficientnet_lite0", channels=32, convs=1), 2)
    body = model.train().backbone.body
    freeze(body, 2)
    frozen = {n for n, p in body.named_parameters() if not p.requires_grad}
    assert "conv_stem.weight" in frozen
    assert any(n.startswith("blocks.1.") for n in frozen)
    assert not any(n.startswith("blocks.2.") for n in frozen)
    norms = [m for m in body.modules() if isinstance(m, torch.nn.BatchNorm2d)]
    assert norms
    assert not any(m.training for m in norms)


@pytest.mark.parametrize("backbone", ["test_vit", "test_resnet", "biformer_pico"])
def test_freezing_leaves_the_later_stages_to_train(backbone):
    body = create_detector(DetectorConfig(backbone, channels=32, convs=1), 2).backbone.body
    freeze(body, 1)
    trains = [p.requires_grad for p in body.parameters() if p.ndim > 1]
    assert 0 < sum(trains) < len(trains)
    assert trains[-1]
