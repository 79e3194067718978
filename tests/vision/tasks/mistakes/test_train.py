"""A recogniser trained from a recipe on committed clips, measured, and run over video."""

from pathlib import Path

import numpy as np
import pytest
from typer.testing import CliRunner

from tests.conftest import DATA
from video.cli import app
from vision.catalogue import read_weights
from vision.errors import FoveateError
from vision.features import read_video
from vision.recipes import load_recipe
from vision.tasks.mistakes.clips import choose_window, frame_scores, recognise_clips, steps_of
from vision.tasks.mistakes.data import ClipSet
from vision.tasks.mistakes.predict import MistakeChecker
from vision.tasks.mistakes.train import MistakesRecipe, train

RECIPE = """
name = "tiny"
seed = 1
annotations = "assembly/annotations.json"
videos = "assembly/videos"
background = ["idle"]
validate_every = 30
licence = "CC0-1.0"
data = "rendered clips"
[encoder.thumbnails]
size = 8
[model]
embed = 32
hidden = 32
dropout = 0.0
anticipation = 2
[windows]
length = 24
context = 12
stride = 4
reverse = 0.2
splice = 0.2
opposites = ["attach-", "detach-"]
vary = true
[aggregate]
seconds = [0.5, 1.5]
[optim]
steps = 60
batch = 16
lr = 4e-3
warmup = 5
ema = 0.8
"""


@pytest.fixture(scope="module")
def recipe(tmp_path_factory) -> Path:
    path = tmp_path_factory.mktemp("recipe") / "tiny.toml"
    path.write_text(RECIPE)
    return path


@pytest.fixture(scope="module")
def trained(recipe, tmp_path_factory) -> Path:
    return train(str(recipe), DATA, tmp_path_factory.mktemp("run") / "run")


def test_it_learns_and_says_what_it_was_made_from(trained):
    weights = read_weights(trained)
    assert weights.metadata["task"] == "mistakes"
    assert weights.metadata["licence"] == "CC0-1.0"
    assert weights.metadata["config"]["window"] in (0.5, 1.5)
    checker = MistakeChecker.from_weights(str(trained), device="cpu")
    clips = ClipSet.read(DATA / "assembly/annotations.json").clips(
        "train", DATA / "assembly/videos", checker.encoder
    )
    scores = [frame_scores(checker.model, checker.encoder, clip.looks) for clip in clips]
    right = np.concatenate([s.argmax(1) == c.labels for s, c in zip(scores, clips, strict=True)])
    assert right.mean() > 0.4  # the most frequent class alone: 0.2


def test_clips_are_measured(trained):
    checker = MistakeChecker.from_weights(str(trained), device="cpu")
    clips, figures = recognise_clips(
        checker, DATA / "assembly/annotations.json", DATA / "assembly/videos", "val"
    )
    assert [clip.id for clip in clips] == ["val_001"]
    assert clips[0].kind == ("truck",)
    assert clips[0].truth[0] == "attach-base"
    assert 0 < figures["levenshtein"] <= 1
    assert 0.1 < figures["mAP"] <= 1
    assert figures["mcAP"] > figures["mAP"]


def test_streaming_finds_the_steps_of_the_whole_video(trained):
    checker = MistakeChecker.from_weights(str(trained), device="cpu")
    clips, _ = recognise_clips(
        checker, DATA / "assembly/annotations.json", DATA / "assembly/videos", "test"
    )
    for clip in clips:
        checker.begin(procedure="synthetic-assembly", kind=clip.kind)
        for time, frame in read_video(DATA / f"assembly/videos/{clip.id}.mp4"):
            checker.update([frame], [time])
        assert tuple(step.step for step in checker.finish().steps) == clip.steps


def test_two_runs_of_a_recipe_give_the_same_weights(recipe, tmp_path):
    few = ("optim.steps=3", "validate_every=3")
    first, second = (
        read_weights(train(str(recipe), DATA, tmp_path / name, overrides=few)).tensors
        for name in ("a", "b")
    )
    for name, tensor in first.items():
        assert (tensor == second[name]).all()


def test_the_shipped_recipe_can_be_read():
    recipe = load_recipe(MistakesRecipe, "mistakes-synthetic")
    assert recipe.encoder.thumbnails is not None
    assert recipe.windows.opposites == ("attach-", "detach-")


def test_a_background_that_is_no_class_is_named(recipe, tmp_path):
    with pytest.raises(FoveateError, match="'rest' is no class"):
        train(str(recipe), DATA, tmp_path / "run", overrides=('background=["rest"]',))


def test_the_window_is_the_shortest_of_the_best():
    labels = np.repeat([1, 2, 1, 2], [10, 2, 10, 10])  # a slip of two frames
    scores = [np.eye(3)[labels]]
    best, table = choose_window(scores, [(1, 2)], (0.1, 0.5, 0.9, 4.0), "oma", 10, [0])
    assert best == 0.5
    assert table[0.1] == 0.5
    assert table[0.9] == 1
    assert steps_of([0, 1, 1, 0, 1, 2], [0]) == [1, 2]


def test_the_command_line_trains(recipe, tmp_path):
    command = ["train", "mistakes", "--recipe", str(recipe), "--data", str(DATA)]
    command += ["--out", str(tmp_path / "run"), "--set", "optim.steps=2"]
    command += ["--set", "validate_every=2"]
    done = CliRunner().invoke(app, command)
    assert done.exit_code == 0, done.output
    assert read_weights(tmp_path / "run" / "tiny.safetensors").metadata["task"] == "mistakes"
