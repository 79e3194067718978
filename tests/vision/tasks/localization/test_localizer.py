"""A localizer from training to what the user gets."""

import csv
import json
from dataclasses import replace
from pathlib import Path

import cv2
import numpy as np
import pytest
import torch

from vision.errors import FoveateError
from vision.features import read_video
from vision.tasks.localization.data import AugmentConfig, Windows, find_video, read_annotations
from vision.tasks.localization.digest import digest
from vision.tasks.localization.draw import draw
from vision.tasks.localization.evaluate import evaluate
from vision.tasks.localization.files import LocalizationFiles
from vision.tasks.localization.frames import FrameHead, FrameHeadConfig, runs
from vision.tasks.localization.model import LocalizationModel, LocalizerConfig
from vision.tasks.localization.predict import Localizer
from vision.tasks.localization.report import print_report
from vision.tasks.localization.results import Action, Actions
from vision.tasks.localization.streaming import LiveStream, WindowStream, run_features
from vision.tasks.localization.train import train


@pytest.fixture
def localizer(weights: Path) -> Localizer:
    return Localizer.from_weights(str(weights), device="cpu")


@pytest.fixture
def frames(blinks: Path) -> list[tuple[float, np.ndarray]]:
    return list(read_video(blinks / "films/film4.mp4"))


def follow(localizer: Localizer, frames, batch: int = 8, **options) -> tuple[list[Action], Actions]:
    localizer.begin(**options)
    events = []
    for n in range(0, len(frames), batch):
        part = frames[n : n + batch]
        events += localizer.update([f for _, f in part], [t for t, _ in part])
    return events, localizer.finish()


def test_the_actions_are_found(weights: Path, blinks: Path):
    report = evaluate(
        str(weights), annotations=blinks / "blinks.json", videos=blinks / "films", device="cpu"
    )
    (figures,) = report["groups"].values()
    assert figures["videos"] == 1
    assert figures["actions"] == 2
    assert figures["average"] > 0.7
    assert figures["frames"] > 0.85
    assert {*figures["per_class"]} == {"left", "right"}
    print_report(report)


def test_the_causal_head_finds_them_at_once(weights: Path, blinks: Path):
    report = evaluate(
        str(weights),
        annotations=blinks / "blinks.json",
        videos=blinks / "films",
        subset="training",
        live=True,
    )
    (figures,) = report["groups"].values()
    assert figures["videos"] == 4
    assert figures["mAP"]["0.5"] > 0.5
    assert report["delay"] <= 0.4


def test_batches_do_not_matter(localizer: Localizer, frames):
    one, other = (follow(localizer, frames, batch=n)[1] for n in (1, 37))
    assert one == other
    assert [a.label for a in one.actions] == ["left", "right"]


def test_events_are_the_result_and_come_when_they_are_final(localizer: Localizer, frames):
    events, result = follow(localizer, frames)
    assert {(e.label, e.start, e.end) for e in events} <= {
        (a.label, a.start, a.end) for a in result.actions
    }
    assert any(e.label == "left" for e in events)
    lookahead, hop = localizer.model.config.lookahead, localizer.model.config.hop
    for action in events:
        assert lookahead <= action.delay <= lookahead + 2 * hop


@pytest.mark.parametrize("live", [False, True])
def test_the_future_changes_no_event(localizer: Localizer, frames, live):
    cut = 60
    earlier, _ = follow(localizer, frames[:cut], batch=1, live=live)
    other = [*frames[:cut], *((t, 255 - f) for t, f in frames[cut:])]
    events, _ = follow(localizer, other, batch=1, live=live)
    assert events[: len(earlier)] == earlier


def test_looking_at_fewer_frames_finds_the_same(localizer: Localizer, frames):
    _, result = follow(localizer, frames, rate=2.5)
    assert {a.label for a in result.actions} == {"left", "right"}


def test_one_frame_is_a_video_too(localizer: Localizer, frames):
    events, result = follow(localizer, frames[:1])
    assert events == []
    assert result.start == result.end == frames[0][0]


def test_finish_begins_a_new_video(localizer: Localizer, frames):
    first = follow(localizer, frames)[1]
    second = follow(localizer, frames)[1]
    assert first == second


def test_a_rate_of_nothing_is_refused(localizer: Localizer):
    with pytest.raises(FoveateError, match="rate 0"):
        localizer.begin(rate=0)


def small(head: str, steps: int = 64) -> LocalizationModel:
    torch.manual_seed(0)
    config = LocalizerConfig(head=head, window=steps / 5)
    config = replace(
        config,
        points=replace(config.points, layers=(1, 0, 2), width=8),
        bmn=replace(config.bmn, samples=2, hidden=8, hidden_3d=4, hidden_2d=4),
    )
    return LocalizationModel(config, 3, 5).eval()


@pytest.mark.parametrize("head", ["frames", "points", "bmn"])
def test_memory_stays_bounded(head):
    model = small(head, steps=32)
    stream = WindowStream(model, 1e-3)
    rng = np.random.default_rng(0)
    for _ in range(200):
        for found in stream.update(rng.normal(size=5).astype(np.float32)):
            assert found.end <= stream.seen - stream.lookahead
    assert len(stream.rows) == 32
    assert all(f.end >= 200 - 32 - stream.hop for f in stream.said)


def test_the_causal_head_sees_no_future():
    head = FrameHead(4, 2, FrameHeadConfig(dropout=0.0), causal=True).eval()
    x = torch.randn(1, 4, 20)
    changed = x.clone()
    changed[..., 12:] += 1
    assert torch.equal(head(x)[..., :12], head(changed)[..., :12])
    reach = head.reach
    torch.testing.assert_close(head(x)[..., -1], head(x[..., -reach:])[..., -1])


def test_live_streaming_equals_the_whole_video():
    model = small("frames")
    rows = list(np.random.default_rng(1).normal(size=(60, 5)).astype(np.float32))
    stream = LiveStream(model, high=0.3, low=0.25)
    found = run_features(stream, rows)
    x = model.normalise(torch.from_numpy(np.stack(rows))[None])
    chances = model.live(x)[0].softmax(0)[1:].T.detach().numpy()
    for f in found:
        inside = chances[int(f.start) : int(f.end), f.label]
        assert inside[0] >= 0.3
        assert (inside >= 0.25).all()
        assert f.score == pytest.approx(inside.mean(), abs=1e-5)
        assert f.end == 60 or chances[int(f.end), f.label] < 0.25


def test_runs_at_several_thresholds():
    chances = np.array([[0.1], [0.45], [0.9], [0.45], [0.1]])
    segments, scores, labels = runs(chances, thresholds=(0.3, 0.7))
    assert segments.tolist() == [[1, 4], [2, 3]]
    assert scores == pytest.approx([0.6, 0.9])
    assert labels.tolist() == [0, 0]


def test_the_same_index_gives_the_same_window_and_joins_keep_their_truth(blinks: Path):
    from vision.features import FeatureConfig, FeatureExtractor
    from vision.tasks.localization.data import load_tracks

    config = FeatureConfig(parts=("motion",))
    tracks = load_tracks(
        read_annotations(blinks / "blinks.json"),
        blinks / "films",
        ["left", "right"],
        FeatureExtractor(config, "cpu"),
    )
    augment = AugmentConfig(join=1.0, mirror=("",))
    data = Windows(tracks, 120, 30, config, augment, seed=3)
    for index in range(30):
        values, mask, classes, segments, labels = data[index]
        assert torch.equal(values, data[index][0])
        assert mask.all()
        assert (segments[:, 1] > segments[:, 0]).all()
        assert segments.max() <= 120
        for (start, end), label in zip(segments, labels, strict=True):
            middle = int((start + end) / 2)
            assert classes[middle] == label + 1


@pytest.mark.parametrize("head", ["frames", "bmn"])
def test_training_the_other_heads(blinks: Path, tmp_path: Path, head: str):
    overrides = (f'model.head="{head}"', "optim.steps=6", 'model.bmn.gate="csa"')
    path = train(str(blinks / "recipe.toml"), blinks, tmp_path / "run", overrides=overrides)
    report = evaluate(str(path), annotations=blinks / "blinks.json", videos=blinks / "films")
    assert 0 <= next(iter(report["groups"].values()))["average"] <= 1


def test_two_trainings_agree(blinks: Path, tmp_path: Path):
    from safetensors.torch import load_file

    paths = [
        train(str(blinks / "recipe.toml"), blinks, tmp_path / n, overrides=("optim.steps=4",))
        for n in ("one", "other")
    ]
    one, other = (load_file(path) for path in paths)
    assert one.keys() == other.keys()
    assert all(torch.equal(one[k], other[k]) for k in one)


@pytest.fixture
def result() -> Actions:
    actions = [
        Action(label="left", start=1, end=3, score=0.9, delay=2),
        Action(label="right", start=2.5, end=5, score=0.4, delay=2),
    ]
    return Actions(start=0, end=10, labels=["left", "right"], actions=actions)


def test_files_hold_the_actions_with_the_truth_above(blinks: Path, tmp_path: Path, result: Actions):
    files = LocalizationFiles(tmp_path / "film4", None, truth=blinks / "blinks.json")
    paths = files.close(result)
    assert [p.name for p in paths] == [
        "film4-actions.json",
        "film4-actions.csv",
        "film4-timeline.png",
    ]
    content = json.loads(paths[0].read_text())
    assert content["results"]["film4"][0] == {"segment": [1, 3], "label": "left", "score": 0.9}
    rows = list(csv.DictReader(paths[1].open()))
    assert rows[1]["label"] == "right"
    assert float(rows[1]["end"]) == 5
    tall = cv2.imread(str(paths[2]))
    LocalizationFiles(tmp_path / "alone", None).close(result)
    low = cv2.imread(str(tmp_path / "alone-timeline.png"))
    assert tall.shape[1] == low.shape[1]
    assert tall.shape[0] > low.shape[0]
    assert not list(tmp_path.glob("*.partial"))


def test_a_video_that_the_truth_does_not_name_is_refused(blinks: Path, tmp_path: Path):
    with pytest.raises(FoveateError, match="nothing of 'other'"):
        LocalizationFiles(tmp_path / "other", None, truth=blinks / "blinks.json")


def test_the_bar_says_what_happens_now(result: Actions):
    frame = np.full((120, 320, 3), 128, np.uint8)
    before, during = (draw(frame, result, t) for t in (0.5, 2.7))
    assert (frame == 128).all()
    assert before.shape == during.shape == frame.shape
    assert (before[:80] == 128).all()
    assert np.abs(before.astype(int) - during).max() > 50


def test_the_digest_counts(result: Actions):
    rows = digest([result])
    assert [r["label"] for r in rows] == ["left", "right"]
    assert rows[0]["seconds"] == "2.0"


@pytest.mark.parametrize(
    "content", ["[]", "{}", '{"database": {"a": {"annotations": [{"segment": [1]}]}}}', "nothing"]
)
def test_files_that_are_no_annotations_are_refused(tmp_path: Path, content: str):
    path = tmp_path / "truth.json"
    path.write_text(content)
    with pytest.raises(FoveateError, match=r"truth\.json"):
        read_annotations(path)


def test_what_is_missing_is_named(tmp_path: Path, weights: Path, blinks: Path):
    with pytest.raises(FoveateError, match=r"no such annotation file"):
        read_annotations(tmp_path / "truth.json")
    with pytest.raises(FoveateError, match="no video of 'film'"):
        find_video(tmp_path, "film", {})
    with pytest.raises(FoveateError, match="no subset 'testing'; there is training, validation"):
        evaluate(str(weights), annotations=blinks / "blinks.json", videos=blinks, subset="testing")
    with pytest.raises(FoveateError, match="--init"):
        train("localization-actions", tmp_path, tmp_path, init="other")
