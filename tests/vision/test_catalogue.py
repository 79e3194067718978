"""Weights by name and by path: whole, damaged, foreign, unknown."""

import json

import pytest
import torch
from safetensors.torch import save_file

import vision.catalogue as module
from vision.catalogue import (
    add_to_catalogue,
    catalogue,
    default_name,
    open_weights,
    read_weights,
    verify,
    weights_folder,
    write_weights,
)
from vision.errors import FoveateError

METADATA = {"task": "detection", "licence": "MIT", "score": {"AP": 0.5}, "config": {}}


@pytest.fixture
def shelf(tmp_path, monkeypatch):
    """A catalogue of its own with two weights."""
    for name in ("alpha", "beta"):
        write_weights(tmp_path / f"{name}.safetensors", {"w": torch.ones(3)}, METADATA)
        add_to_catalogue(tmp_path / f"{name}.safetensors", default=True)
    monkeypatch.setattr(module, "weights_folder", lambda: tmp_path)
    catalogue.cache_clear()
    yield tmp_path
    catalogue.cache_clear()


def test_every_shipped_file_is_whole_small_and_described():
    for entry in catalogue().values():
        path = weights_folder() / entry.file
        verify(path, entry)
        assert entry.bytes == path.stat().st_size <= 8_000_000
        metadata = read_weights(path).metadata
        assert {"task", "config", "recipe", "data", "licence", "score"} <= metadata.keys()
        assert entry.score == metadata["score"]


def test_the_last_default_is_the_default(shelf):
    assert default_name("detection") == "beta"
    assert [e.default for e in catalogue().values()] == [False, True]
    assert open_weights(None, task="detection").name == "beta"


def test_floats_are_stored_narrow_and_read_wide(tmp_path):
    path = tmp_path / "x.safetensors"
    write_weights(path, {"w": torch.tensor([0.5, 3.0]), "n": torch.tensor([7])}, METADATA)
    tensors = read_weights(path).tensors
    assert tensors["w"].dtype == torch.float32
    assert tensors["w"].tolist() == [0.5, 3.0]
    assert tensors["n"].tolist() == [7]
    assert path.stat().st_size < 1000


@pytest.mark.parametrize(
    ("name", "answer"),
    [("alpa", "did you mean 'alpha'"), ("zzzz", "there are alpha, beta"), ("../beta", "beta")],
)
def test_an_unknown_name_gets_the_nearest(shelf, name, answer):
    with pytest.raises(FoveateError, match=answer):
        open_weights(name, task="detection")


def test_a_damaged_file_is_refused(shelf):
    path = shelf / "alpha.safetensors"
    content = bytearray(path.read_bytes())
    content[-1] ^= 1
    path.write_bytes(content)
    with pytest.raises(FoveateError, match="damaged"):
        open_weights("alpha", task="detection")


def test_a_missing_file_is_named(shelf):
    (shelf / "alpha.safetensors").unlink()
    with pytest.raises(FoveateError, match="missing"):
        open_weights("alpha", task="detection")
    with pytest.raises(FoveateError, match="no such weights file"):
        open_weights(str(shelf / "none.safetensors"), task="detection")


def test_weights_of_another_task_are_refused(tmp_path):
    path = tmp_path / "x.safetensors"
    write_weights(path, {}, {**METADATA, "task": "scanpath"})
    with pytest.raises(FoveateError, match="are for scanpath"):
        open_weights(str(path), task="detection")


def test_foreign_files_are_refused(tmp_path):
    plain = tmp_path / "plain.safetensors"
    save_file({"w": torch.ones(1)}, plain)
    with pytest.raises(FoveateError, match="no foveate metadata"):
        read_weights(plain)
    junk = tmp_path / "junk.safetensors"
    junk.write_bytes(b"not a safetensors file")
    with pytest.raises(FoveateError, match="not a safetensors file"):
        read_weights(junk)


def test_a_pickle_is_never_loaded(tmp_path):
    pickled = tmp_path / "x.pt"
    torch.save({"w": torch.ones(1)}, pickled)
    with pytest.raises(FoveateError, match="unknown weights"):
        open_weights(str(pickled), task="detection")
    renamed = tmp_path / "x.safetensors"
    renamed.write_bytes(pickled.read_bytes())
    with pytest.raises(FoveateError, match="not a safetensors file"):
        open_weights(str(renamed), task="detection")


def test_entries_are_json(shelf):
    rows = [entry.to_dict() for entry in catalogue().values()]
    assert json.loads(json.dumps(rows))[0]["name"] == "alpha"
