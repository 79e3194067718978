"""Published checkpoints, and what the recorded runs do not show."""

import argparse

import numpy as np
import pytest
import torch

from vision.errors import FoveateError
from vision.tasks.scanpath.oat import OAT, OATConfig, oat_path
from vision.tasks.scanpath.oat_checkpoint import load_oat
from vision.tasks.scanpath.oat_places import fit_places, place_loss

SMALL = OATConfig(2, 3, 32, 4, 24, 1, 2, levels=2, pointer_scale=8)
TABLE = torch.randn(3, 7, generator=torch.Generator().manual_seed(0))


def checkpoint(path, model, **more):
    state = {f"model.{k}": v for k, v in model.state_dict().items()}
    state |= {
        "model.LinearEmbedding.weight": torch.zeros(16, 3),
        "model.generator.weight": torch.zeros(8, 32),
        "model.onedpositional_encoding.pos_embedding": torch.zeros(5000, 1, 32),
    }
    arguments = argparse.Namespace(emb_size=32)
    torch.save({"state_dict": state, "hyper_parameters": {"args": arguments}} | more, path)
    return path


@pytest.fixture
def model():
    torch.manual_seed(0)
    return OAT(SMALL, TABLE).eval()


def test_a_lightning_checkpoint_gives_the_same_model(model, tmp_path):
    path = checkpoint(tmp_path / "oat.ckpt", model)
    np.save(tmp_path / "table.npy", TABLE.numpy())
    loaded = load_oat(path, 2, 3, table=tmp_path / "table.npy", pointer_scale=8)
    assert loaded.config == SMALL
    patches = torch.rand(6, 26, 24, 3)
    assert oat_path(loaded, patches, 2, 5) == oat_path(model, patches, 2, 5)


def test_a_text_table_and_a_sinusoid_do_as_well(model, tmp_path):
    path = checkpoint(tmp_path / "oat.ckpt", model)
    np.savetxt(tmp_path / "table.txt", TABLE.numpy())
    loaded = load_oat(path, 2, 3, table=tmp_path / "table.txt")
    torch.testing.assert_close(loaded.places.table[:3], TABLE)
    assert load_oat(path, 2, 3, places="linear").config.places == "linear"


def test_unusable_checkpoints_are_named(model, tmp_path):
    path = checkpoint(tmp_path / "oat.ckpt", model)
    junk = tmp_path / "junk.ckpt"
    junk.write_text("no checkpoint")
    torch.save({"state_dict": {"model.x": torch.zeros(1)}}, tmp_path / "other.ckpt")
    strange = dict(model.state_dict()) | {"more": torch.zeros(1)}
    torch.save({"state_dict": strange}, tmp_path / "strange.ckpt")
    for file, given, message in (
        (path, {}, "either its place table or"),
        (path, {"table": TABLE, "places": "exp1"}, "either its place table or"),
        (tmp_path / "none.ckpt", {"table": TABLE}, "no such checkpoint"),
        (junk, {"table": TABLE}, "not readable as a checkpoint"),
        (tmp_path / "other.ckpt", {"table": TABLE}, "no checkpoint of OAT's"),
        (tmp_path / "strange.ckpt", {"table": TABLE}, "does not fit OAT"),
        (path, {"table": tmp_path / "none.npy"}, "no place table"),
    ):
        with pytest.raises(FoveateError, match=message):
            load_oat(file, 2, 3, **given)


class Trap:
    """Runs code on being unpickled."""

    def __reduce__(self):
        return (print, ("caught",))


def test_a_checkpoint_runs_no_code(model, tmp_path, capsys):
    path = checkpoint(tmp_path / "oat.ckpt", model, trap=Trap())
    with pytest.raises(FoveateError, match="not readable as a checkpoint"):
        load_oat(path, 2, 3, table=TABLE)
    assert "caught" not in capsys.readouterr().out


def test_learned_places_need_a_table():
    with pytest.raises(FoveateError, match="needs its place table"):
        OAT(SMALL)


def test_places_come_to_fit_the_gaussian():
    start = torch.randn(6, 20, generator=torch.Generator().manual_seed(1))
    table, curve = fit_places(start, steps=1500)
    assert curve[-1] < 1e-4 < curve[0]
    assert place_loss(table, 2.0) < 1e-4


def test_draws_are_those_of_the_generator(model):
    patches = torch.rand(6, 26, 24, 3)
    first, again, other = (
        oat_path(model, patches, 1, 6, sample=True, generator=torch.Generator().manual_seed(seed))
        for seed in (1, 1, 2)
    )
    assert first == again
    assert first[0] != other[0]
