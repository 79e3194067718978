"""The web demo as a client uses it: a real server on this machine."""

import json
import time
from pathlib import Path

import av
import cv2
import httpx
import numpy as np
import pytest
from gradio_client import Client, handle_file
from gradio_client.exceptions import AppError

from demos import app
from demos.running import EXAMPLES


@pytest.fixture(scope="module")
def address():
    return app.launch(block=False)


@pytest.fixture(scope="module")
def client(address, tmp_path_factory):
    return Client(address, download_files=tmp_path_factory.mktemp("downloads"), verbose=False)


def test_a_picture_comes_back_painted(client):
    picture, video, seen, records = client.predict(
        handle_file(EXAMPLES / "store.jpg"), 0.3, [], False, api_name="/detect"
    )
    painted = cv2.imread(picture)
    original = cv2.imread(str(EXAMPLES / "store.jpg"))
    assert painted.shape == original.shape
    assert (np.abs(painted.astype(int) - original) > 60).any()
    assert video is None
    assert seen[0]["label"] == "person"
    assert json.loads(Path(records).read_text().splitlines()[-1])["type"] == "summary"


def test_a_video_comes_back_as_h264_and_its_frames_are_counted(client):
    job = client.submit(
        handle_file(EXAMPLES / "worker.mp4"), 0.3, ["person"], True, api_name="/detect"
    )
    units = set()
    while not job.done():
        units |= {step.unit for step in job.status().progress_data or ()}
        time.sleep(0.02)
    assert units == {"frames"}
    picture, video, seen, _ = job.result()
    assert picture is None
    path = video["video"] if isinstance(video, dict) else video
    with av.open(path) as container:
        assert container.streams.video[0].codec_context.name == "h264"
        assert sum(1 for _ in container.decode(video=0)) > 40
    assert [row["label"] for row in seen] == ["person"]
    assert "identities" in seen[0]


def test_junk_is_refused_without_the_servers_paths(client, tmp_path):
    junk = tmp_path / "junk.mp4"
    junk.write_text("not a video")
    with pytest.raises(AppError, match=r"junk\.mp4") as refusal:
        client.predict(handle_file(junk), 0.3, [], False, api_name="/detect")
    assert "foveate-demo" not in str(refusal.value)


@pytest.mark.parametrize("name", ["list.txt", "LIST.TXT"])
def test_a_list_of_this_machines_files_is_refused(client, tmp_path, sample_clip, name):
    listing = tmp_path / name
    listing.write_text(f"{sample_clip}\n")
    with pytest.raises(AppError, match=r"Invalid file type|not a list"):
        client.predict(handle_file(listing), 0.3, [], False, api_name="/detect")


@pytest.mark.parametrize("path", ["/etc/hostname", str(Path(__file__))])
def test_files_outside_its_own_folder_are_not_served(address, path):
    assert httpx.get(f"{address}gradio_api/file={path}").status_code in (403, 404)


def test_it_listens_on_this_machine_alone_and_sends_no_analytics(address):
    assert address.startswith("http://127.0.0.1:")
    config = httpx.get(f"{address}config").json()
    assert config["analytics_enabled"] is False
    assert any(d.get("api_name") == "detect" for d in config["dependencies"])


def test_too_large_an_upload_is_refused(monkeypatch):
    monkeypatch.setattr(app, "MAX_UPLOAD", "20kb")
    address = app.launch(block=False)
    with (EXAMPLES / "store.jpg").open("rb") as file:
        answer = httpx.post(f"{address}gradio_api/upload", files={"files": file})
    assert answer.status_code == 413
