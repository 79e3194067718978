"""What a captioned source is exported as."""

import json
import re
from itertools import pairwise
from types import SimpleNamespace

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from vision.tasks.captioning.digest import digest
from vision.tasks.captioning.files import CaptionFiles, Cue, srt, vtt
from vision.tasks.captioning.results import Caption

FRAME = np.zeros((8, 8, 3), np.uint8)


def said(text: str) -> Caption:
    return Caption(width=8, height=8, caption=text, score=-1.0, phrases=[], regions=[])


def write(tmp_path, rows, duration, *, pictures=()):
    info = SimpleNamespace(duration=duration, pictures=pictures)
    files = CaptionFiles(tmp_path / "clip", info)
    for name, time, text in rows:
        files.add(FRAME, time, name, said(text))
    return {path.name: path.read_text() for path in files.close(None)}


def test_a_video_gets_subtitles_one_for_each_run_of_a_caption(tmp_path):
    rows = [
        ("000000", 0.0, "A man."),
        ("000048", 2.0, "A man."),
        ("000096", 4.0, "A dog."),
        ("000144", 6.0, ""),
    ]
    written = write(tmp_path, rows, 7.25)
    assert written["clip-captions.srt"] == (
        "1\n00:00:00,000 --> 00:00:04,000\nA man.\n\n2\n00:00:04,000 --> 00:00:07,250\nA dog.\n"
    )
    assert written["clip-captions.vtt"] == (
        "WEBVTT\n\n00:00:00.000 --> 00:00:04.000\nA man.\n\n00:00:04.000 --> 00:00:07.250\nA dog.\n"
    )
    entries = json.loads(written["clip-captions.json"])
    assert entries[2] == {"image_id": 96, "caption": "A dog."}
    assert not list(tmp_path.glob("*.partial"))


def test_a_live_source_of_unknown_length_ends_after_one_more_gap(tmp_path):
    written = write(tmp_path, [("000000", 0.0, "A."), ("000050", 2.0, "B.")], None)
    assert "00:00:02.000 --> 00:00:04.000" in written["clip-captions.vtt"]


def test_pictures_get_no_subtitles(tmp_path):
    rows = [("cat", 0.0, "A cat."), ("000785", 0.04, "A woman.")]
    written = write(tmp_path, rows, 0.08, pictures=("cat", "000785"))
    assert list(written) == ["clip-captions.json"]
    assert json.loads(written["clip-captions.json"]) == [
        {"image_id": "cat", "caption": "A cat."},
        {"image_id": 785, "caption": "A woman."},
    ]


def test_nothing_said_gives_empty_subtitles(tmp_path):
    written = write(tmp_path, [("000000", 0.0, "")], 1.0)
    assert written["clip-captions.srt"] == ""
    assert written["clip-captions.vtt"] == "WEBVTT\n"


STAMP = r"(\d\d):([0-5]\d):([0-5]\d)[,.](\d{3})"


@settings(max_examples=60, deadline=None)
@given(st.lists(st.floats(0, 359_999), min_size=2, max_size=5, unique=True))
def test_times_are_whole_thousandths_in_order(times):
    cues = [Cue(start, end, "x") for start, end in pairwise(sorted(times))]
    for text in (srt(cues), vtt(cues)):
        found = [
            3600 * int(h) + 60 * int(m) + int(s) + int(t) / 1000
            for h, m, s, t in re.findall(STAMP, text)
        ]
        assert found == pytest.approx([t for c in cues for t in (c.start, c.end)], abs=6e-4)


def test_the_digest_counts_runs_and_is_short():
    rows = digest([said("A man."), said("A man."), said("A dog."), said("A man.")])
    assert [(r["caption"], r["frames"]) for r in rows] == [
        ("A man.", 2),
        ("A dog.", 1),
        ("A man.", 1),
    ]
    many = digest(said(f"Caption {n}.") for n in range(50))
    assert len(many) == 21
    assert many[-1]["caption"] == "and 30 more"
    assert digest([]) == []
