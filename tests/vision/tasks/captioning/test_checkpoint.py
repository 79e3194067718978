"""Checkpoints of the published captioner."""

from pathlib import Path

import pytest
import torch
from safetensors.torch import save_file

from tests import parity
from tests.vision.tasks.captioning.parity import booleans, captioner, video_inputs
from vision.errors import FoveateError
from vision.tasks.captioning.checkpoint import (
    UNUSED,
    load_published,
    open_published,
    our_name,
    read_published,
)
from vision.tasks.captioning.decode import greedy
from vision.tasks.captioning.model import Captioner

FIXTURE = (
    Path(__file__).parents[3] / "data" / "fixtures" / "captioning_cycle_eval_testmode.safetensors"
)


@pytest.fixture(scope="module")
def fixture():
    return parity.load(FIXTURE)


@pytest.fixture
def model(fixture):
    return Captioner(captioner(fixture.config["ctor"]))


def test_every_tensor_of_ours_is_filled_with_or_without_what_nothing_uses(fixture, model):
    weights = fixture.group("weights")
    lean = {k: v for k, v in weights.items() if not k.startswith(UNUSED)}
    assert len(lean) < len(weights)
    named = {our_name(k) for k in lean}
    assert named == set(model.state_dict())
    load_published(model, lean)
    first = {k: v.clone() for k, v in model.state_dict().items()}
    load_published(model, weights)
    assert all(torch.equal(first[k], v) for k, v in model.state_dict().items())


def test_names_are_matched_whole_unless_the_published_mistake_is_asked_for(fixture, model):
    weights = fixture.group("weights")
    load_published(model, weights)
    trained = weights["decoder_core.soft_attn.h2attn.weight"]
    random = weights["attended_roi_decoder_core.soft_attn.h2attn.weight"]
    assert not torch.equal(trained, random)
    assert torch.equal(model.decoder.attention.query.weight, trained)
    load_published(model, weights, overwrite_attention=True)
    assert torch.equal(model.decoder.attention.query.weight, random)


def test_a_first_stage_may_lack_the_localizer(fixture, model):
    weights = {k: v for k, v in fixture.group("weights").items() if "localizer" not in k}
    before = model.localizer.query.weight.clone()
    load_published(model, weights)
    assert torch.equal(model.localizer.query.weight, before)


@pytest.mark.parametrize("change", ["lacks", "strange", "shape"])
def test_what_does_not_fit_is_refused(fixture, model, change):
    weights = dict(fixture.group("weights"))
    if change == "lacks":
        del weights["logit.bias"]
    elif change == "strange":
        weights["decoder_core.third_lstm.bias"] = torch.zeros(1)
    else:
        weights["logit.bias"] = torch.zeros(3)
    with pytest.raises(FoveateError, match="captioner"):
        load_published(model, weights)


@pytest.mark.parametrize("suffix", [".pth", ".safetensors"])
def test_files_are_read(tmp_path, fixture, suffix):
    path = tmp_path / f"model{suffix}"
    weights = {k: v for k, v in fixture.group("weights").items() if k.startswith("logit")}
    (save_file if suffix == ".safetensors" else torch.save)(weights, path)
    assert set(read_published(path)) == {"logit.weight", "logit.bias"}


def test_a_checkpoint_opens_without_its_sizes_being_told(tmp_path, fixture):
    torch.save(fixture.group("weights"), tmp_path / "model-best.pth")
    ctor = fixture.config["ctor"]
    model = open_published(
        tmp_path / "model-best.pth",
        length=ctor["seq_length"],
        sampled_frames=ctor["num_sampled_frm"],
        hide_low_scores=False,
    )
    assert not model.training
    assert model.config == captioner(ctor)
    scene = model.encode(video_inputs(booleans(fixture.group("input"))))
    words, _ = greedy(model, scene, unknown=fixture.config["unk_index"])
    assert torch.equal(words, fixture.group("output")["greedy_seq"])


def test_another_checkpoint_is_named(tmp_path):
    torch.save({"layer.weight": torch.zeros(2, 2)}, tmp_path / "other.pth")
    with pytest.raises(FoveateError, match=r"other\.pth is no checkpoint of the published"):
        open_published(tmp_path / "other.pth")


class Code:
    """Something that a pickle would have to import."""


@pytest.mark.parametrize("content", [{"a": Code()}, {"a": 3}, [torch.zeros(1)]])
def test_pickles_with_more_than_tensors_are_refused(tmp_path, content):
    path = tmp_path / "model.pth"
    torch.save(content, path)
    with pytest.raises(FoveateError, match=r"model\.pth"):
        read_published(path)


def test_missing_and_damaged_files_are_named(tmp_path):
    with pytest.raises(FoveateError, match=r"none\.pth"):
        read_published(tmp_path / "none.pth")
    path = tmp_path / "bad.safetensors"
    path.write_bytes(b"bad")
    with pytest.raises(FoveateError, match=r"bad\.safetensors"):
        read_published(path)
