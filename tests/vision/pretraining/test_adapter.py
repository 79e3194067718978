"""Adapters on pictures: all kinds of gate in one table, and importance put to the test."""

import sys
from dataclasses import asdict
from typing import get_args

import cv2
import pytest
import torch

from vision.backbones.gaussian_adapter import Gate
from vision.backbones.gaussian_probe import ProbeConfig
from vision.catalogue import write_weights
from vision.pretraining import adapter
from vision.pretraining.classify import ClassifierConfig, create_classifier
from vision.pretraining.data import ViewConfig
from vision.pretraining.model import ModelConfig, create_model
from vision.pretraining.pretext import DropPosConfig

TINY = {"patch_size": 8, "embed_dim": 24, "depth": 2, "num_heads": 3}
SMALL = DropPosConfig(decoder_dim=32, decoder_depth=1, decoder_heads=2)
VIEW = ViewConfig((32, 32))


@pytest.fixture(params=["classification", "droppos"])
def weights(request, tmp_path):
    """An encoder: of a classifier, or of a pretext."""
    torch.manual_seed(0)
    if request.param == "droppos":
        config = ModelConfig("vit_tiny_patch16_224", VIEW, SMALL, TINY)
        model = create_model(config)
    else:
        config = ClassifierConfig("vit_tiny_patch16_224", VIEW, {**TINY, "img_size": 32})
        model = create_classifier(config, 2)
    path = tmp_path / "encoder.safetensors"
    metadata = {"task": request.param, "config": asdict(config), "classes": ["lined", "plain"]}
    write_weights(path, model.state_dict(), metadata)
    return str(path)


def test_every_gate_is_trained_and_importance_is_tested(weights, pictures):
    report, importance = adapter.probe(
        weights,
        train=pictures / "train.tar",
        val=pictures / "val.tar",
        seeds=(0, 1),
        config=ProbeConfig(epochs=15, lr=1e-2),
    )
    rows = {row["gate"]: row for row in report["rows"]}
    assert rows.keys() == set(get_args(Gate))
    assert all(len(row["accuracies"]) == 2 for row in rows.values())
    assert rows["none"]["accuracies"][0] >= 0.8  # one of the two classes has dark lines
    assert rows["density"]["learned"]["gate"] > rows["fixed"]["learned"]["gate"] == 0
    assert importance.values.shape == (2, 24)
    for shares in report["deletion"].values():
        assert shares[0] == pytest.approx(rows["density"]["accuracies"][0])
        assert len(shares) == len(report["parts"])
    assert 0 < report["lowest"] <= report["highest"] <= 1


def test_command(weights, pictures, tmp_path, monkeypatch, capsys):
    picture = tmp_path / "importance.png"
    arguments = [weights, "--train", pictures / "train.tar", "--val", pictures / "val.tar"]
    monkeypatch.setattr(sys, "argv", ["adapter", *map(str, arguments), "--heat-map", str(picture)])
    adapter.main()
    table = capsys.readouterr().out
    for word in ("linear_probe", "layer_mix", "random", "mean attention from"):
        assert word in table
    assert cv2.imread(str(picture)).shape == (16, 192, 3)
