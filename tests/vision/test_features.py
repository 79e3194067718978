"""Frame features: the clock, the parts, streaming, the cache."""

from pathlib import Path

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from vision.errors import FoveateError
from vision.features import (
    FeatureConfig,
    FeatureExtractor,
    FeatureStream,
    Ticks,
    bench,
    mirror,
    read_video,
    video_features,
)
from vision.features.boxes import average_in_boxes
from vision.features.parts import Motion, Person, box_features

PEOPLE = Path(__file__).parents[1] / "data" / "people_cc_by.mp4"
MOTION = FeatureConfig(parts=("motion",), rate=4.0)


@pytest.fixture(scope="module")
def frames() -> list[tuple[float, np.ndarray]]:
    return [row for row, _ in zip(read_video(PEOPLE), range(30), strict=False)]


@given(st.lists(st.floats(0.001, 0.7), min_size=1, max_size=40), st.floats(0.5, 20))
def test_every_tick_up_to_the_last_frame_has_one_frame(gaps: list[float], rate: float):
    ticks, time, taken = Ticks(rate), 3.0, 0
    for gap in [0.0, *gaps]:
        time += gap
        taken += ticks.take(time)
        assert taken == int((time - 3.0 + 1e-3) * rate) + 1


def test_a_third_of_fifteen_frames_a_second_are_looked_at():
    ticks = Ticks(5.0)
    assert [ticks.take(n / 15) for n in range(9)] == [1, 0, 0] * 3


def test_one_frame_stands_for_several_ticks_where_frames_are_few():
    ticks = Ticks(5.0)
    assert [ticks.take(n / 2) for n in range(3)] == [1, 2, 3]


def test_a_rate_of_zero_is_refused():
    with pytest.raises(FoveateError, match="rate 0"):
        FeatureConfig(rate=0)


@pytest.mark.parametrize("parts", [("motion",), ("person", "motion")])
def test_streaming_by_any_batch_gives_the_same(frames, parts):
    extractor = FeatureExtractor(FeatureConfig(parts=parts, rate=4.0), "cpu")
    few, many = (list(extractor.stream(frames, batch=n)) for n in (3, 30))
    assert [time for time, _ in few] == [time for time, _ in many]
    np.testing.assert_allclose(
        np.stack([row for _, row in few]), np.stack([row for _, row in many]), atol=1e-4
    )
    assert few[0][1].shape == (extractor.channels,)


def test_a_later_frame_never_changes_an_earlier_row(frames):
    extractor = FeatureExtractor(MOTION, "cpu")
    before = FeatureStream(extractor).update(
        [f for _, f in frames[:20]], [t for t, _ in frames[:20]]
    )
    changed = [*frames[:20], *((t, 255 - f) for t, f in frames[20:])]
    after = FeatureStream(extractor).update([f for _, f in changed], [t for t, _ in changed])
    for (_, one), (_, other) in zip(before, after, strict=False):
        np.testing.assert_array_equal(one, other)


def test_nothing_moves_in_a_still_video(frames):
    still = [(n / 4, frames[0][1]) for n in range(3)]
    rows = [row for _, row in FeatureExtractor(MOTION, "cpu").stream(still)]
    assert not np.any(rows)


def test_motion_is_where_something_moves():
    dark = np.zeros((64, 64, 3), np.uint8)
    spot = dark.copy()
    spot[:8, 56:] = 255  # the cell at the top right
    rows = [row for _, row in FeatureExtractor(MOTION, "cpu").stream([(0, dark), (0.25, spot)])]
    assert rows[1].reshape(8, 8).argmax() == 7


def test_the_person_is_found(frames):
    part = Person(FeatureConfig(parts=("person",)), FeatureExtractor(MOTION, "cpu").device)
    (box,) = part.look([frames[0][1]])
    assert box[4] > 0.25
    assert (box[:4] >= 0).all()
    assert (box[:4] <= 1).all()
    assert box[0] < box[2]
    (nobody,) = part.look([np.zeros((64, 64, 3), np.uint8)])
    assert not nobody.any()


@given(st.integers(0, 2**16))
def test_mirrored_features_are_those_of_the_mirrored_boxes(seed: int):
    rng = np.random.default_rng(seed)
    corners = np.sort(rng.random((6, 2, 2)), 1).reshape(6, 4)  # x1 y1 x2 y2
    boxes = np.concatenate([corners, rng.integers(0, 2, (6, 1))], 1).astype(np.float32)
    boxes[boxes[:, 4] == 0] = 0
    other = boxes.copy()
    other[:, [0, 2]] = np.where(boxes[:, 4:] > 0, 1 - boxes[:, [2, 0]], 0)
    config = FeatureConfig(parts=("person",))
    np.testing.assert_allclose(mirror(box_features(boxes), config), box_features(other), atol=1e-4)


def test_mirrored_motion_is_motion_of_the_mirrored_video():
    rng = np.random.default_rng(0)
    looks = rng.random((4, 64, 64)).astype(np.float32)
    part = Motion(MOTION, FeatureExtractor(MOTION, "cpu").device)
    rows, others = part.rows(looks, None), part.rows(looks[:, :, ::-1], None)
    np.testing.assert_allclose(mirror(rows, MOTION), others, atol=1e-6)


def test_features_are_made_once(tmp_path: Path):
    extractor = FeatureExtractor(MOTION, "cpu")
    reads = []

    def read(path: Path):
        reads.append(path)
        return read_video(path)

    first = video_features(PEOPLE, extractor, read=read, cache=tmp_path)
    again = video_features(PEOPLE, extractor, read=read, cache=tmp_path)
    assert len(reads) == 1
    np.testing.assert_array_equal(first.values, again.values)
    np.testing.assert_allclose(np.diff(first.times), 0.25)
    faster = FeatureExtractor(FeatureConfig(parts=("motion",), rate=6.0), "cpu")
    video_features(PEOPLE, faster, read=read, cache=tmp_path)
    assert len(reads) == 2


def test_a_cached_file_that_was_cut_short_is_made_again(tmp_path: Path):
    extractor = FeatureExtractor(MOTION, "cpu")
    first = video_features(PEOPLE, extractor, cache=tmp_path)
    (kept,) = tmp_path.iterdir()
    kept.write_bytes(kept.read_bytes()[:40])
    np.testing.assert_array_equal(
        first.values, video_features(PEOPLE, extractor, cache=tmp_path).values
    )


def test_appearance_of_any_timm_backbone():
    config = FeatureConfig(backbone="biformer_tiny", weights="random", size=64)
    extractor = FeatureExtractor(config, "cpu")
    rows = extractor([np.zeros((40, 60, 3), np.uint8), np.full((40, 60, 3), 200, np.uint8)])
    assert rows.shape == (2, extractor.channels)
    assert np.abs(rows[0] - rows[1]).max() > 0


@pytest.mark.parametrize("part", ["appearance", "person"])
def test_half_changes_features_by_rounding_alone(part: str, frames):
    config = FeatureConfig(parts=(part,), size=64)
    pictures = [frame for _, frame in frames[-2:]]
    whole, half = (FeatureExtractor(config, "cpu", half=h)(pictures) for h in (False, True))
    assert 0 < np.abs(whole - half).mean() < 0.05 * np.abs(whole).mean()


@pytest.mark.parametrize("name", ["missing.mp4", "text.mp4"])
def test_what_is_no_video_is_refused(tmp_path: Path, name: str):
    (tmp_path / "text.mp4").write_text("no video")
    with pytest.raises(FoveateError, match=name):
        video_features(tmp_path / name, FeatureExtractor(MOTION, "cpu"), cache=tmp_path)


def test_an_unknown_backbone_is_refused():
    with pytest.raises(FoveateError, match="resnext_unknown"):
        FeatureExtractor(FeatureConfig(backbone="resnext_unknown"), "cpu")


@given(st.lists(st.floats(0.1, 0.9), min_size=4, max_size=4), st.integers(1, 4))
def test_a_box_on_a_slope_has_the_height_of_its_middle(sides: list[float], cells: int):
    slope = torch.stack(
        torch.meshgrid(torch.arange(12) + 0.5, torch.arange(20) + 0.5, indexing="ij")
    )
    (x1, x2), (y1, y2) = sorted(sides[:2]), sorted(sides[2:])
    shares = torch.tensor([[x1, y1, x2, y2]])
    middle = torch.tensor([[6 * (y1 + y2), 10 * (x1 + x2)]])
    torch.testing.assert_close(average_in_boxes(slope, shares, (1, 1), cells), middle)
    pixels = shares * torch.tensor([200.0, 90.0, 200.0, 90.0])
    torch.testing.assert_close(average_in_boxes(slope, pixels, (200, 90), cells), middle)


def test_the_benchmark_prints_a_line_for_each_part(monkeypatch, capsys):
    monkeypatch.setattr(bench, "PARTS", {"motion": MOTION})
    monkeypatch.setattr("sys.argv", ["bench", str(PEOPLE)])
    bench.main()
    name, cost = capsys.readouterr().out.split(": ")
    assert name == "motion"
    assert 0 < float(cost.removesuffix(" ms\n")) < 100
