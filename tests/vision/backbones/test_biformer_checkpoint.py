"""Official checkpoints into our models."""

import argparse
import json
from pathlib import Path

import pytest
import timm
import torch
from torch import Tensor

from vision.backbones.biformer_checkpoint import official_weights, translate
from vision.errors import FoveateError

LAYOUTS = Path(__file__).parents[2] / "data" / "fixtures" / "biformer_state_dict_layouts.json"


def official(name: str) -> dict[str, Tensor]:
    """Random weights in the official layout."""
    torch.manual_seed(0)
    keys = json.loads(LAYOUTS.read_text())["models"][name]["keys"]
    return {key: torch.rand(shape) if shape else torch.tensor(1) for key, shape in keys.items()}


@pytest.fixture(scope="module")
def file(tmp_path_factory) -> Path:
    """A checkpoint as the official training script writes it."""
    weights = official("biformer_tiny")
    path = tmp_path_factory.mktemp("weights") / "biformer_tiny_best.pth"
    torch.save({"model": weights, "epoch": 299, "args": argparse.Namespace(lr=1e-3)}, path)
    return path


def create(overlay: dict, name: str = "biformer_tiny", **options):
    return timm.create_model(name, pretrained=True, pretrained_cfg_overlay=overlay, **options)


def test_official_file_loads(file):
    model = create({"file": str(file)})
    weights = official("biformer_tiny")
    block = model.stages[2].blocks[7]
    assert block.attn.qkv.weight.equal(weights["stages.2.7.attn.qkv.qkv.weight"])
    assert block.mlp.fc2.bias.equal(weights["stages.2.7.mlp.3.bias"])
    assert block.pos_conv.weight.equal(weights["stages.2.7.pos_embed.weight"])
    last = model.stages[3]
    assert last.downsample[0].weight.equal(weights["downsample_layers.3.0.weight"])
    assert last.blocks[1].attn.proj.weight.equal(weights["stages.3.1.attn.proj.weight"])
    assert model.norm.running_var.equal(weights["norm.running_var"])
    assert model.head.fc.weight.equal(weights["head.weight"])


def test_head_and_first_convolution_adapt(file):
    model = create({"file": str(file)}, num_classes=5, in_chans=1)
    weights = official("biformer_tiny")
    expected = weights["downsample_layers.0.0.weight"].sum(1, keepdim=True)
    torch.testing.assert_close(model.stem[0].weight.data, expected)
    assert model.head.fc.weight.shape == (5, 512)


@pytest.mark.parametrize("options", [{}, {"feature_norms": True}])
def test_features_only_loads(file, options):
    model = create({"file": str(file)}, features_only=True, regions=16, **options).eval()
    norms = [p for n, p in model.named_parameters() if "feature_norms" in n]
    assert len(norms) == (8 if options else 0)
    assert len(model(torch.rand(1, 3, 32, 32))) == 4


def test_published_weights_are_chosen_over_averaged_ones(tmp_path):
    weights = official("biformer_tiny")
    averaged = {key: torch.zeros_like(value) for key, value in weights.items()}
    path = tmp_path / "checkpoint.pth"
    torch.save({"model": weights, "model_ema": averaged}, path)
    model = create({"state_dict": official_weights(path)})
    assert model.head.fc.weight.equal(weights["head.weight"])


def test_nchw_layout_loads():
    model = create({"state_dict": official("biformer_stl_nchw")}, "biformer_stl_nchw")
    weights = official("biformer_stl_nchw")
    qkv = weights["stages.0.blocks.1.attn.qkv_linear.weight"]
    assert model.stages[0].blocks[1].attn.qkv.weight.equal(qkv[..., 0, 0])
    mlp = weights["stages.0.blocks.1.mlp.2.weight"]
    assert model.stages[0].blocks[1].mlp.fc2.weight.equal(mlp[..., 0, 0])


def test_own_names_pass_unchanged():
    own = timm.create_model("biformer_pico", feature_norms=True, device="meta").state_dict()
    assert translate(own).keys() == own.keys()


def test_own_weights_load(tmp_path):
    torch.manual_seed(1)
    model = timm.create_model("biformer_pico")
    torch.save(model.state_dict(), tmp_path / "pico.pth")
    again = create({"file": str(tmp_path / "pico.pth")}, "biformer_pico")
    assert again.head.fc.weight.equal(model.head.fc.weight)


def test_other_architecture_is_named(file):
    with pytest.raises(FoveateError, match=r"missing 'stages\.0\.blocks\.2\.pos_conv\.weight'"):
        create({"file": str(file)}, "biformer_small")
    with pytest.raises(FoveateError, match=r"unexpected 'stem\.3\.weight' and \d+ more, missing"):
        create({"file": str(file)}, "biformer_stl")


def test_unreadable_files_are_named(tmp_path):
    path = tmp_path / "checkpoint.pth"
    with pytest.raises(FoveateError, match=r"checkpoint\.pth"):
        official_weights(path)
    path.write_bytes(b"nothing")
    with pytest.raises(FoveateError, match=r"checkpoint\.pth"):
        official_weights(path)
    torch.save({"epoch": 3}, path)
    with pytest.raises(FoveateError, match="model"):
        official_weights(path)
