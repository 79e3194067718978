"""The pretext over timm's vision transformers."""

from dataclasses import replace

import pytest
import torch

import vision  # noqa: F401  registers the backbones
from vision.errors import FoveateError
from vision.pretraining.droppos import DropPos, create_droppos
from vision.pretraining.pretext import DropPosConfig

SMALL = DropPosConfig(
    mask_ratio=0.5, pos_mask_ratio=0.5, decoder_dim=16, decoder_depth=1, decoder_heads=2
)


def tiny(config=SMALL, name="vit_tiny_patch16_224", size=(32, 48), **options) -> DropPos:
    torch.manual_seed(0)
    options = {"patch_size": 8, "embed_dim": 24, "depth": 2, "num_heads": 3, **options}
    return create_droppos(name, config, img_size=size, **options)


def images(size=(32, 48)):
    return torch.randn(2, 3, *size, generator=torch.Generator().manual_seed(5))


@pytest.mark.parametrize(
    ("name", "options"),
    [
        ("vit_tiny_patch16_224", {}),
        ("vit_tiny_patch16_224", {"class_token": False, "global_pool": "avg"}),
        ("vit_tiny_patch16_224", {"dynamic_img_size": True}),
        ("deit_tiny_patch16_224", {}),
        ("deit_tiny_distilled_patch16_224", {}),
        ("deit3_small_patch16_224", {}),
        ("vit_medium_patch16_reg4_gap_256", {}),
        ("vit_base_patch16_clip_224", {}),
    ],
)
def test_any_vision_transformer_learns(name, options):
    model = tiny(name=name, **options)
    assert model.grid == (4, 6)
    noise = model.draw_noise(2, torch.Generator().manual_seed(1))
    found = model(images(), model.smoothing(1.0), noise)
    assert found.logits.shape == (2, 12, 24)
    found.loss.backward()
    trained = {n for n, p in model.named_parameters() if p.requires_grad}
    without = {n for n in trained if model.get_parameter(n).grad is None}
    assert not without
    assert "encoder.pos_embed" not in trained
    steps = torch.optim.AdamW(model.parameters(), 3e-3)
    for _ in range(20):
        steps.zero_grad()
        loss = model(images(), model.smoothing(0.0), noise).loss
        loss.backward()
        steps.step()
    assert loss < 0.7 * found.loss


def test_removed_patches_are_not_seen():
    model = tiny()
    noise = model.draw_noise(2, torch.Generator().manual_seed(1))
    found = model(images(), model.smoothing(0.0), noise)
    mask = found.patches.removed.reshape(2, 1, 4, 6).float()
    changed = images() + 3 * torch.nn.functional.interpolate(mask, scale_factor=8)
    again = model(changed, model.smoothing(0.0), noise)
    torch.testing.assert_close(again.logits, found.logits)
    assert found.patches.removed.sum() == 24


@pytest.mark.parametrize("kind", ["param", "zeros"])
def test_dropped_positions_leave_no_trace(kind):
    """Tokens without position are told apart by appearance alone: equal patches, equal scores."""
    model = tiny(replace(SMALL, mask_token_type=kind))
    found = model(torch.ones(1, 3, 32, 48), model.smoothing(0.0))
    dropped = found.logits[found.positions.removed]
    torch.testing.assert_close(dropped, dropped[:1].expand_as(dropped), atol=1e-5, rtol=1e-5)
    kept = found.logits[~found.positions.removed]
    assert (kept[0] - kept[1]).abs().max() > 1e-3
    assert model.mask_pos_token.requires_grad == (kind == "param")


def test_wrong_positions_are_those_of_other_dropped_patches():
    model = tiny(replace(SMALL, mask_token_type="wrong_pos"))
    noise = model.draw_noise(2, torch.Generator().manual_seed(1))
    base = model(images(), model.smoothing(0.0), noise)
    noise.permutation = torch.arange(len(noise.permutation))
    right = model(images(), model.smoothing(0.0), noise)
    full = DropPosConfig(**{**vars(SMALL), "pos_mask_ratio": 0.0})
    none_dropped = tiny(full)
    none_dropped.load_state_dict(model.state_dict())
    noise_kept = replace(noise, permutation=None)
    kept = none_dropped(images(), model.smoothing(0.0), noise_kept)
    torch.testing.assert_close(right.logits, kept.logits)
    assert (base.logits - right.logits).abs().max() > 1e-4


@pytest.mark.parametrize("official", [False, True])
def test_shuffling_changes_nothing_but_the_official_pixels(official):
    config = replace(SMALL, multi_task=True, official=official)
    plain, shuffled = (tiny(replace(config, shuffle=s), size=32) for s in (False, True))
    noise = shuffled.draw_noise(2, torch.Generator().manual_seed(1))
    a = plain(images((32, 32)), plain.smoothing(0.0), replace(noise, shuffle=None))
    b = shuffled(images((32, 32)), plain.smoothing(0.0), noise)
    torch.testing.assert_close(a.logits, b.logits, atol=1e-5, rtol=1e-4)
    equal = torch.allclose(a.pixels, b.pixels, atol=1e-5)
    assert equal != official
    torch.testing.assert_close(a.loss, a.loss_pos + a.loss_pix)


def test_attention_weighs_the_loss():
    model = tiny(replace(SMALL, attn_guide=True))
    found = model(images(), model.smoothing(0.0))
    torch.testing.assert_close(found.attention.sum(1), torch.ones(2))
    torch.testing.assert_close(found.attention_full.sum(1), torch.ones(2))
    torch.testing.assert_close(found.weight, found.attention * found.positions.removed)
    assert not found.attention.requires_grad


def test_official_targets_are_of_the_wrong_grid():
    model = tiny(replace(SMALL, official=True), size=32)
    assert model.smoothing(1.0).shape == (64, 64)
    with pytest.raises(FoveateError, match="4x6"):
        tiny(replace(SMALL, official=True)).smoothing(1.0)
    assert tiny(size=32).smoothing(1.0).shape == (16, 16)


def test_noise_is_repeatable():
    model = tiny(replace(SMALL, mask_token_type="wrong_pos", shuffle=True))
    a, b = (model.draw_noise(2, torch.Generator().manual_seed(3)) for _ in range(2))
    assert all(torch.equal(x, y) for x, y in zip(vars(a).values(), vars(b).values(), strict=True))
    c = model.draw_noise(2, torch.Generator().manual_seed(4))
    assert not torch.equal(a.patch, c.patch)


@pytest.mark.parametrize(
    ("name", "options", "config", "message"),
    [
        ("no_such_model", {}, SMALL, "no_such_model"),
        ("biformer_pico", {}, SMALL, "a pyramid by regions"),
        ("biformer_pico", {"img_size": 64}, SMALL, "does not take"),
        ("sparsifiner_deit_tiny_patch16_224", {}, SMALL, "plain ViT"),
        ("eva02_tiny_patch14_224", {}, SMALL, "no absolute position embedding"),
        ("vit_tiny_patch16_224", {"pos_embed": "none"}, SMALL, "no absolute position embedding"),
        (
            "vit_tiny_patch16_224",
            {"class_token": False, "global_pool": "avg"},
            replace(SMALL, attn_guide=True),
            "class token",
        ),
    ],
)
def test_other_backbones_are_refused(name, options, config, message):
    with pytest.raises(FoveateError, match=message):
        create_droppos(name, config, **options)


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"mask_ratio": 1.5}, "mask_ratio"),
        ({"pos_mask_ratio": -0.1}, "pos_mask_ratio"),
        ({"mask_token_type": "none"}, "mask_token_type"),
        ({"multi_task": True, "mask_ratio": 0.0}, "multi_task"),
    ],
)
def test_settings_without_sense_are_refused(settings, message):
    with pytest.raises(ValueError, match=message):
        DropPosConfig(**settings)
