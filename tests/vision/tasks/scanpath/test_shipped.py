"""The weights that ship, on pictures that no training saw, and the command over them."""

import csv
import json
import shutil
from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from typer.testing import CliRunner

from video.cli import app
from vision.tasks.scanpath.evaluate import evaluate, look_and_score
from vision.tasks.scanpath.predict import Looker
from vision.tasks.scanpath.records import read_scanpaths

DATA = Path(__file__).parents[3] / "data" / "scanpath"


@pytest.fixture(scope="module")
def shipped() -> Looker:
    return Looker.from_weights()


def test_it_beats_habits_saliency_and_chance():
    report = evaluate(None, data=DATA / "osie.json", samples=4)
    scores = {name: row["ScanMatch with time"] for name, row in report["rows"].items()}
    ours = scores.pop("model")
    assert ours > 0.25
    assert scores.pop("another viewer") > max(scores.values())
    assert all(ours > other + 0.03 for other in scores.values())
    assert report["likelihood"]["nats"] < 3.8
    assert report["likelihood"]["bits"] > 1


def test_viewers_may_be_few_and_without_durations(tmp_path):
    data = json.loads((DATA / "osie.json").read_text())
    for one in data["images"]:
        one["scanpaths"] = one["scanpaths"][:1]
    for fixation in data["images"][0]["scanpaths"][0]["fixations"]:
        fixation["duration"] = None
    file = tmp_path / "few.json"
    file.write_text(json.dumps(data))
    rows = evaluate(None, data=file, images=DATA, samples=2)["rows"]
    assert rows["another viewer"] == {}  # nobody to compare with
    assert 0 < rows["model"]["ScanMatch with time"] < 1  # of the pictures that have durations


def test_viewers_of_another_picture_are_less_likely(shipped):
    viewed = read_scanpaths(DATA / "osie.json")
    right = look_and_score(shipped, viewed, DATA, 1, 0, 1.0)[2]
    for one, image in zip(viewed, [v.image for v in viewed[1:] + viewed[:1]], strict=True):
        one.image = image
    wrong = look_and_score(shipped, viewed, DATA, 1, 0, 1.0)[2]
    assert right["nats"] + 0.5 < wrong["nats"]


def test_a_mirror_image_is_looked_at_alike(shipped):
    image = np.array(Image.open(DATA / "1110.jpg"))
    one, other = shipped.predict([image, np.ascontiguousarray(image[:, ::-1])], samples=40)
    x, mirrored = (
        np.mean([f.x for path in result.paths for f in path.fixations]) for result in (one, other)
    )
    assert mirrored == pytest.approx(400 - x, abs=40)


def test_a_label_ends_the_search_where_it_is_found(shipped):
    image = np.array(Image.open(DATA / "1110.jpg"))
    (free,) = shipped.predict([image], samples=20)
    (search,) = shipped.predict([image], target="person", samples=20)
    assert any(seen.target for seen in search.objects)
    lengths = [np.mean([len(path.fixations) for path in result.paths]) for result in (search, free)]
    assert lengths[0] < lengths[1] / 2
    ends = [search.objects[path.fixations[-1].object].target for path in search.paths]
    assert np.mean(ends) > 0.6


def test_the_command_writes_everything_and_names_mistakes(tmp_path):
    (tmp_path / "in").mkdir()
    for name in ("1102.jpg", "1111.jpg"):
        shutil.copy(DATA / name, tmp_path / "in")

    def look(*arguments):
        command = ["look", str(tmp_path / "in"), "-o", str(tmp_path / "out"), *arguments]
        return CliRunner().invoke(app, command)

    done = look("--samples", "2", "--animation", "mp4", "--heatmap")
    assert done.exit_code == 0, done.output
    names = {path.name for path in (tmp_path / "out").iterdir()}
    assert names >= {
        "in.jsonl",
        "in-scanpaths.csv",
        "in-scanpaths.json",
        *(f"in-{n}-{end}" for n in (1102, 1111) for end in ("scanpath.mp4", "heat.png")),
    }
    with (tmp_path / "out" / "in-scanpaths.csv").open() as file:
        assert {row["picture"] for row in csv.DictReader(file)} == {"1102", "1111"}
    lines = (tmp_path / "out" / "in.jsonl").read_text().splitlines()
    assert len(json.loads(lines[1])["result"]["paths"]) == 2
    wrong = look("--target", "persn")
    assert wrong.exit_code == 2
    assert "did you mean 'person'" in " ".join(wrong.output.split())
