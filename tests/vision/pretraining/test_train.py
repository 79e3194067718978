"""Pretraining, fine-tuning, measuring and showing, from recipe to picture."""

import json
import sys
from dataclasses import replace

import cv2
import numpy as np
import pytest
import torch
from timm.models.vision_transformer import VisionTransformer

from video.cli import main
from vision.catalogue import read_weights
from vision.errors import FoveateError
from vision.pretraining import classify, evaluate, finetune
from vision.pretraining.finetune import FinetuneRecipe
from vision.pretraining.train import DropPosModule, DropPosRecipe, train
from vision.recipes import load_recipe

from .conftest import draw


@pytest.fixture(scope="module")
def pretrained(pictures, tmp_path_factory):
    return train(str(pictures / "droppos.toml"), pictures, tmp_path_factory.mktemp("pretrained"))


@pytest.fixture(scope="module")
def classifier(pictures, pretrained, tmp_path_factory):
    out = tmp_path_factory.mktemp("classifier")
    return finetune.train(str(pictures / "finetune.toml"), pictures, out, init=str(pretrained))


@pytest.fixture
def foveate(monkeypatch, capsys):
    """Run a command; gives exit code, standard output and standard error."""

    def run(*arguments):
        monkeypatch.setattr(sys, "argv", ["foveate", *map(str, arguments)])
        code = 0
        try:
            main()
        except SystemExit as stop:
            code = stop.code or 0
        return code, *capsys.readouterr()

    return run


def test_positions_are_found_far_above_chance(pretrained, pictures):
    report = evaluate.evaluate(str(pretrained), images=pictures / "val.tar")
    assert report["accuracy"] > 4 * report["chance"]
    assert report["accuracy assigned"] >= report["accuracy"] - 0.05
    assert report["distance"] < 0.5 * report["constant distance"]
    assert report["images"] == 10


def test_figures_are_logged(pretrained):
    text = (pretrained.parent / "metrics/version_0/metrics.csv").read_text()
    header = text.splitlines()[0]
    for name in ("accuracy", "accuracy weighted", "accuracy assigned", "chance"):
        assert f"val/{name}" in header
    assert "val/constant accuracy" in header
    assert "train/loss" in header


def test_weights_name_all_that_made_them(pretrained, classifier):
    weights = read_weights(pretrained)
    assert weights.metadata["task"] == "droppos"
    assert weights.metadata["recipe"]["optim"]["steps"] == 120
    assert read_weights(classifier).metadata["classes"] == ["lined", "plain"]


def test_a_pretrained_backbone_becomes_a_classifier(classifier, pretrained, pictures):
    report = classify.evaluate(str(classifier), images=pictures / "val.tar")
    assert report["top1"] >= 0.9
    assert report["per_class"].keys() == {"lined", "plain"}
    assert report["top5"] is None
    assert report["images_per_second"] > 0
    model, *_ = classify.load_classifier(str(classifier))
    assert isinstance(model, VisionTransformer)


def test_fine_tuning_begins_with_the_pretrained_weights(pretrained, pictures, tmp_path):
    path = finetune.train(
        str(pictures / "finetune.toml"),
        pictures,
        tmp_path,
        init=str(pretrained),
        overrides=("optim.steps=2", "optim.lr=1e-9", "validate_every=2", "frozen_positions=true"),
    )
    old, new = read_weights(pretrained).tensors, read_weights(path).tensors
    for name in ("pos_embed", "blocks.1.mlp.fc1.weight"):
        torch.testing.assert_close(new[name], old[f"encoder.{name}"], atol=1e-3, rtol=1e-3)
    assert new["head.weight"].abs().max() < 1e-3


def test_a_pyramid_pretrains_and_classifies(pictures, tmp_path):
    path = train(
        str(pictures / "droppos.toml"),
        pictures,
        tmp_path / "a",
        overrides=(
            *("model.encoder=biformer_pico", "model.options={}", "model.region=32"),
            *("model.view.size=[64, 96]", "optim.steps=2", "optim.batch=4", "validate_every=2"),
        ),
    )
    assert evaluate.evaluate(str(path), images=pictures / "val.tar")["chance"] == 1 / 6
    path = finetune.train(
        str(pictures / "finetune.toml"),
        pictures,
        tmp_path / "b",
        init=str(path),
        overrides=(
            *("model.model=biformer_pico", "model.options={}", "mixup=0.8", "cutmix=1.0"),
            *("model.view.size=[64, 64]", "optim.steps=2", "optim.batch=4", "validate_every=2"),
        ),
    )
    assert classify.evaluate(str(path), images=pictures / "val.tar")["images"] == 10


def test_two_runs_are_equal_and_go_on(pictures, tmp_path):
    steps = ("optim.steps=4", "validate_every=4")
    recipe = str(pictures / "droppos.toml")
    first, second = (train(recipe, pictures, tmp_path / n, overrides=steps) for n in "ab")
    a, b = read_weights(first).tensors, read_weights(second).tensors
    assert all(torch.equal(a[name], b[name]) for name in a)
    train(recipe, pictures, tmp_path / "a", resume=True, overrides=("optim.steps=6",))
    assert torch.load(tmp_path / "a/last.ckpt", weights_only=False)["global_step"] == 6
    with pytest.raises(FoveateError, match="--resume"):
        train(recipe, pictures, tmp_path / "a")


def test_official_gradients_are_clipped_one_by_one(pictures):
    recipe = load_recipe(
        DropPosRecipe, str(pictures / "droppos.toml"), ("model.pretext.official=true",)
    )
    module = DropPosModule(recipe)
    for parameter in module.parameters():
        parameter.grad = torch.ones_like(parameter)
    module.configure_gradient_clipping(torch.optim.SGD(module.parameters()), 0.5)
    norms = [p.grad.norm() for p in module.parameters()]
    torch.testing.assert_close(torch.stack(norms), torch.full((len(norms),), 0.5))


def test_a_step_without_anything_to_learn_is_skipped(pictures):
    for ignoring in (True, False):
        recipe = load_recipe(
            DropPosRecipe,
            str(pictures / "droppos.toml"),
            (f"model.pretext.conf_ignore={str(ignoring).lower()}",),
        )
        module = DropPosModule(recipe)
        images = torch.randn(2, 3, 32, 32)
        found = module.model(images, module.model.smoothing(0.0))
        nothing = replace(found, loss=found.loss * torch.nan, weight=torch.zeros(2, 12))
        module.model.forward = lambda *_, nothing=nothing: nothing
        if ignoring:
            assert module.training_step((images, images), 0) is None
        else:
            with pytest.raises(RuntimeError, match="not finite"):
                module.training_step((images, images), 0)


def test_a_student_learns_from_its_teacher_alone(classifier, pictures, tmp_path):
    path = finetune.train(
        str(pictures / "finetune.toml"),
        pictures,
        tmp_path,
        overrides=(f"teacher.weights={classifier}", "teacher.weight=1.0", "name=student"),
    )
    weights = read_weights(path)
    assert weights.tensors.keys() == read_weights(classifier).tensors.keys()
    assert weights.metadata["recipe"]["teacher"]["weight"] == 1.0
    assert classify.evaluate(str(path), images=pictures / "val.tar")["top1"] >= 0.9


@pytest.mark.parametrize("temperature", [1.0, 3.0])
def test_loss_of_a_teacher(classifier, pictures, temperature):
    overrides = [f"teacher.weights={classifier}", "teacher.weight=0.25"]
    overrides.append(f"teacher.temperature={temperature}")
    recipe = load_recipe(FinetuneRecipe, str(pictures / "finetune.toml"), overrides)
    module = finetune.FinetuneModule(recipe, ["lined", "plain"])
    images, labels = torch.randn(4, 3, 32, 32), torch.tensor([0, 1, 1, 0])
    ours, theirs = (m(images) / temperature for m in (module.model, module.teacher[0]))
    divergence = (theirs.softmax(1) * (theirs.log_softmax(1) - ours.log_softmax(1))).sum(1).mean()
    hard = torch.nn.functional.cross_entropy(ours * temperature, labels, label_smoothing=0.1)
    expected = 0.75 * hard + 0.25 * temperature**2 * divergence
    module.log = lambda *_: None
    torch.testing.assert_close(module.training_step((images, labels), 0), expected)
    with pytest.raises(FoveateError, match="does not know the classes"):
        finetune.FinetuneModule(recipe, ["one", "other"])


def test_layers_below_learn_more_slowly(pictures):
    recipe = load_recipe(FinetuneRecipe, str(pictures / "finetune.toml"), ("optim.warmup=0",))
    module = finetune.FinetuneModule(recipe, ["a", "b"])
    groups = module.configure_optimizers()["optimizer"].param_groups
    rates = {}
    names = {id(p): n for n, p in module.model.named_parameters()}
    for group in groups:
        rates |= {names[id(p)]: group["initial_lr"] for p in group["params"]}
    # DropPos counts the embedding as layer 0, the blocks from 1, the head as depth + 1.
    for name, layer in (("pos_embed", 0), ("blocks.0.mlp.fc1.weight", 1), ("head.weight", 3)):
        assert rates[name] == pytest.approx(2e-3 * 0.75 ** (3 - layer))


def test_commands_measure_and_show(foveate, pretrained, classifier, pictures, tmp_path):
    images = pictures / "val.tar"
    code, out, err = foveate("eval", "droppos", "--weights", pretrained, "--images", images)
    assert (code, err) == (0, "")
    assert "exact, one cell a patch" in out
    code, out, _ = foveate(
        "eval", "classification", "--weights", classifier, "--images", images, "--json"
    )
    assert code == 0
    assert json.loads(out)["top1"] >= 0.9
    picture = draw(np.random.default_rng(9), False)
    cv2.imwrite(str(tmp_path / "one.png"), picture[:, :, ::-1])
    code, out, err = foveate(
        "droppos-show", tmp_path / "one.png", "--weights", pretrained, "-o", tmp_path / "out"
    )
    assert (code, err) == (0, "")
    assert "of 9 patches found" in out
    shown = cv2.imread(str(tmp_path / "out/one-droppos.png"))
    height = shown.shape[0] - 28
    assert shown.shape[1] == 3 * height + 16
    assert foveate("droppos-show", tmp_path / "none.png", "--weights", pretrained)[0] == 2


def test_commands_train(foveate, pictures, tmp_path):
    code, _, err = foveate(
        *("train", "classification", "--recipe", pictures / "finetune.toml", "--data", pictures),
        *("--out", tmp_path, "--set", "optim.steps=1", "--set", "validate_every=1"),
    )
    assert code == 0, err
    assert (tmp_path / "classes.safetensors").is_file()
    code, _, err = foveate(
        *("train", "droppos", "--recipe", "droppos-imagenette", "--data", tmp_path),
        *("--out", tmp_path / "b"),
    )
    assert code == 2
    assert "train.tar" in err


@pytest.mark.parametrize("name", ["droppos-imagenette", "droppos-biformer-imagenette"])
def test_shipped_pretraining_recipes(name):
    recipe = load_recipe(DropPosRecipe, name)
    assert recipe.optim.shape == "cosine"
    module = DropPosModule(recipe)
    side = recipe.model.view.size[0]
    found = module.model(torch.randn(2, 3, side, side), module.model.smoothing(recipe.sigma))
    assert torch.isfinite(found.loss)


def test_the_pretrained_backbone_fits_the_classifier():
    recipe, pretraining = (
        load_recipe(kind, name)
        for kind, name in (
            (FinetuneRecipe, "imagenette-vit"),
            (DropPosRecipe, "droppos-imagenette"),
        )
    )
    init = DropPosModule(pretraining).model.state_dict()
    model = finetune.FinetuneModule(recipe, ["class"] * 10, init).model
    for name in ("cls_token", "patch_embed.proj.weight", "blocks.7.mlp.fc2.weight"):
        assert torch.equal(model.get_parameter(name), init[f"encoder.{name}"])


def test_weights_of_another_task_are_refused(classifier, pictures):
    with pytest.raises(FoveateError, match="for classification"):
        evaluate.evaluate(str(classifier), images=pictures / "val.tar")
