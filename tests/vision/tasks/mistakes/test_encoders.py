"""What recognisers see of frames."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from vision.errors import FoveateError
from vision.features import FeatureConfig
from vision.tasks.mistakes.encoders import (
    EncoderConfig,
    MotionThumbnails,
    ThumbnailConfig,
    make_encoder,
)

ENCODER = MotionThumbnails(ThumbnailConfig(size=6))
SIDE = 6 * 6 * 3


def noise(count: int, seed: int = 0) -> list[np.ndarray]:
    return list(np.random.default_rng(seed).integers(0, 256, (count, 30, 40, 3), np.uint8))


@settings(max_examples=15, deadline=None)
@given(st.lists(st.integers(1, 5), min_size=1, max_size=4))
def test_pieces_give_what_the_whole_gives(sizes):
    looks = ENCODER.look(noise(sum(sizes)))
    whole, _ = ENCODER.encode(looks)
    state, pieces = None, []
    for piece in np.split(looks, np.cumsum(sizes)[:-1]):
        features, state = ENCODER.encode(piece, state)
        pieces.append(features)
    np.testing.assert_allclose(np.concatenate(pieces), whole, atol=1e-6)


def test_what_stands_still_vanishes_whatever_it_looks_like():
    still = np.repeat(ENCODER.look(noise(1)), 5, axis=0)
    assert not ENCODER.encode(still)[0].any()


def test_what_changes_is_seen_at_once_and_then_forgotten():
    looks = np.zeros((200, 6, 6, 3), np.uint8)
    looks[1:] = 100
    shaped = ENCODER.encode(looks)[0].reshape(200, 6, 6, 6)
    slow, fast = shaped[..., :3], shaped[..., 3:]
    assert (fast[1] > 0).all()
    assert not fast[2:].any()
    assert (slow[1] > 0).all()
    assert (np.diff(slow[1:, 0, 0, 0]) < 0).all()
    memory = ENCODER.config.memory * ENCODER.rate
    share = slow[1 + round(memory), 0, 0, 0] / slow[1, 0, 0, 0]
    assert share == pytest.approx(np.exp(-1), rel=0.05)


def test_varied_looks_are_all_varied_alike():
    still = np.repeat(ENCODER.look(noise(1)), 4, axis=0)
    varied = ENCODER.vary(still, np.random.default_rng(1))
    assert varied.shape == still.shape
    assert np.abs(varied - still).mean() > 1
    assert (varied == varied[0]).all()


def test_a_backbone_sees_each_frame_for_itself():
    config = FeatureConfig(backbone="test_efficientnet", weights="random", size=32, rate=4)
    encoder = make_encoder(EncoderConfig(backbone=config), "cpu")
    looks = encoder.look(noise(3))
    assert encoder.rate == 4
    assert looks.shape == (3, encoder.channels)
    features, state = encoder.encode(looks)
    assert features is looks
    assert state is None
    np.testing.assert_allclose(encoder.look(noise(3)[1:2])[0], looks[1], rtol=1e-3, atol=1e-5)


@pytest.mark.parametrize(
    "config", [{}, {"thumbnails": ThumbnailConfig(), "backbone": FeatureConfig()}]
)
def test_an_encoder_is_one_thing(config):
    with pytest.raises(FoveateError, match="either thumbnails or a backbone"):
        EncoderConfig(**config)


def test_a_video_is_looked_at_whole_and_features_of_backbones_are_kept(
    videos, tmp_path, monkeypatch
):
    monkeypatch.setenv("FOVEATE_CACHE", str(tmp_path))
    path = videos / "test_005.mp4"
    thumbnails, times = ENCODER.look_at(path)
    assert thumbnails.shape == (65, 6, 6, 3)
    np.testing.assert_allclose(np.diff(times), 0.1, atol=1e-6)
    config = FeatureConfig(backbone="test_efficientnet", weights="random", size=32, rate=5)
    encoder = make_encoder(EncoderConfig(backbone=config), "cpu")
    features, times = encoder.look_at(path)
    assert features.shape == (33, encoder.channels)
    assert len(times) == 33
    assert len(list(tmp_path.rglob("*.safetensors"))) == 1


def test_thumbnails_need_sensible_numbers():
    with pytest.raises(FoveateError, match="above 0"):
        ThumbnailConfig(rate=0)
