"""Clips and training windows."""

import json

import numpy as np
import pytest
import torch

from vision.errors import FoveateError
from vision.tasks.mistakes.data import (
    Clip,
    ClipSet,
    WindowConfig,
    WindowDataset,
    backwards,
    opposite_classes,
    window_starts,
)
from vision.tasks.mistakes.encoders import MotionThumbnails, ThumbnailConfig

CLASSES = ("idle", "attach-a", "attach-b", "detach-a", "detach-b")
ENCODER = MotionThumbnails(ThumbnailConfig(size=4))


def clip(labels: list[int], seed: int = 0) -> Clip:
    looks = np.random.default_rng(seed).integers(0, 256, (len(labels), 4, 4, 3), np.uint8)
    return Clip("c", looks, np.array(labels), tuple(k for k in labels if k))


def dataset(clips: list[Clip], count: int = 40, **settings) -> WindowDataset:
    config = WindowConfig(**{"length": 6, "stride": 2, **settings})
    return WindowDataset(clips, CLASSES, ENCODER, config, count, seed=5, anticipation=2)


def test_annotated_clips_are_read_at_the_encoders_rate(clip_set, videos):
    (short, long) = clip_set.clips("test", videos, MotionThumbnails(ThumbnailConfig(rate=5)))
    assert [clip_set.classes[k] for k in short.steps] == ["attach-base", "detach-base"]
    assert short.ends_with_mistake
    assert (long.variant, short.variant) == ("truck", "truck")
    annotated = json.loads((videos.parent / "annotations.json").read_text())["test"]
    entry = next(e for e in annotated if e["id"] == short.id)
    assert len(short.looks) == len(short.labels) == -(-entry["frames"] // 2)
    expected = np.zeros(entry["frames"], int)
    for label, start, end in entry["segments"]:
        expected[start:end] = label
    assert (short.labels == expected[::2]).all()


def test_every_real_frame_ends_one_window_when_the_stride_is_one():
    assert list(window_starts(5, 1)) == [0, 1, 2, 3, 4]


def test_a_window_is_the_frames_up_to_its_end_and_zeros_before_the_video():
    data = dataset([clip([1, 1, 0, 2])], stride=1)
    whole, _ = ENCODER.encode(data.clips[0].looks)
    for number, (_, end) in enumerate(data.ends[:4]):
        features, target, coming = data[number]
        assert features.shape == (6, 96)
        assert not features[: 5 - end].any()
        torch.testing.assert_close(features[5 - end :], torch.from_numpy(whole[: end + 1]))
        assert (target[: 5 - end].sum(1) == 0).all()
        assert target[5 - end :].argmax(1).tolist() == [1, 1, 0, 2][: end + 1]
        ahead = [1, 1, 0, 2][end + 1 : end + 3]
        assert coming.argmax(1)[: len(ahead)].tolist() == ahead
        assert (coming.sum(1) == torch.arange(2).lt(len(ahead))).all()


def test_epochs_see_all_windows_in_another_order_with_offsets_drawn_anew():
    data = dataset([clip([1] * 12), clip([2] * 1)], count=300)
    assert len(data) == 300
    assert {end for which, end in data.ends if which == 0} == set(range(12))
    assert (1, 0) in data.ends
    assert data.ends[:7] != data.ends[7:14]


def test_a_window_depends_on_its_number_and_the_seed_alone():
    settings = {"splice": 0.5, "reverse": 0.5, "vary": True, "opposites": ("attach-", "detach-")}
    clips = [clip([0, 1, 1, 0, 2, 2, 0]), clip([0, 2, 2, 0, 1, 0], 1)]
    first, second = dataset(clips, **settings), dataset(clips, **settings)
    _ = first[3]
    for ours, theirs in zip(first[7], second[7], strict=True):
        assert torch.equal(ours, theirs)
    assert not torch.equal(first[7][0], first[8][0])


def test_backwards_attaching_is_detaching():
    opposite = opposite_classes(CLASSES, ("attach-", "detach-"))
    assert opposite.tolist() == [0, 3, 4, 1, 2]
    turned = backwards(clip([0, 1, 1, 2]), opposite)
    assert turned.labels.tolist() == [4, 3, 3, 0]
    assert turned.steps == (4, 3, 3)
    again = backwards(turned, opposite)
    assert (again.looks == clip([0, 1, 1, 2]).looks).all()
    assert opposite_classes(("idle", "attach-c"), ("attach-", "detach-")).tolist() == [0, 1]


def test_a_spliced_window_keeps_its_last_step_and_begins_with_anothers():
    data = dataset([clip([1, 1, 2, 2, 2, 2]), clip([3, 3, 4, 4, 3, 3])], count=200, splice=1.0)
    spliced = 0
    for number in range(len(data)):
        which, end = data.ends[number]
        _, target, _ = data[number]
        labels = target.argmax(1)[target.sum(1) > 0].tolist()
        truth = data.clips[which].labels[: end + 1].tolist()
        assert labels[-1] == truth[-1]
        spliced += labels != truth[-len(labels) :]
    assert spliced > 40


def annotations(entry):
    return json.dumps({"meta": {"classes": {"0": "a"}, "fps": 10}, "test": [entry]})


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ("{", "is no JSON"),
        ('{"train": []}', "'meta'"),
        ('{"meta": {"classes": {"1": "a"}, "fps": 10}}', "annotates no clips"),
        ("[]", "annotates no clips"),
        ('{"meta": {"classes": {"0": "a"}, "fps": 0}}', "fps must be above 0"),
        (annotations({"id": "x", "segments": [[0, 1, 2]]}), "labels Field required"),
        (annotations({"id": "x", "segments": [[0, 1]], "labels": [0]}), r"segments\.0\.2 Field"),
        (annotations({"id": "x", "segments": [[0, 1, 2]], "labels": [7]}), "x has class 7"),
    ],
)
def test_other_files_are_refused(tmp_path, content, message):
    path = tmp_path / "a.json"
    path.write_text(content)
    with pytest.raises(FoveateError, match=message):
        ClipSet.read(path)


def test_what_is_missing_is_named(tmp_path, clip_set):
    with pytest.raises(FoveateError, match="cannot read"):
        ClipSet.read(tmp_path / "none.json")
    with pytest.raises(FoveateError, match="there are train, val, test"):
        clip_set.clips("dev", tmp_path, ENCODER)
    with pytest.raises(FoveateError, match=r"test_005\.mp4"):
        clip_set.clips("test", tmp_path, ENCODER)


def test_the_committed_clips_say_that_they_are_rendered(videos):
    meta = json.loads((videos.parent / "annotations.json").read_text())["meta"]
    assert meta["synthetic"] is True
