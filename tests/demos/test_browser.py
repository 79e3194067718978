"""The web demo in a real browser."""

import json
from urllib.parse import urlparse

import httpx
import pytest

from demos import app
from vision.tasks import TASKS, get_task

TABS = [get_task(name).verb.capitalize() for name in TASKS]


@pytest.fixture(scope="module")
def address():
    return app.launch(block=False)


def open_tab(page, address, tab):
    page.goto(address)
    page.get_by_role("tab", name=tab, exact=True).click()
    return page.get_by_role("tabpanel").filter(visible=True)


def test_there_is_a_tab_for_every_task(page, address):
    page.goto(address)
    page.get_by_role("tab").first.wait_for()
    assert page.get_by_role("tab").all_inner_texts() == TABS


@pytest.mark.parametrize("tab", TABS)
def test_the_example_of_every_tab_runs(page, address, tab):
    problems = []
    page.on("pageerror", lambda error: problems.append(str(error)))
    panel = open_tab(page, address, tab)
    panel.locator("button.primary").click()
    records = panel.locator("a[href$='.jsonl']").first
    errors = page.locator(".toast-body, span.error").filter(visible=True)
    errors.or_(records).first.wait_for()
    assert errors.all_inner_texts() == []
    assert problems == []
    href = records.get_attribute("href")
    assert urlparse(href).hostname == "127.0.0.1"
    lines = httpx.get(href).text.splitlines()
    assert json.loads(lines[-1])["type"] == "summary"


def test_only_players_with_something_in_them_are_shown(page, address):
    panel = open_tab(page, address, "Detect")
    picture, video = panel.get_by_text("Annotated picture"), panel.get_by_text("Annotated video")
    assert not picture.or_(video).filter(visible=True).count()
    panel.get_by_text("worker.mp4").click()
    panel.locator("a[href$='worker.mp4']").wait_for()
    panel.locator("button.primary").click()
    video.wait_for()
    assert panel.locator("video").is_visible()
    assert not picture.is_visible()


def test_all_tabs_fit_on_a_phone(page, address):
    page.set_viewport_size({"width": 390, "height": 844})
    page.goto(address)
    page.get_by_role("tab").first.wait_for()
    assert page.get_by_role("tab").all_inner_texts() == TABS
    assert page.evaluate("document.documentElement.scrollWidth") == 390


def test_a_mistake_is_shown(page, address, tmp_path):
    junk = tmp_path / "junk.mp4"
    junk.write_text("not a video")
    panel = open_tab(page, address, TABS[0])
    panel.get_by_label("Remove this file").or_(panel.get_by_label("Clear")).first.click()
    panel.locator("input[type=file]").first.set_input_files(junk)
    panel.get_by_text("junk").first.wait_for()
    panel.locator("button.primary").click()
    toast = page.locator(".toast-body.error")
    toast.wait_for()
    assert "junk.mp4 is not a video" in toast.inner_text()
    assert panel.locator("span.error").filter(visible=True).count() == 1
