"""Captions of real sources by the pipeline: pictures of every kind, and video."""

import json

import av
import cv2
import numpy as np
import pytest
from PIL import Image

from video.frames import Selection
from video.pipeline import run
from video.records import results
from video.sources import expand
from vision.tasks.captioning.task import TASK


def caption(source, output, captioner, **settings):
    (found,) = expand([str(source)])
    return run(
        found,
        predictor=captioner,
        draw=TASK.load("draw"),
        files=TASK.load("files"),
        output=output,
        task=TASK.name,
        **settings,
    )


@pytest.fixture
def album(tmp_path):
    """Pictures of every kind a camera roll may hold."""
    folder = tmp_path / "album"
    folder.mkdir()
    rng = np.random.default_rng(0)
    pixels = rng.integers(0, 255, (120, 160, 4)).astype(np.uint8)
    Image.fromarray(pixels[..., 0]).save(folder / "grey.png")
    Image.fromarray(pixels).save(folder / "alpha.png")
    Image.fromarray(pixels, mode="CMYK").save(folder / "cmyk.jpg")
    Image.fromarray(pixels[:1, :1, :3]).save(folder / "pixel.png")
    Image.fromarray(np.zeros((4000, 6000, 3), np.uint8)).save(folder / "huge.jpg")
    (folder / "broken.jpg").write_bytes(b"not a picture")
    return folder


def test_pictures_of_every_kind_get_a_caption_and_junk_a_note(album, tmp_path, captioner):
    report = caption(album, tmp_path / "out", captioner)
    found = list(results(report.records, TASK.load("result")))
    assert len(found) == 5
    assert all(r.caption for r in found)
    assert sorted((r.width, r.height) for r in found)[0] == (1, 1)
    assert any("broken" in note for note in report.notes)
    (coco,) = report.files
    assert {e["image_id"] for e in json.loads(coco.read_text())} == {
        "grey",
        "alpha",
        "cmyk",
        "pixel",
        "huge",
    }
    painted = cv2.imread(str(report.painted / "grey.png"))
    assert painted.shape == (120, 160, 3)


def test_a_video_gets_subtitles_and_a_painted_copy(sample_clip, tmp_path, captioner):
    report = caption(sample_clip, tmp_path, captioner, selection=Selection(every=2.0, end=5.0))
    assert report.summary.frames == 3
    assert sorted(p.suffix for p in report.files) == [".json", ".srt", ".vtt"]
    subtitles = next(p for p in report.files if p.suffix == ".srt").read_text()
    assert subtitles.startswith("1\n00:00:00,000 --> ")
    with av.open(str(report.painted)) as container:
        stream = container.streams.video[0]
        assert (stream.width, stream.height) == (480, 270)
        assert sum(1 for _ in container.decode(stream)) == 60


def test_given_regions_are_all_that_is_looked_at(album, tmp_path, captioner):
    boxes = tmp_path / "boxes.json"
    boxes.write_text(json.dumps([{"box": [10, 10, 60, 60], "label": "red"}]))
    report = caption(
        album / "alpha.png", tmp_path / "out", captioner, options={"regions": boxes, "beam": 1}
    )
    (result,) = results(report.records, TASK.load("result"))
    assert [r.label for r in result.regions] == ["red"]
    assert {p.region for p in result.phrases} <= {0}


def test_the_declaration_resolves():
    for part in ("result", "predictor", "draw", "digest", "evaluate", "report", "train", "files"):
        assert callable(TASK.load(part))


def test_pictures_and_frames_may_have_regions_of_their_own(album, sample_clip, tmp_path, captioner):
    boxes = tmp_path / "boxes.json"
    names = ("alpha", "cmyk", "grey", "huge", "pixel", "000000")
    box = {"box": [0, 0, 9, 9]}
    boxes.write_text(json.dumps({name: [box] * (name in ("grey", "000000")) for name in names}))
    options = {"regions": boxes}
    report = caption(album, tmp_path / "out", captioner, options=options)
    found = list(results(report.records, TASK.load("result")))
    assert [len(r.regions) for r in found] == [0, 0, 1, 0, 0]  # by name
    first = Selection(every=2.0, end=1.0)
    report = caption(sample_clip, tmp_path / "out", captioner, options=options, selection=first)
    (frame,) = results(report.records, TASK.load("result"))
    assert frame.regions[0].box == (0, 0, 9, 9)
