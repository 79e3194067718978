"""A training from recipe to evaluated weights, and what can go wrong on the way."""

import json

import pytest
import torch

from vision.catalogue import read_weights
from vision.errors import FoveateError
from vision.tasks.detection.evaluate import evaluate
from vision.tasks.detection.predict import Detector
from vision.tasks.detection.train import train


@pytest.fixture(scope="module")
def trained(recipe, rectangles, tmp_path_factory):
    out = tmp_path_factory.mktemp("run")
    return train(str(recipe), rectangles, out, overrides=("optim.steps=160",))


def test_the_weights_find_rectangles(trained, rectangles):
    report = evaluate(
        str(trained), annotations=rectangles / "val.json", images=rectangles / "val.tar"
    )
    assert report["AP50"] > 0.5
    assert set(report["per_class"]) == {"red", "green"}
    assert report["images"] == 8
    assert "class ignored" in report["subsets"]
    json.dumps(report)


def test_the_weights_name_all_that_made_them(trained):
    weights = read_weights(trained)
    assert weights.metadata["task"] == "detection"
    assert [c["name"] for c in weights.metadata["categories"]] == ["red", "green"]
    assert weights.metadata["recipe"]["optim"]["steps"] == 160
    assert weights.metadata["licence"] == "CC0-1.0"


def test_metrics_are_logged(trained):
    header, *rows = (trained.parent / "metrics/version_0/metrics.csv").read_text().splitlines()
    assert "val/AP50" in header
    assert "train/classification" in header
    assert len(rows) >= 8


def test_two_runs_of_a_recipe_are_equal(recipe, rectangles, tmp_path):
    steps = ("optim.steps=6", "validate_every=6")
    first = train(str(recipe), rectangles, tmp_path / "a", overrides=steps)
    second = train(str(recipe), rectangles, tmp_path / "b", overrides=steps)
    a, b = read_weights(first).tensors, read_weights(second).tensors
    assert all(torch.equal(a[key], b[key]) for key in a)


def test_a_run_goes_on_where_it_stopped(recipe, rectangles, tmp_path):
    out = tmp_path / "run"
    train(str(recipe), rectangles, out, overrides=("optim.steps=6", "validate_every=6"))
    with pytest.raises(FoveateError, match="--resume"):
        train(str(recipe), rectangles, out)
    train(str(recipe), rectangles, out, resume=True, overrides=("optim.steps=9",))
    checkpoint = torch.load(out / "last.ckpt", weights_only=False)
    assert checkpoint["global_step"] == 9


def test_weights_can_be_the_beginning(trained, recipe, rectangles, tmp_path):
    again = train(
        str(recipe),
        rectangles,
        tmp_path / "run",
        init=str(trained),
        overrides=("optim.steps=2", "optim.lr=1e-9"),
    )
    old, new = read_weights(trained).tensors, read_weights(again).tensors
    key = "head.classification_head.cls_logits.weight"
    torch.testing.assert_close(old[key], new[key], atol=1e-3, rtol=1e-3)


@pytest.mark.parametrize("backbone", ["biformer_pico", "biformer_nano"])
def test_the_same_recipe_runs_with_our_backbones(recipe, rectangles, tmp_path, backbone):
    path = train(
        str(recipe),
        rectangles,
        tmp_path / "run",
        overrides=(f"model.backbone={backbone}", "optim.steps=2", "validate_every=2"),
    )
    assert Detector.from_weights(str(path), device="cpu").config.backbone == backbone


def test_blending_stays_halfway(trained, recipe, rectangles, tmp_path):
    steps = ("optim.steps=3", "optim.lr=1e-2", "validate_every=3")
    whole = train(str(recipe), rectangles, tmp_path / "a", init=str(trained), overrides=steps)
    half = train(
        str(recipe), rectangles, tmp_path / "b", init=str(trained), overrides=(*steps, "blend=0.5")
    )
    key = "head.classification_head.cls_logits.weight"
    start, end, middle = (read_weights(p).tensors[key] for p in (trained, whole, half))
    assert not torch.allclose(start, end, atol=1e-3)
    torch.testing.assert_close(middle, (start + end) / 2, atol=1e-3, rtol=1e-2)
    with pytest.raises(FoveateError, match="--init"):
        train(str(recipe), rectangles, tmp_path / "c", overrides=("blend=0.5",))


def test_nothing_to_resume(recipe, rectangles, tmp_path):
    with pytest.raises(FoveateError, match="nothing to resume"):
        train(str(recipe), rectangles, tmp_path / "none", resume=True)


def test_data_that_is_not_there_is_named(recipe, tmp_path):
    with pytest.raises(FoveateError, match=r"train\.json"):
        train(str(recipe), tmp_path, tmp_path / "run")


def test_weights_of_another_shape_do_not_load(trained, recipe, rectangles, tmp_path):
    with pytest.raises(FoveateError, match="do not fit"):
        train(
            str(recipe),
            rectangles,
            tmp_path / "run",
            init=str(trained),
            overrides=("model.channels=64",),
        )


def test_the_detector_answers_as_documented(trained, rectangles):
    import cv2
    import numpy as np

    picture = np.full((90, 120, 3), 110, np.uint8)
    picture[20:60, 30:75] = (230, 20, 20)
    detector = Detector.from_weights(str(trained), device="cpu")
    (result,) = detector.predict([picture], threshold=0.2)
    assert result.objects[0].label == "red"
    np.testing.assert_allclose(result.objects[0].box, (30, 20, 75, 60), atol=8)
    batch = detector.predict([picture, cv2.resize(picture, (200, 100)), picture], threshold=0.2)
    assert [len(r.objects) > 0 for r in batch] == [True, True, True]
    assert (batch[1].width, batch[1].height) == (200, 100)
    assert batch[0].objects[0].score == pytest.approx(result.objects[0].score, abs=1e-3)
