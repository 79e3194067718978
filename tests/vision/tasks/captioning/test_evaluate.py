"""`foveate eval captioning` on squares, and its parts."""

import json

import pytest
import torch
from rich.console import Console

from vision.errors import FoveateError
from vision.tasks.captioning.annotated import grounded_sentences, read_annotated
from vision.tasks.captioning.baselines import consensus, nearest_captions
from vision.tasks.captioning.evaluate import evaluate
from vision.tasks.captioning.report import print_report


@pytest.fixture(scope="module")
def report(squares, trained):
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("shutil.which", lambda _: None)  # METEOR takes seconds to start
        return evaluate(
            str(trained),
            annotations=squares / "val.json",
            images=squares / "val.tar",
            train_annotations=squares / "train.json",
            train_images=squares / "train.tar",
            bootstrap=50,
            device="cpu",
        )


def test_a_captioner_that_knows_the_pictures_beats_one_caption_for_all(report):
    rows = report["captions"]
    assert set(rows) == {"captioner", "nearest pictures", "one for all", "one person"}
    assert rows["captioner"]["scores"]["CIDEr"] > rows["one for all"]["scores"]["CIDEr"]
    assert rows["one person"]["intervals"] == {}  # of a mean over people
    for row in rows.values():
        if row["intervals"]:
            low, high = row["intervals"]["CIDEr"]
            assert low <= row["scores"]["CIDEr"] <= high
    assert report["images"] == 6


def test_grounding_is_reported_beside_a_detector_and_chance(report):
    assert set(report["grounding"]) == {"returned", "attention", "detector", "chance"}
    for scores in report["grounding"].values():
        assert 0 <= scores["all"]["f1"] <= scores["loc"]["f1"] <= 1


def test_training_captions_need_their_pictures(squares, trained):
    files = {"annotations": squares / "val.json", "images": squares / "val.tar"}
    with pytest.raises(FoveateError, match="--train-images together"):
        evaluate(str(trained), **files, train_annotations=squares / "train.json")


def test_it_is_json_and_prints(report):
    assert json.loads(json.dumps(report))["images"] == 6
    console = Console(record=True, width=200)
    print_report(report, console)
    text = console.export_text()
    assert "CIDEr" in text
    assert "nearest pictures" in text
    assert "Grounding" in text


def test_words_are_tied_to_every_box_of_their_category(squares):
    truth = json.loads((squares / "val.json").read_text())
    truth["annotations"].append({**truth["annotations"][0], "id": 99, "bbox": [0, 0, 5, 5]})
    sentences = grounded_sentences(truth)[truth["annotations"][0]["image_id"]]
    assert [len(s.boxes) for s in sentences] == [2, 2]
    assert all(s.words == [1, 1] for s in sentences)
    assert sentences[0].tokens[1] == sentences[0].labels[0]


@pytest.mark.parametrize(
    "change",
    [
        lambda truth: truth.pop("captions"),
        lambda truth: truth.pop("categories"),
        lambda truth: truth.update(captions=[]),
        lambda truth: truth.update(captions=3),
        lambda truth: truth.update(images=[{"id": i["id"]} for i in truth["images"]]),
        lambda truth: truth["captions"][0].pop("caption"),
        lambda truth: truth["captions"][0].update(caption=None),
        lambda truth: [c.update(caption=" ") for c in truth["captions"]],
        lambda truth: truth["captions"][0].update(grounding=[{"index": 1}]),
        lambda truth: truth["annotations"][0].update(bbox=[1, 2, 3]),
        lambda truth: truth["annotations"][0].update(bbox=None),
    ],
)
def test_files_without_captions_are_refused(squares, tmp_path, change):
    truth = json.loads((squares / "val.json").read_text())
    change(truth)
    path = tmp_path / "bare.json"
    path.write_text(json.dumps(truth))
    with pytest.raises(FoveateError, match=r"bare\.json") as refusal:
        read_annotated(path, squares / "val.tar")
    assert "\n" not in str(refusal.value)


def test_captions_of_unknown_pictures_are_left_out(squares, tmp_path):
    truth = json.loads((squares / "val.json").read_text())
    first = truth["images"].pop(0)["id"]
    (tmp_path / "fewer.json").write_text(json.dumps(truth))
    found = read_annotated(tmp_path / "fewer.json", squares / "val.tar")
    assert len(found.pictures) == 5
    assert first not in found.references
    assert first not in found.sentences


def test_the_consensus_shares_most_with_the_others():
    captions = ["a man on a horse", "a man riding a horse", "a man on a brown horse", "pizza"]
    assert consensus(captions) in captions[:3]
    assert consensus(["alone"]) == "alone"


def test_similar_pictures_lend_their_captions():
    known = torch.eye(3)
    said = nearest_captions(
        torch.tensor([[0.1, 0.9, 0.0]]), known, [["a cat"], ["a dog"], ["a bus"]], neighbours=1
    )
    assert said == ["a dog"]
