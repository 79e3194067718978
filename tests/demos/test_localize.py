"""The tab of action localization as a client uses it."""

import json
from pathlib import Path

import pytest
from gradio_client import Client, handle_file
from gradio_client.exceptions import AppError

from demos import app
from demos.running import EXAMPLES


@pytest.fixture(scope="module")
def client(tmp_path_factory):
    return Client(
        app.launch(block=False), download_files=tmp_path_factory.mktemp("downloads"), verbose=False
    )


def test_actions_come_with_their_timeline_and_files(client):
    video, page, seen, files = client.predict(
        handle_file(EXAMPLES / "table.mp4"), 0.3, False, api_name="/localize"
    )
    assert Path(video["video"] if isinstance(video, dict) else video).stat().st_size > 10_000
    assert {row["label"] for row in seen} == {"walk_in", "use_table", "walk_out"}
    assert all(row["label"] in page for row in seen)
    names = {Path(f).name.rpartition("table")[2] for f in files}
    assert names == {".jsonl", "-actions.json", "-actions.csv", "-timeline.png"}
    content = json.loads(next(Path(f) for f in files if f.endswith(".json")).read_text())
    assert len(content["results"]["table"]) == sum(row["times"] for row in seen)


def test_junk_is_refused(client, tmp_path):
    junk = tmp_path / "junk.mp4"
    junk.write_text("not a video")
    with pytest.raises(AppError, match=r"junk\.mp4"):
        client.predict(handle_file(junk), 0.3, False, api_name="/localize")
