"""What every release does at its end, and what it refuses."""

import sys
from pathlib import Path

import pytest
import torch

from vision import release
from vision.catalogue import read_weights
from vision.errors import FoveateError
from vision.tasks.localization import release as localization

TENSORS = {"weight": torch.arange(6.0)}
METADATA = {"task": "detection", "licence": "MIT"}


def test_measured_weights_enter_the_catalogue_beside_them(tmp_path):
    path = tmp_path / "some.safetensors"
    release.enter(path, TENSORS, METADATA, {"AP50": 0.5}, default=True)
    weights = read_weights(path)
    assert torch.equal(weights.tensors["weight"], TENSORS["weight"])
    assert weights.metadata == {**METADATA, "score": {"AP50": 0.5}}
    listing = (tmp_path / "catalogue.toml").read_text()
    assert 'name = "some"' in listing
    assert "AP50" in listing


def test_large_weights_do_not_ship(tmp_path, monkeypatch):
    monkeypatch.setattr(release, "LARGEST", 100)
    with pytest.raises(FoveateError, match="larger than"):
        release.enter(tmp_path / "some.safetensors", TENSORS, METADATA, {}, default=False)
    assert not list(tmp_path.iterdir())
    (tmp_path / "some.safetensors").write_bytes(b"what shipped before")
    with pytest.raises(FoveateError, match="larger than"):
        release.enter(tmp_path / "some.safetensors", TENSORS, METADATA, {}, default=False)
    assert [path.read_bytes() for path in tmp_path.iterdir()] == [b"what shipped before"]


@pytest.mark.parametrize("value", [float("nan"), float("inf")])
def test_a_score_that_is_no_number_does_not_ship(tmp_path, value):
    """TOML's readers would refuse the whole catalogue."""
    path = tmp_path / "some.safetensors"
    with pytest.raises(FoveateError, match=f"some does not ship: its AP50 is {value}"):
        release.enter(path, TENSORS, METADATA, {"AR": 0.5, "AP50": value}, default=False)
    assert not list(tmp_path.iterdir())


def test_what_ships_stays_while_other_weights_are_measured(tmp_path):
    """Were measuring them to fail, the catalogue's checksum would no longer fit."""
    path = tmp_path / "some.safetensors"
    release.enter(path, TENSORS, METADATA, {"AP50": 0.5}, default=True)
    before = path.read_bytes()
    with release.trial({"weight": torch.zeros(6)}, METADATA) as trial:
        assert not read_weights(Path(trial)).tensors["weight"].any()
        assert path.read_bytes() == before
    assert not Path(trial).exists()


def test_mistakes_get_one_line_and_exit_code_2(tmp_path, monkeypatch, capsys):
    with pytest.raises(FoveateError, match="no such folder"):
        release.put(tmp_path / "none/some.safetensors", TENSORS, METADATA)
    missing = tmp_path / "none.safetensors"
    paths = ["--annotations", str(tmp_path), "--videos", str(tmp_path), "--into", str(tmp_path)]
    monkeypatch.setattr(sys, "argv", ["release", str(missing), *paths])
    with pytest.raises(SystemExit) as stop:
        release.run(localization.main)
    assert stop.value.code == 2
    error = capsys.readouterr().err
    assert str(missing) in error
    assert error.count("\n") == 1
