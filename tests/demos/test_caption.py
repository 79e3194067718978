"""The tab of captions as a client uses it, and the words that point into a picture."""

import json
import re
from pathlib import Path

import av
import cv2
import gradio as gr
import numpy as np
import pytest
from gradio_client import Client, handle_file
from gradio_client.exceptions import AppError

from demos.caption import pointing, tab
from demos.running import EXAMPLES
from vision.tasks.captioning.results import Caption, CaptionRegion, Phrase


@pytest.fixture(scope="module")
def client(tmp_path_factory):
    with gr.Blocks() as app:
        tab()
    _, address, _ = app.launch(
        server_name="127.0.0.1", prevent_thread_lock=True, quiet=True, share=False
    )
    yield Client(address, download_files=tmp_path_factory.mktemp("downloads"), verbose=False)
    app.close()


def test_a_picture_comes_back_with_words_that_point(client):
    page, picture, video, said, files = client.predict(
        handle_file(EXAMPLES / "store.jpg"), 3, 2.0, api_name="/caption"
    )
    painted, original = cv2.imread(picture), cv2.imread(str(EXAMPLES / "store.jpg"))
    assert painted.shape == original.shape
    assert (np.abs(painted.astype(int) - original) > 60).any()
    assert video is None
    lines = [json.loads(line) for line in Path(files[0]).read_text().splitlines()]
    result = lines[1]["result"]
    assert said == [
        {
            "caption": result["caption"],
            "frames": 1,
            "things": ", ".join(dict.fromkeys(p["label"] for p in result["phrases"])),
        }
    ]
    assert len(re.findall("<mark ", page)) == len(result["phrases"]) > 0
    assert [Path(path).suffix for path in files] == [".jsonl", ".json"]


def test_a_video_comes_back_with_captions(client):
    page, picture, video, said, files = client.predict(
        handle_file(EXAMPLES / "worker.mp4"), 1, 2.0, api_name="/caption"
    )
    assert page == ""
    assert picture is None
    assert all(row["caption"].endswith(".") for row in said)
    assert [Path(path).suffix for path in files] == [".jsonl", ".json", ".srt", ".vtt"]
    with av.open(video["video"] if isinstance(video, dict) else video) as container:
        assert container.streams.video[0].codec_context.name == "h264"


def test_nothing_uploaded_is_said_so(client):
    with pytest.raises(AppError, match="Upload"):
        client.predict(None, 3, 2.0, api_name="/caption")


def test_every_grounded_phrase_is_marked_and_has_a_box():
    box = (4.0, 5.0, 30.0, 40.0)
    phrases = [
        Phrase(
            start=start,
            end=end,
            text=text,
            label=label,
            region=region,
            box=place,
            mass=0.5,
            attention=[1.0],
        )
        for start, end, text, label, region, place in (
            (2, 5, "man", "person", 0, box),
            (8, 13, "chair", "chair", None, None),
        )
    ]
    result = Caption(
        width=64,
        height=48,
        caption="A man a chair <b>.",
        score=-1,
        phrases=phrases,
        regions=[CaptionRegion(label="person", score=0.9, box=box)],
    )
    page = pointing(np.zeros((48, 64, 3), np.uint8), result)
    assert len(re.findall("<rect ", page)) == len(re.findall("<mark ", page)) == 1
    words = re.search("<figcaption>(.*)</figcaption>", page).group(1)
    assert "&lt;b&gt;" in words
    assert re.sub("<[^>]*>", "", words) == "A man a chair &lt;b&gt;."


def test_a_word_under_the_mouse_shows_its_box_alone(page):
    boxes = [(4.0, 5.0, 30.0, 40.0), (32.0, 5.0, 60.0, 40.0)]
    phrases = [
        Phrase(
            start=start,
            end=start + 3,
            text=text,
            label=text,
            region=n,
            box=boxes[n],
            mass=0.5,
            attention=[0.5, 0.5],
        )
        for n, (start, text) in enumerate([(2, "dog"), (10, "cat")])
    ]
    regions = [CaptionRegion(label=p.label, score=0.9, box=p.box) for p in phrases]
    result = Caption(
        width=64, height=48, caption="A dog, a cat.", score=-1, phrases=phrases, regions=regions
    )
    page.set_content(pointing(np.zeros((48, 64, 3), np.uint8), result))
    shown = "n => getComputedStyle(document.querySelector('rect.b' + n)).opacity"
    assert [page.evaluate(shown, n) for n in (0, 1)] == ["1", "1"]
    page.hover("mark.w1")
    page.wait_for_function("getComputedStyle(document.querySelector('rect.b0')).opacity < 0.2")
    assert page.evaluate(shown, 1) == "1"
    filled = "n => getComputedStyle(document.querySelector('rect.b' + n)).fill"
    assert [page.evaluate(filled, n) for n in (0, 1)] == ["none", "rgb(230, 159, 0)"]
