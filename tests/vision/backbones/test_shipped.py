"""Classifiers whose weights ship load by their names in timm, without a network."""

import pytest
import timm
import torch
from PIL import Image
from timm.data import create_transform, resolve_model_data_config

import vision.backbones
from tests.vision.backbones import timm_test_models as upstream
from vision.backbones import shipped
from vision.catalogue import catalogue
from vision.pretraining.classify import load_classifier

NAMES = [name for name in vision.backbones.names() if timm.is_model_pretrained(name)]
FULL = [f"{name}.{timm.get_pretrained_cfg(name).tag}" for name in NAMES]


@pytest.fixture(autouse=True)
def no_network(monkeypatch):
    import socket

    def refuse(*_):
        raise OSError("no network in this test")

    monkeypatch.setattr(socket.socket, "connect", refuse)


def test_every_classifier_of_the_catalogue_has_a_name():
    entries = {e.file for e in catalogue().values() if e.task == "classification"}
    files = {timm.get_pretrained_cfg(name).file.rsplit("/", 1)[1] for name in NAMES}
    assert files == entries
    assert {"vit_tiny_d8_patch16_112", "gaussian_vit_nano"} <= set(NAMES)


@pytest.mark.parametrize("name", NAMES)
def test_upstream(name):
    upstream.test_model_load_pretrained(name, 1)
    upstream.test_model_features_pretrained(name, 1)


@pytest.mark.parametrize("name", FULL)
def test_timm_sees_what_our_evaluation_sees(name):
    """The name gives the same model, the same pixels and the same classes as our weights."""
    model = timm.create_model(name, pretrained=True).eval()
    cfg = model.pretrained_cfg
    ours, config, classes = load_classifier(cfg["file"], "cpu")
    assert list(cfg["label_names"]) == classes
    pixels = torch.randint(0, 256, (3, 150, 144), generator=torch.Generator().manual_seed(0))
    pixels = pixels.to(torch.uint8)
    transform = create_transform(**resolve_model_data_config(model), is_training=False)
    theirs = transform(Image.fromarray(pixels.permute(1, 2, 0).numpy()))
    mine = config.view.evaluation()(pixels)
    assert theirs.shape == mine.shape
    assert (theirs - mine).abs().max() < 2.5 / 255 / 0.224  # two roundings of bytes
    with torch.inference_mode():
        torch.testing.assert_close(model(mine[None]), ours(mine[None]), rtol=1e-4, atol=1e-4)


def test_without_files_nothing_is_pretrained(monkeypatch, tmp_path):
    monkeypatch.setattr(shipped, "weights_folder", lambda: tmp_path)
    assert shipped.shipped_cfg("some")["file"] is None
    (tmp_path / "some.safetensors").touch()
    found = shipped.shipped_cfg("some", classifier="head")
    assert found["file"] == str(tmp_path / "some.safetensors")
    assert (found["num_classes"], found["classifier"]) == (10, "head")
