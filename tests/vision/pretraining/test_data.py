"""Pictures of folders and tars."""

import tarfile

import pytest
import torch

from vision.errors import FoveateError
from vision.pretraining.data import EndlessPictures, Pictures, ViewConfig

VIEW = ViewConfig((24, 32))


def test_a_tar_and_its_folder_are_the_same(pictures, tmp_path):
    with tarfile.open(pictures / "val.tar") as archive:
        archive.extractall(tmp_path / "val", filter="data")
    packed = Pictures(pictures / "val.tar", VIEW.evaluation())
    loose = Pictures(tmp_path / "val", VIEW.evaluation())
    assert packed.classes == loose.classes == ["lined", "plain"]
    assert packed.labels == loose.labels == [0] * 5 + [1] * 5
    for (a, _), (b, _) in zip(packed, loose, strict=True):
        assert a.shape == (3, 24, 32)
        assert torch.equal(a, b)


def test_every_picture_comes_once_an_epoch(pictures):
    endless = EndlessPictures(Pictures(pictures / "val.tar", VIEW.training()), 30, seed=0)
    orders = []
    for epoch in range(3):
        endless[10 * epoch]
        orders.append(endless._order.tolist())
        assert sorted(orders[-1]) == list(range(10))
    assert orders[0] != orders[1]


def test_a_view_depends_on_seed_and_index_alone(pictures):
    view = ViewConfig((24, 24), randaugment=9, erase=0.5)
    first, again, other = (
        EndlessPictures(Pictures(pictures / "val.tar", view.training()), 30, seed)
        for seed in (0, 0, 1)
    )
    torch.manual_seed(3)
    before = torch.get_rng_state()
    a = [first[i] for i in (3, 14, 25)]
    b = [again[i] for i in (25, 3, 14)]
    assert torch.equal(torch.get_rng_state(), before)
    assert torch.equal(a[0][0], b[1][0])
    assert torch.equal(a[2][0], b[0][0])
    assert not torch.equal(a[0][0], other[3][0])


def test_evaluation_looks_at_the_middle():
    view = ViewConfig((20, 20), crop_pct=0.5, mean=(0, 0, 0), std=(1, 1, 1))
    picture = torch.zeros(3, 40, 40, dtype=torch.uint8)
    picture[:, 10:30, 10:30] = 255
    assert view.evaluation()(picture).min() == 1


def test_what_is_not_there_is_named(pictures, tmp_path):
    (tmp_path / "empty").mkdir()
    (tmp_path / "bad.tar").write_bytes(b"no tar at all")
    for name, message in (("empty", "no pictures"), ("bad.tar", "no tar"), ("none", "none")):
        with pytest.raises(FoveateError, match=message):
            Pictures(tmp_path / name, VIEW.evaluation())
    with pytest.raises(FoveateError, match="'lined'"):
        Pictures(pictures / "val.tar", VIEW.evaluation(), ["plain"])
