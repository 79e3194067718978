"""The tab of checking a procedure, as a client uses it."""

import json
from pathlib import Path

import gradio as gr
import pytest
from gradio_client import Client, handle_file
from gradio_client.exceptions import AppError

from demos.check import EXAMPLE, kinds_of, tab


@pytest.fixture(scope="module")
def client(tmp_path_factory):
    with gr.Blocks() as app:
        tab()
    _, address, _ = app.launch(prevent_thread_lock=True, quiet=True)
    yield Client(address, download_files=tmp_path_factory.mktemp("downloads"), verbose=False)
    app.close()


def test_the_example_comes_back_with_its_mistake_flagged(client):
    video, page, steps, files = client.predict(
        handle_file(EXAMPLE), None, "truck", "", api_name="/check"
    )
    assert Path(video["video"] if isinstance(video, dict) else video).stat().st_size > 1000
    assert [bool(step["flag"]) for step in steps] == [False, False, True]
    assert 'class="flagged"' in str(page)
    assert "comes before" in str(page)
    assert {Path(f).suffix for f in files} == {".jsonl", ".json", ".csv", ".png"}


def test_an_own_procedure_changes_the_verdict(client, tmp_path):
    own = tmp_path / "own.json"
    done = ["attach-base", "attach-body", "attach-roof"]
    own.write_text(json.dumps({"name": "own", "examples": [done] * 3}))
    _, _, steps, _ = client.predict(
        handle_file(EXAMPLE), handle_file(own), "", "", api_name="/check"
    )
    assert not any(step["flag"] for step in steps)


def test_the_video_alone_will_do(client):
    *_, steps, _ = client.predict(handle_file(EXAMPLE), api_name="/check")
    assert [step["step"] for step in steps] == ["attach-base", "attach-body", "attach-roof"]


def test_an_unknown_step_is_named_with_those_that_are_known(client, tmp_path):
    own = tmp_path / "own.json"
    own.write_text(json.dumps({"name": "own", "examples": [["attach-base", "paint"]] * 3}))
    with pytest.raises(AppError, match=r"'paint'.*attach-roof") as refusal:
        client.predict(handle_file(EXAMPLE), handle_file(own), api_name="/check")
    assert "--" not in str(refusal.value)


def test_a_file_that_is_no_procedure_is_refused_without_the_servers_paths(client, tmp_path):
    junk = tmp_path / "junk.json"
    junk.write_text("[1, 2]")
    with pytest.raises(AppError, match=r"junk\.json") as refusal:
        client.predict(handle_file(EXAMPLE), handle_file(junk), "", "", api_name="/check")
    assert "gradio" not in str(refusal.value)


def test_the_threshold_is_a_number_or_nothing(client):
    *_, steps, _ = client.predict(handle_file(EXAMPLE), None, "truck", "1e9", api_name="/check")
    assert not any(step["flag"] for step in steps)
    with pytest.raises(AppError, match="'much' is no number"):
        client.predict(handle_file(EXAMPLE), None, "truck", "much", api_name="/check")


def test_kinds_are_those_of_the_examples():
    assert [value for _, value in kinds_of(None).choices] == ["", "digger", "truck"]
