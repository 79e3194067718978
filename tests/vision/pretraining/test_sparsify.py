"""A trained ViT becomes sparse, and the keys it chooses are judged."""

import json
from dataclasses import asdict

import pytest
import torch

from vision.catalogue import open_weights, read_weights, write_weights
from vision.errors import FoveateError
from vision.pretraining import choices, classify
from vision.pretraining.classify import ClassifierConfig, create_classifier
from vision.pretraining.data import ViewConfig
from vision.pretraining.sparsify import SparsifinerRecipe, create_sparse, train
from vision.recipes import load_recipe

RECIPE = """
name = "sparse"
seed = 1
train = "train.tar"
val = "val.tar"
epoch = 4
batch = 8
ema = 0.5
mixup = 0.2
licence = "CC0-1.0"
[model]
model = "sparsifiner_vit_tiny_patch16_112"
options = { img_size = 32, patch_size = 8, embed_dim = 48, depth = 2 }
[model.view]
size = [32, 32]
[[stages]]
epochs = 2
trains = "predictor"
lr = 1e-2
final_lr = 1e-3
warmup_epochs = 1
weights = { cls = 0.0, cls_distill = 0.0, token_distill = 0.0, attn_recon = 0.01 }
[[stages]]
epochs = 1
trains = "backbone"
lr = 1e-3
final_lr = 1e-4
warmup_epochs = 0
weights = { cls = 1.0, cls_distill = 0.5, token_distill = 0.5 }
"""


@pytest.fixture(scope="module")
def recipe(pictures):
    path = pictures / "sparse.toml"
    path.write_text(RECIPE)
    return str(path)


@pytest.fixture(scope="module")
def dense(recipe, tmp_path_factory):
    """A dense ViT's weights, of the size that the recipe makes sparse."""
    config = load_recipe(SparsifinerRecipe, recipe).model
    config = ClassifierConfig("vit_tiny_d8_patch16_112", config.view, {**config.options})
    torch.manual_seed(0)
    model = create_classifier(config, 2)
    path = tmp_path_factory.mktemp("dense") / "dense.safetensors"
    metadata = {"task": "classification", "config": asdict(config), "classes": ["lined", "plain"]}
    write_weights(path, model.state_dict(), metadata)
    return path


@pytest.fixture(scope="module")
def sparse(recipe, dense, pictures, tmp_path_factory):
    return train(recipe, pictures, tmp_path_factory.mktemp("sparse"), init=str(dense))


def test_stages_train_what_they_say(sparse, dense, recipe):
    before, after = (read_weights(path).tensors for path in (dense, sparse))
    begun = torch.load(sparse.parent / "stage0/last.ckpt", weights_only=True)["state_dict"]
    for name, tensor in before.items():
        torch.testing.assert_close(begun[f"model.{name}"], tensor, rtol=1e-3, atol=1e-3)
    assert not torch.allclose(after["blocks.0.attn.qkv.weight"], before["blocks.0.attn.qkv.weight"])
    predictor = "blocks.1.attn.mask_predictor.proj_n"
    assert predictor not in before
    torch.testing.assert_close(after[predictor], begun[f"model.{predictor}"], rtol=0.1, atol=0.02)


def test_it_is_a_classifier(sparse, pictures):
    assert read_weights(sparse).metadata["recipe"]["stages"][0]["trains"] == "predictor"
    report = classify.evaluate(str(sparse), images=pictures / "val.tar")
    assert report["images"] == 10
    model, _, classes = classify.load_classifier(str(sparse))
    assert type(model).__name__ == "Sparsifiner"
    assert classes == ["lined", "plain"]


def test_a_finished_run_resumes_to_the_same_weights(sparse, recipe, dense, pictures):
    before = read_weights(sparse).tensors
    again = train(recipe, pictures, sparse.parent, init=str(dense), resume=True)
    after = read_weights(again).tensors
    assert all(torch.equal(before[name], after[name]) for name in before)


def test_choices_are_judged(sparse, pictures):
    report = choices.evaluate(str(sparse), images=pictures / "val.tar", query_block=4, key_block=4)
    json.dumps(report)
    assert (report["images"], report["tokens"], report["keep_rate"]) == (10, 17, 0.25)
    assert report["top1"].keys() == {"dense", "csr", "block"}
    found = report["choices"]
    assert found["oracle"]["recall"] == pytest.approx(1.0)
    assert found["oracle"]["kept"] == pytest.approx(5 / 17)
    for name in ("predicted", "local", "random"):
        assert found[name]["mass"] <= found["oracle"]["mass"] + 1e-6
        assert 0.25 < found[f"{name} block"]["kept"] < 0.5
    assert found["random"]["recall"] == pytest.approx(5 / 17, abs=0.05)
    choices.print_report(report)


def test_choices_at_another_size(sparse, pictures):
    report = choices.evaluate(str(sparse), images=pictures / "val.tar", size=48)
    assert report["tokens"] == 37


def test_mistakes_are_named(recipe, dense, pictures, tmp_path):
    with pytest.raises(FoveateError, match="--init"):
        train(recipe, pictures, tmp_path)
    weights = open_weights(str(dense), task="classification")
    with pytest.raises(FoveateError, match="no Sparsifiner"):
        create_sparse(weights.config(ClassifierConfig), weights)
    with pytest.raises(FoveateError, match="no Sparsifiner"):
        choices.evaluate(str(dense), images=pictures / "val.tar")
    other = ClassifierConfig("sparsifiner_vit_tiny_patch16_112", ViewConfig((112, 112)))
    with pytest.raises(FoveateError, match="does not fit"):
        create_sparse(other, weights)
    renamed = tmp_path / "renamed.safetensors"
    write_weights(renamed, weights.tensors, {**weights.metadata, "classes": ["a", "b"]})
    with pytest.raises(FoveateError, match="has not the classes"):
        train(recipe, pictures, tmp_path / "out", init=str(renamed))


def test_the_shipped_recipe_names_its_model():
    recipe = load_recipe(SparsifinerRecipe, "sparsifiner-imagenette")
    assert [stage.trains for stage in recipe.stages] == ["predictor", "backbone"]
    assert recipe.optim(recipe.stages[1]).steps == recipe.stages[1].epochs * recipe.epoch
    assert type(create_classifier(recipe.model, 10)).__name__ == "Sparsifiner"
