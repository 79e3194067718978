"""Weights are measured, catalogued, and kept out when they are too large."""

import sys
from dataclasses import asdict

import pytest
import torch

from vision.catalogue import read_weights, write_weights
from vision.errors import FoveateError
from vision.pretraining import classify, release
from vision.pretraining.classify import ClassifierConfig, create_classifier
from vision.pretraining.data import ViewConfig
from vision.pretraining.model import ModelConfig, create_model
from vision.pretraining.pretext import DropPosConfig

SMALL = DropPosConfig(decoder_dim=32, decoder_depth=1, decoder_heads=2)
TINY = {"patch_size": 8, "embed_dim": 24, "depth": 2, "num_heads": 3}


@pytest.fixture
def classifier(tmp_path):
    config = ClassifierConfig(
        "vit_tiny_patch16_224", ViewConfig((32, 32)), {**TINY, "img_size": 32}
    )
    return written(
        tmp_path / "run.safetensors", "classification", config, create_classifier(config, 2)
    )


def written(path, task, config, model):
    metadata = {
        "task": task,
        "config": asdict(config),
        "classes": ["lined", "plain"],
        "licence": "CC0-1.0",
    }
    write_weights(path, model.state_dict(), metadata)
    return path


def test_a_classifier_is_measured_and_catalogued(
    classifier, pictures, tmp_path, monkeypatch, capsys
):
    shelf = tmp_path / "shelf"
    shelf.mkdir()
    arguments = ["--images", pictures / "val.tar", "--name", "small", "--into", shelf, "--default"]
    arguments += ["--history", "drawn", "--history", "trained"]
    monkeypatch.setattr(sys, "argv", ["release", str(classifier), *map(str, arguments)])
    release.main()
    expected = classify.evaluate(str(classifier), images=pictures / "val.tar")["top1"]
    assert f"small: {{'top1': {round(expected, 4)}}}" in capsys.readouterr().out
    weights = read_weights(shelf / "small.safetensors")
    assert weights.metadata["history"] == ["drawn", "trained"]
    assert weights.metadata["score"] == {"top1": round(expected, 4)}
    listing = (shelf / "catalogue.toml").read_text()
    assert 'name = "small"' in listing
    assert "default = true" in listing


def test_a_pretext_is_measured_as_one(pictures, tmp_path):
    config = ModelConfig("vit_tiny_patch16_224", ViewConfig((32, 32)), SMALL, TINY)
    torch.manual_seed(0)
    path = written(tmp_path / "pretext.safetensors", "droppos", config, create_model(config))
    shelf = tmp_path / "shelf"
    shelf.mkdir()
    score = release.release(path, images=pictures / "val.tar", into=shelf)
    assert score.keys() == {"accuracy", "accuracy assigned", "chance"}
    assert score["chance"] == pytest.approx(1 / 16, abs=1e-4)


def test_what_does_not_ship(classifier, pictures, tmp_path, monkeypatch):
    weights = read_weights(classifier)
    other = tmp_path / "other.safetensors"
    write_weights(other, weights.tensors, {**weights.metadata, "task": "detection"})
    shelf = tmp_path / "shelf"
    shelf.mkdir()
    with pytest.raises(FoveateError, match="is for detection"):
        release.release(other, images=pictures / "val.tar", into=shelf)
    monkeypatch.setattr("vision.release.LARGEST", 1000)
    with pytest.raises(FoveateError, match=r"larger than 0\.001 MB"):
        release.release(classifier, images=pictures / "val.tar", into=shelf)
    assert list(shelf.iterdir()) == []
