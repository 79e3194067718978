"""Training data, recipes and runs."""

import gzip
import json
from dataclasses import replace

import numpy as np
import pytest
import torch

from vision.catalogue import read_weights
from vision.errors import FoveateError
from vision.recipes import load_recipe
from vision.tasks.captioning.data import CaptionDataset, collate, named_classes, read_text
from vision.tasks.captioning.imagination import Imagination, Picture
from vision.tasks.captioning.release import average
from vision.tasks.captioning.train import CaptioningRecipe, Corpus, train
from vision.tasks.captioning.views import View, join
from vision.tasks.captioning.vocabulary import Vocabulary, tokenise

RECIPES = ["captioning-text", "captioning-pictures", "captioning-cyclical", "captioning-grounded"]


def view(regions: int, seed: int = 0) -> View:
    generator = torch.Generator().manual_seed(seed)
    rows = [torch.rand(n, 5, generator=generator) for n in (1, 4, regions, regions)]
    labels = torch.ones(regions, dtype=torch.long)
    return View(rows[0][0], rows[1], rows[2], rows[3], labels, torch.rand(regions))


def picture(identity: int, classes: list[int]) -> Picture:
    seen = view(len(classes), identity)
    numbers = torch.tensor(classes)
    return Picture(identity, seen, seen, numbers, numbers)


@pytest.fixture(scope="module")
def dataset():
    vocabulary = Vocabulary(["a", "dog", "cat", "sits"])
    captions = {
        1: [["a", "dog"], ["a", "dog", "sits"]],
        2: [["a", "cat"]],
        7: [["a", "cat", "sits"], ["dog"]],
    }
    return CaptionDataset(
        [picture(1, [1, 1]), picture(2, [2])],
        captions,
        vocabulary,
        {"dog": 1, "cat": 2},
        classes=2,
        caption_length=5,
        share=0.5,
        batch=8,
        length=160,
        seed=3,
    )


def test_words_are_numbers_and_back():
    vocabulary = Vocabulary.count([["a", "dog"], ["a", "cat"], ["a"]], 1)
    assert vocabulary.words == ["a", "cat", "dog"]
    numbers = vocabulary.encode(["a", "unicorn"], 4)
    assert numbers == [1, vocabulary.unknown, 0, 0]
    assert vocabulary.decode(numbers) == ["a", "UNK"]
    assert len(vocabulary) == 5
    assert tokenise("A man's dog, 2 cats.") == ["a", "man's", "dog", "2", "cats"]


def test_samples_are_a_function_of_seed_and_index(dataset):
    for i in (0, 5, 17):
        one, other = dataset[i], dataset[i]
        assert torch.equal(one.caption, other.caption)
        assert torch.equal(one.view.regions, other.view.regions)
    assert len({tuple(dataset[i].caption.tolist()) for i in range(60)}) > 3


def test_captions_of_a_batch_have_one_length(dataset):
    for start in range(0, 160, 8):
        lengths = {int((dataset[start + i].caption > 0).sum()) for i in range(8)}
        assert len(lengths) == 1


def test_words_that_name_a_class_point_at_its_regions(dataset):
    named = 0
    for sample in dataset:
        for word, row in zip(sample.caption.tolist(), sample.positive, strict=True):
            label = {2: 1, 3: 2}.get(word, 0)
            expected = (sample.targets == label) & (label > 0)
            assert torch.equal(row, expected)
            named += int(row.any())
    assert named > 50


def test_made_up_pictures_show_what_is_asked_for():
    imagine = Imagination([picture(1, [1, 1]), picture(2, [2])], 2)
    for seed in range(20):
        seen, labels = imagine([2], np.random.default_rng(seed))
        assert 2 in labels
        assert len(labels) == len(seen.regions) == len(seen.boxes)
    nothing, labels = imagine([], np.random.default_rng(1))
    assert (nothing.overall == 0).all()
    assert len(labels) == len(nothing.regions)


def test_a_batch_is_padded_to_the_most_regions(dataset):
    batch = collate([dataset[i] for i in range(8)])
    counts = (~batch.inputs.hidden).sum(1)
    assert batch.inputs.regions.shape[1] == max(1, int(counts.max()))
    assert (batch.captions[:, -1] == 0).all()
    assert batch.positive.shape == (*batch.captions.shape, batch.targets.shape[1])
    empty = join([view(0)])
    assert empty.hidden.all()


def test_training_says_what_it_made(trained):
    metadata = read_weights(trained).metadata
    assert metadata["task"] == "captioning"
    assert metadata["named"] == {"red": "red", "green": "green"}
    assert metadata["classes"] == ["red", "green"]
    assert set(metadata["words"]) >= {"red", "green", "square"}
    assert metadata["config"]["words"] == len(metadata["words"]) + 2


def test_it_goes_on_from_weights_and_keeps_their_words(squares, trained, tmp_path, monkeypatch):
    monkeypatch.setenv("FOVEATE_CACHE", str(tmp_path))
    text = json.loads((squares / "train.json").read_text())
    assert text["captions"]
    path = train(
        str(squares / "tiny.toml"),
        squares,
        tmp_path / "run",
        init=str(trained),
        overrides=["optim.steps=1", "optim.lr=0.0", "optim.ema=0.0", "least=2"],
    )
    before, after = read_weights(trained), read_weights(path)
    assert after.metadata["words"] == before.metadata["words"]
    for name, tensor in before.tensors.items():
        assert torch.allclose(after.tensors[name], tensor, atol=1e-3), name


def test_one_recipe_gives_the_same_weights_twice(squares, tmp_path, monkeypatch):
    monkeypatch.setenv("FOVEATE_CACHE", str(tmp_path))
    first, second = (
        read_weights(
            train(str(squares / "tiny.toml"), squares, tmp_path / run, overrides=["optim.steps=3"])
        ).tensors
        for run in ("a", "b")
    )
    assert all(torch.equal(first[name], second[name]) for name in first)


def test_features_are_looked_up_once(squares, tmp_path, monkeypatch):
    monkeypatch.setenv("FOVEATE_CACHE", str(tmp_path))
    recipe = load_recipe(CaptioningRecipe, str(squares / "tiny.toml"))
    first = Corpus(recipe, squares).val_pictures()
    monkeypatch.setattr(
        "vision.tasks.captioning.views.RegionExtractor",
        lambda *_: pytest.fail("looked at pictures again"),
    )
    second = Corpus(recipe, squares).val_pictures()
    assert len(list((tmp_path / "captioning").iterdir())) == 2
    for one, other in zip(first, second, strict=True):
        assert torch.equal(one.found.overall, other.found.overall)
        assert torch.equal(one.true.boxes, other.true.boxes)


@pytest.mark.parametrize("name", RECIPES)
def test_shipped_recipes_can_be_read(name):
    recipe = load_recipe(CaptioningRecipe, name)
    assert (recipe.losses.reconstruct > 0) is (name == "captioning-cyclical")


def test_the_two_recipes_differ_in_the_cycle_alone():
    plain, cyclical = (load_recipe(CaptioningRecipe, name) for name in RECIPES[1:3])
    assert plain.optim == cyclical.optim
    assert plain.model == cyclical.model
    assert plain.share == cyclical.share


def test_captions_that_are_none_are_refused(tmp_path):
    with pytest.raises(FoveateError, match="no such file"):
        read_text(tmp_path / "none.json")
    path = tmp_path / "text.json"
    for content in ("[1]", "{", '{"x": ["a"]}', '{"1": 3}'):
        path.write_text(content)
        with pytest.raises(FoveateError, match=r"text\.json"):
            read_text(path)
    packed = tmp_path / "text.json.gz"
    whole = gzip.compress(b'{"1": ["a"]}')
    for torn in (whole[:-12], whole[:12] + b"?" * 8, b"no gzip"):
        packed.write_bytes(torn)
        with pytest.raises(FoveateError, match=r"text\.json\.gz"):
            read_text(packed)


@pytest.mark.parametrize("content", ["[]", '{"dog": "animal"}', '{"dog": [1]}'])
def test_names_that_are_none_are_refused(tmp_path, content):
    path = tmp_path / "names.json"
    path.write_text(content)
    with pytest.raises(FoveateError, match=r"names\.json"):
        named_classes(path, [{"id": 1, "name": "dog"}])


def test_trainings_that_began_alike_are_averaged(trained):
    weights = read_weights(trained)
    tensors = {name: tensor + 2 for name, tensor in weights.tensors.items()}
    middle = average([weights, replace(weights, tensors=tensors)])
    for name, tensor in weights.tensors.items():
        assert torch.allclose(middle[name], tensor + 1, atol=1e-5)
    strange = replace(weights, metadata={**weights.metadata, "words": []})
    with pytest.raises(FoveateError, match="same words"):
        average([weights, strange])
