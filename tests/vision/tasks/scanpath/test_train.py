"""Training, evaluation and release from end to end on small data."""

import json
import sys

import numpy as np
import pytest
import torch
from PIL import Image

from vision.catalogue import read_weights
from vision.errors import FoveateError
from vision.tasks.scanpath import release
from vision.tasks.scanpath.data import collate, look_at_pictures
from vision.tasks.scanpath.dataset import (
    AugmentConfig,
    ScanpathDataset,
    set_targets_in_hindsight,
)
from vision.tasks.scanpath.evaluate import evaluate, measure
from vision.tasks.scanpath.objects import grid_objects
from vision.tasks.scanpath.records import Viewed, read_scanpaths
from vision.tasks.scanpath.report import print_report
from vision.tasks.scanpath.train import train

RECIPE = """
name = "tiny"
seed = 0
train = "train.json"
val = "val.json"
{images}
validate_every = 2
init = "random"
licence = "MIT"
data = "made up"
[model]
width = 16
heads = 2
encoder_layers = 1
decoder_layers = 1
longest = 5
grid = [3, 4]
{model}
[optim]
steps = 4
batch = 2
warmup = 1
[augment]
hindsight = 0.5
other_grids = 0.3
jitter = 0.1
viewers = 2
"""
FEATURES = """
patch_width = 4
[model.features]
backbone = "test_resnet"
levels = [1, 2]
size = 64
"""


def write_data(folder, *, search=False, count=4):
    rng = np.random.default_rng(0)
    images = []
    for n in range(count):
        Image.fromarray(rng.integers(0, 255, (60, 80, 3), np.uint8)).save(folder / f"{n}.png")
        objects = [
            {"label": "book", "bbox": [x, y, 20, 20]} for y in (0, 20, 40) for x in (0, 20, 40, 60)
        ]
        viewers = [
            {
                "subject": v,
                "fixations": [
                    {
                        "x": float(rng.uniform(-5, 85)),
                        "y": float(rng.uniform(0, 60)),
                        "start": None,
                        "duration": None if search else float(rng.uniform(80, 400)),
                    }
                    for _ in range(int(rng.integers(1, 8)))
                ],
            }
            for v in range(3)
        ]
        images.append(
            {
                "id": str(n),
                "image": None if search else f"{n}.png",
                "width": 80,
                "height": 60,
                "objects": objects if search else [],
                "target": {"object": n, "name": "t"} if search else None,
                "scanpaths": viewers,
            }
        )
    for split in ("train", "val"):
        (folder / f"{split}.json").write_text(json.dumps({"images": images}))
    return folder


@pytest.fixture(scope="module")
def free(tmp_path_factory):
    """Data and weights of free viewing."""
    root = write_data(tmp_path_factory.mktemp("free"))
    (root / "recipe.toml").write_text(RECIPE.format(images='images = "."', model=FEATURES))
    return root, train(str(root / "recipe.toml"), root, root / "run")


@pytest.fixture(scope="module")
def search(tmp_path_factory):
    """Data and weights of search without pictures."""
    root = write_data(tmp_path_factory.mktemp("search"), search=True)
    model = 'labels = ["t"]\ndurations = false\nlocation = true'
    (root / "recipe.toml").write_text(RECIPE.format(images="", model=model))
    return root, train(str(root / "recipe.toml"), root, root / "run")


def test_free_viewing_is_measured_beside_everything_it_must_beat(free, capsys):
    root, weights = free
    report = evaluate(str(weights), data=root / "val.json", samples=3)
    rows = ["another viewer", "model", "order of saliency", "middle of the picture", "chance"]
    assert list(report["rows"]) == rows
    for row in report["rows"].values():
        assert all(np.isfinite(value) for value in row.values())
        assert 0 <= row["ScanMatch with time"] <= 1
    assert report["likelihood"]["chance"] == pytest.approx(np.log(13))
    print_report(report)
    printed = capsys.readouterr().out
    assert "free viewing" in printed
    assert "nats" in printed


def test_search_is_measured_by_behaviour(search, capsys):
    root, weights = search
    report = evaluate(str(weights), data=root / "val.json", samples=3)
    rows = ["another viewer", "model", "middle, then target", "middle of the picture", "chance"]
    assert list(report["rows"]) == rows
    known = report["rows"]["middle, then target"]
    assert (known["correct"], known["length"]) == (1, 2)
    assert not any(name.startswith("MM") for name in known)  # which takes three fixations
    json.dumps(report, allow_nan=False)
    assert report["rows"]["another viewer"]["delta"] == 0
    assert "correct" in report["rows"]["model"]
    assert "ScanMatch with time" not in report["rows"]["model"]
    print_report(report)
    assert "place of the target told" in capsys.readouterr().out


def test_a_recipe_gives_the_same_weights_twice(search, tmp_path):
    root, weights = search
    again = train(str(root / "recipe.toml"), root, tmp_path / "again")
    first, second = (read_weights(path).tensors for path in (weights, again))
    assert all(torch.equal(first[key], second[key]) for key in first)


def test_a_release_has_a_temperature_and_a_score(search, tmp_path, monkeypatch):
    root, weights = search
    monkeypatch.setattr(release, "TEMPERATURES", (1.0, 0.5))
    monkeypatch.setattr(release, "SAMPLES", 2)
    arguments = ["release", str(weights), "--data", str(root / "val.json"), "--by", "SS"]
    monkeypatch.setattr(sys, "argv", [*arguments, "--into", str(tmp_path), "--keep-out"])
    release.main()
    metadata = read_weights(tmp_path / "tiny.safetensors").metadata
    assert metadata["temperature"] in (1.0, 0.5)
    assert set(metadata["score"]) == {"SS", "nats a step"}
    assert not (tmp_path / "catalogue.toml").exists()


def test_missing_pictures_are_named(free, search, tmp_path):
    _, weights = free
    with pytest.raises(FoveateError, match="no picture"):
        evaluate(str(weights), data=free[0] / "val.json", images=tmp_path)
    with pytest.raises(FoveateError, match="has no file"):
        evaluate(str(weights), data=search[0] / "val.json")


def test_pictures_and_viewers_without_a_fixation_are_left_out(search, tmp_path):
    root, weights = search
    content = json.loads((root / "val.json").read_text())
    content["images"][0]["scanpaths"] = []
    content["images"][1]["scanpaths"][0]["fixations"] = []
    (tmp_path / "some.json").write_text(json.dumps(content))
    report = evaluate(str(weights), data=tmp_path / "some.json", samples=1)
    assert report["pictures"] == 3
    assert report["viewers"] == 8


def test_a_missing_recipe_part_is_named(tmp_path):
    (tmp_path / "r.toml").write_text('name = "x"')
    with pytest.raises(FoveateError, match=r"r\.toml"):
        train(str(tmp_path / "r.toml"), tmp_path, tmp_path / "out")


def test_viewers_agree_with_themselves_more_than_with_chance():
    grid = grid_objects(80, 60, 6, 8)
    rng = np.random.default_rng(0)
    path = np.column_stack((rng.uniform(0, 80, 8), rng.uniform(0, 60, 8), rng.uniform(100, 300, 8)))
    one = Viewed("x", None, 80, 60, None, None, None, [path, path])
    same = measure([one], [grid], [[path]])
    assert same["ScanMatch with time"] == pytest.approx(1)
    assert same["SS"] == 1
    assert same["ED"] == 0
    other = measure([one], [grid], [[path * (0, 0, 1) + (1, 1, 0)]])
    assert other["ScanMatch with time"] < 0.7
    assert measure([one], [grid], [one.paths], human=True)["SS"] == 1


def test_training_samples_depend_on_seed_and_index_alone(free):
    root, weights = free
    from vision.tasks.scanpath.predict import Looker

    looker = Looker.from_weights(str(weights))
    viewed = read_scanpaths(root / "train.json")
    seen = look_at_pictures(viewed, root, looker.config, looker.features, None, mirror=True)
    augment = AugmentConfig(hindsight=0.7, other_grids=0.5, jitter=0.1)
    first, second = (
        ScanpathDataset(viewed, seen, looker.config, augment, 40, seed=1) for _ in range(2)
    )
    for n in (7, 3):
        for a, b in zip(vars(first[n]).values(), vars(second[n]).values(), strict=True):
            torch.testing.assert_close(a, b, equal_nan=True)
    scene, goal, paths = collate([first[n] for n in range(4)])
    assert scene.features.shape[:2] == scene.mask.shape == goal.match.shape[::2]
    assert (paths.objects < scene.mask.sum(1)[:, None, None]).all()


def test_hindsight_ends_paths_on_their_target(free):
    root, weights = free
    from vision.tasks.scanpath.predict import Looker

    looker = Looker.from_weights(str(weights))
    viewed = read_scanpaths(root / "train.json")
    seen = look_at_pictures(viewed, root, looker.config, looker.features, None, mirror=True)
    data = ScanpathDataset(viewed, seen, looker.config, AugmentConfig(), 8, seed=0)
    searches = 0
    for n in range(8):
        sample = data[n]
        set_targets_in_hindsight(sample, 1.0, 0.5, np.random.default_rng(n))
        for match, path, looks in zip(
            sample.match, sample.objects, sample.goal_features, strict=True
        ):
            spots = path[path >= 0]
            if not match.any():
                continue
            searches += 1
            assert match[spots[-1]] == 1
            assert not match[spots[:-1]].any()
            target = int(match.argmax())
            assert not torch.allclose(looks, sample.features[target])
    assert searches
