"""The weighted losses against torchvision's own, and what weights and masks must do."""

import pytest
import torch
from torchvision.models.detection.fcos import FCOSHead
from torchvision.models.detection.retinanet import RetinaNetHead

from vision.tasks.detection.model import DetectorConfig, create_detector

CLASSES = 5


def make_targets(weights=None, labelled=None):
    boxes = torch.tensor([[4.0, 4.0, 40.0, 60.0], [20.0, 30.0, 90.0, 80.0]])
    full = torch.ones(2) if weights is None else torch.tensor(weights)
    known = torch.ones(CLASSES, dtype=torch.bool) if labelled is None else labelled
    return [
        {"boxes": boxes, "labels": torch.tensor([1, 3]), "weights": full, "labelled": known},
        {
            "boxes": torch.zeros(0, 4),
            "labels": torch.zeros(0, dtype=torch.int64),
            "weights": torch.zeros(0),
            "labelled": known,
        },
    ]


def make_model(head):
    torch.manual_seed(0)
    config = DetectorConfig("test_efficientnet", head, channels=32, convs=1, size=96)
    return create_detector(config, CLASSES).eval().train()


def losses_of(model, targets):
    torch.manual_seed(1)
    return model([torch.rand(3, 96, 96), torch.rand(3, 96, 96)], targets)


def test_fcos_equals_torchvision_when_every_box_is_certain():
    model = make_model("fcos")
    ours = losses_of(model, make_targets())
    model.head.__class__ = FCOSHead
    theirs = losses_of(model, make_targets())
    assert ours.keys() == theirs.keys()
    for name in ours:
        assert ours[name].item() == pytest.approx(theirs[name].item(), rel=1e-5), name


def test_retinanet_equals_torchvision_when_every_box_is_certain():
    model = make_model("retinanet")
    targets = [make_targets()[0]] * 2  # ours divides by the batch's boxes, theirs by each picture's
    ours = losses_of(model, targets)
    model.head.__class__ = RetinaNetHead
    theirs = losses_of(model, targets)
    assert ours.keys() == theirs.keys()
    for name in ours:
        assert ours[name].item() == pytest.approx(theirs[name].item(), rel=1e-5), name


def test_boxes_of_weight_zero_teach_nothing():
    model = make_model("fcos")
    losses = losses_of(model, make_targets(weights=[0.0, 0.0]))
    assert losses["bbox_regression"].item() == 0
    assert losses["bbox_ctrness"].item() == 0
    model.zero_grad()
    losses["classification"].backward()
    bias = model.head.classification_head.cls_logits.bias.grad
    certain = make_model("fcos")
    losses_of(certain, make_targets())["classification"].backward()
    pulled = certain.head.classification_head.cls_logits.bias.grad
    # Descent raises the bias of the classes that are there, unless their boxes do not count.
    assert pulled[1] < 0
    assert pulled[3] < 0
    assert (bias >= 0).all()


def test_unlabelled_classes_are_no_background():
    labelled = torch.tensor([True, False, False, False, True])
    model = make_model("fcos")
    losses_of(model, make_targets(labelled=labelled))["classification"].backward()
    gradient = model.head.classification_head.cls_logits.bias.grad
    assert gradient[2].item() == 0  # neither labelled nor there
    assert gradient[1].item() < 0  # there, so it counts though it is not labelled
    assert gradient[0].item() > 0  # labelled and not there


@pytest.mark.parametrize("head", ["fcos", "retinanet"])
def test_a_picture_without_boxes_gives_a_finite_loss(head):
    model = make_model(head)
    losses = losses_of(model, [make_targets()[1]] * 2)
    total = sum(losses.values())
    total.backward()
    assert torch.isfinite(total)
    assert losses["bbox_regression"].item() == 0


def test_a_box_pulls_by_its_weight():
    model = make_model("fcos")
    first = losses_of(model, make_targets(weights=[1.0, 0.0]))["bbox_regression"]
    second = losses_of(model, make_targets(weights=[0.0, 1.0]))["bbox_regression"]
    both = losses_of(model, make_targets(weights=[1.0, 0.25]))["bbox_regression"]
    least, most = sorted([first.item(), second.item()])
    assert least < both.item() < most
    assert abs(both - first) < abs(both - second)
