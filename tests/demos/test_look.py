"""The tab of scanpaths as a client uses it."""

import json
from pathlib import Path

import cv2
import gradio as gr
import numpy as np
import pytest
from gradio_client import Client, handle_file
from gradio_client.exceptions import AppError
from PIL import Image

from demos.look import ANYTHING, tab
from demos.running import EXAMPLES


@pytest.fixture(scope="module")
def client(tmp_path_factory):
    with gr.Blocks() as app:
        tab()
    _, address, _ = app.launch(
        server_name="127.0.0.1", prevent_thread_lock=True, quiet=True, share=False
    )
    yield Client(address, download_files=tmp_path_factory.mktemp("downloads"), verbose=False)
    app.close()


def test_a_picture_comes_back_with_a_path_that_plays(client):
    animation, picture, heat, video, seen, tables = client.predict(
        handle_file(EXAMPLES / "store.jpg"), ANYTHING, 3, 1, 0.7, api_name="/look"
    )
    with Image.open(animation) as played:
        assert played.format == "GIF"
        assert played.n_frames > 10
    painted, original = cv2.imread(picture), cv2.imread(str(EXAMPLES / "store.jpg"))
    assert painted.shape == original.shape
    assert (np.abs(painted.astype(int) - original) > 60).any()
    assert cv2.imread(heat).size
    assert video is None
    assert sum(int(row["fixations"].split()[0]) for row in seen) == pytest.approx(100, abs=3)
    assert [Path(path).suffix for path in tables] == [".jsonl", ".csv", ".json"]
    result = json.loads(Path(tables[0]).read_text().splitlines()[1])["result"]
    assert len(result["paths"]) == 3
    assert result["target"] is None


def test_a_label_is_looked_for(client):
    *_, tables = client.predict(
        handle_file(EXAMPLES / "store.jpg"), "person", 1, 0, 1.0, api_name="/look"
    )
    result = json.loads(Path(tables[0]).read_text().splitlines()[1])["result"]
    assert result["target"] == "person"


def test_a_file_of_this_machine_cannot_be_a_target(client):
    with pytest.raises(AppError, match="choices"):
        client.predict(
            handle_file(EXAMPLES / "store.jpg"), "/etc/secret.png", 1, 0, 1.0, api_name="/look"
        )


def test_nothing_uploaded_is_said_so(client):
    with pytest.raises(AppError, match="Upload"):
        client.predict(None, ANYTHING, 1, 0, 1.0, api_name="/look")
