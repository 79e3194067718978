"""The pretext over pyramids: regions out of place."""

from dataclasses import replace

import pytest
import timm
import torch

import vision  # noqa: F401  registers the backbones
from vision.errors import FoveateError
from vision.pretraining.checkpoint import load_encoder
from vision.pretraining.pretext import DropPosConfig
from vision.pretraining.pyramid import RegionDropPos, merge, split

CONFIG = DropPosConfig(
    mask_ratio=0.25, pos_mask_ratio=0.5, decoder_dim=16, decoder_depth=1, decoder_heads=2
)


def pyramid(config=CONFIG, name="biformer_pico", size=(96, 128), region=32) -> RegionDropPos:
    torch.manual_seed(0)
    return RegionDropPos(timm.create_model(name, num_classes=0), config, size, region)


def test_regions_are_cut_and_put_together():
    images = torch.randn(2, 3, 64, 96)
    regions = split(images, 32)
    torch.testing.assert_close(regions[1, 4].reshape(3, 32, 32), images[1, :, 32:, 32:64])
    assert torch.equal(merge(regions, (2, 3), 32), images)


@pytest.mark.parametrize(("size", "region"), [((96, 128), 32), ((128, 128), 64)])
def test_a_pyramid_finds_regions(size, region):
    model = pyramid(size=size, region=region)
    images = torch.randn(2, 3, *size)
    found = model(images, model.smoothing(1.0))
    cells = model.grid[0] * model.grid[1]
    assert found.logits.shape == (2, int(cells * 0.75), cells)
    found.loss.backward()
    assert model.mark.grad.abs().max() > 0
    assert model.encoder.stem[0].weight.grad is not None
    plain = timm.create_model("biformer_pico", num_classes=3)
    load_encoder(plain, model.state_dict())
    model.eval(), plain.eval()
    torch.testing.assert_close(
        plain.forward_features(images), model.encoder.forward_features(images)
    )


def test_a_transformer_without_position_embedding_is_one_too():
    model = pyramid(name="gaussian_vit_nano", size=(64, 64), region=16)
    found = model(torch.randn(2, 3, 64, 64), model.smoothing(1.0))
    assert found.logits.shape == (2, 12, 16)
    assert torch.isfinite(found.loss)


def test_what_is_shown():
    """Kept regions stay, removed ones are blank, the others change places and bear the mark."""
    model = pyramid()
    seen = []
    forward = model.encoder.forward_intermediates
    model.encoder.forward_intermediates = lambda x, **k: seen.append(x) or forward(x, **k)
    images = torch.randn(1, 3, 96, 128)
    found = model(images, model.smoothing(0.0))
    truth, shown = split(images, 32)[0], split(seen[0], 32)[0].detach()
    keep, dropped = found.patches.keep[0], found.positions.removed[0]
    for cell in keep[~dropped]:
        torch.testing.assert_close(shown[cell], truth[cell])
    for cell in found.patches.removed[0].nonzero():
        assert not shown[cell].any()
    places = keep[dropped]
    unmarked = shown[places] - model.mark.detach().flatten()
    distance = torch.cdist(truth[places], unmarked)
    assert (distance.min(1).values < 1e-2).all()
    assert distance.argmin(1).unique().numel() == len(places)


def test_zeros_have_no_mark():
    model = pyramid(replace(CONFIG, mask_token_type="zeros"))
    assert not model.mark.any()
    assert not model.mark.requires_grad


@pytest.mark.parametrize(
    ("settings", "sizes", "message"),
    [
        ({}, {"size": (100, 128)}, "100x128"),
        ({}, {"region": 48, "size": (96, 96)}, "steps of 32"),
        ({"attn_guide": True}, {}, "attn_guide"),
        ({"multi_task": True}, {}, "multi_task"),
        ({"shuffle": True}, {}, "shuffle"),
        ({"official": True}, {}, "official"),
        ({"mask_token_type": "wrong_pos"}, {}, "mask_token_type"),
    ],
)
def test_settings_without_meaning_are_refused(settings, sizes, message):
    with pytest.raises(FoveateError, match=message):
        pyramid(replace(CONFIG, **settings), **sizes)
