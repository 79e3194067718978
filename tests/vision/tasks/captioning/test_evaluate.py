"""`foveate eval captioning` on squares, and its parts."""

import json

import pytest
from rich.console import Console

from vision.errors import FoveateError
from vision.tasks.captioning.baselines import consensus, nearest_captions
from vision.tasks.captioning.evaluate import evaluate, grounded_sentences
from vision.tasks.captioning.report import print_report

torch = pytest.importorskip("torch")


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
    assert set(rows) == {"captioner", "nearest pictures", "one for all"}
    assert rows["captioner"]["scores"]["CIDEr"] > rows["one for all"]["scores"]["CIDEr"]
    for row in rows.values():
        low, high = row["intervals"]["CIDEr"]
        assert low <= row["scores"]["CIDEr"] <= high
    assert report["images"] == 6


def test_grounding_is_reported_for_attention_and_for_what_is_returned(report):
    assert set(report["grounding"]) == {"attention", "returned"}
    for scores in report["grounding"].values():
        assert 0 <= scores["all"]["f1"] <= scores["loc"]["f1"] <= 1


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


def test_files_without_captions_are_refused(squares, trained, tmp_path):
    truth = json.loads((squares / "val.json").read_text())
    for change in ({"captions": []}, None):
        content = {k: v for k, v in truth.items() if k != "captions"} | (change or {})
        path = tmp_path / "bare.json"
        path.write_text(json.dumps(content))
        with pytest.raises(FoveateError, match=r"bare\.json"):
            evaluate(str(trained), annotations=path, images=squares / "val.tar", device="cpu")


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
