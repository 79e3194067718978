"""Checkpoints: from published names, and into plain timm models."""

import sys
from dataclasses import replace

import pytest
import timm
import torch
from safetensors.torch import load_file

from vision.errors import FoveateError
from vision.pretraining import checkpoint
from vision.pretraining.checkpoint import (
    create_published,
    encoder_weights,
    load_encoder,
    read_state,
    resize_positions,
    translate,
)

from .test_droppos import SMALL, images, tiny

OPTIONS = {"patch_size": 8, "embed_dim": 24, "depth": 2, "num_heads": 3, "num_classes": 5}


def published(model):
    """The state dict of a model under the published names, as saved from several GPUs."""
    state = {}
    for name, tensor in model.state_dict().items():
        name = name.removeprefix("encoder.")
        name = name.replace("pixel_decoder.mask_token", "mask_token")
        name = name.replace("pixel_decoder.", "aux_decoder_").replace("decoder.", "decoder_")
        state[f"module.{name}"] = tensor
    return state


def test_names_go_both_ways():
    model = tiny(replace(SMALL, multi_task=True))
    assert {translate(name) for name in published(model)} == set(model.state_dict())
    assert {translate(name) for name in model.state_dict()} == set(model.state_dict())


@pytest.mark.parametrize("multi_task", [False, True])
@pytest.mark.parametrize("pool", ["token", "avg"])
def test_the_encoder_becomes_a_plain_model(multi_task, pool):
    model = tiny(replace(SMALL, multi_task=multi_task))
    plain = timm.create_model(
        "vit_tiny_patch16_224", img_size=(32, 48), global_pool=pool, **OPTIONS
    )
    load_encoder(plain, published(model))
    tokens = plain.patch_embed(images()) + model._table()
    torch.testing.assert_close(plain.blocks[0](tokens), model.encoder.blocks[0](tokens))
    if pool == "token":
        expected = model.encoder.forward_features(images())
        torch.testing.assert_close(plain.forward_features(images()), expected)
    else:
        assert torch.equal(plain.fc_norm.weight, torch.ones(24))


def test_timm_itself_takes_the_filtered_weights(tmp_path, monkeypatch, capsys):
    model = tiny(replace(SMALL, multi_task=True), size=(32, 32))
    torch.save({"epoch": 1, "state_dict": published(model), "model": "x"}, tmp_path / "a.pth")
    out = tmp_path / "plain.safetensors"
    monkeypatch.setattr(sys, "argv", ["checkpoint", str(tmp_path / "a.pth"), str(out)])
    checkpoint.main()
    assert "plain.safetensors" in capsys.readouterr().out
    assert load_file(out).keys() == encoder_weights(model.state_dict()).keys()
    plain = timm.create_model("vit_tiny_patch16_224", img_size=32, **{**OPTIONS, "num_classes": 0})
    timm.models.load_checkpoint(plain, str(out), strict=True)
    x = images((32, 32))
    torch.testing.assert_close(plain.forward_features(x), model.encoder.forward_features(x))


def test_positions_are_resized():
    model = tiny(size=32)
    plain = timm.create_model("vit_tiny_patch16_224", img_size=48, **OPTIONS)
    load_encoder(plain, model.state_dict())
    assert plain.pos_embed.shape == (1, 37, 24)
    same = resize_positions(plain.pos_embed, (6, 6), 1)
    assert same is plain.pos_embed
    with pytest.raises(FoveateError, match="24 position embeddings"):
        resize_positions(torch.zeros(1, 25, 8), (5, 5), 1)


def test_another_architecture_is_named():
    deeper = timm.create_model("vit_tiny_patch16_224", img_size=(32, 48), **{**OPTIONS, "depth": 3})
    with pytest.raises(FoveateError, match=r"VisionTransformer: blocks\.2"):
        load_encoder(deeper, tiny().state_dict())


def test_a_shallower_model_takes_the_lower_blocks():
    model = tiny()
    shallow = timm.create_model("vit_tiny_patch16_224", img_size=(32, 48), **OPTIONS | {"depth": 1})
    load_encoder(shallow, model.state_dict())
    tokens = torch.randn(1, 25, 24)
    torch.testing.assert_close(shallow.blocks(tokens), model.encoder.blocks[0](tokens))


@pytest.mark.parametrize(
    ("name", "shape"),
    [
        ("DropPos_mae_vit_small_patch16_dec512d2b", (384, 12, 6, 14, 2)),
        ("DropPos_mae_vit_base_patch32_dec512d2b", (768, 12, 12, 7, 2)),
        ("DropPos_mae_vit_large_patch16_dec512d8b", (1024, 24, 16, 14, 8)),
        ("DropPos_mae_vit_huge_patch14_dec512d8b", (1280, 32, 16, 16, 8)),
    ],
)
def test_published_architectures(name, shape):
    """Width, depth and heads of the encoder, side of the grid, depth of the decoder."""
    with torch.device("meta"):
        model = create_published(name, multi_task=True)
    encoder, decoder = model.encoder, model.decoder
    heads = encoder.blocks[0].attn.num_heads
    found = (encoder.embed_dim, len(encoder.blocks), heads, model.grid[0], len(decoder.blocks))
    assert found == shape
    assert decoder.pred.weight.shape == (shape[3] ** 2, 512)
    assert decoder.blocks[0].attn.num_heads == 16


def test_files_that_are_no_checkpoint(tmp_path):
    with pytest.raises(FoveateError, match="vit_base"):
        create_published("vit_base")
    (tmp_path / "x.pth").write_bytes(b"nothing")
    for name in ("x.pth", "absent.safetensors"):
        with pytest.raises(FoveateError, match=name):
            read_state(tmp_path / name)
    torch.save([1, 2], tmp_path / "list.pth")
    with pytest.raises(FoveateError, match="no state dict"):
        read_state(tmp_path / "list.pth")


def test_the_published_layout_names_its_architecture(tmp_path):
    content = {"epoch": 3, "state_dict": {"module.a": torch.ones(1)}, "model": "DropPos_mae_x"}
    torch.save(content, tmp_path / "a.pth")
    state, name = read_state(tmp_path / "a.pth")
    assert name == "DropPos_mae_x"
    assert list(state) == ["module.a"]
    torch.save({"model": {"a": torch.ones(1)}}, tmp_path / "b.pth")
    assert read_state(tmp_path / "b.pth") == ({"a": torch.ones(1)}, None)
