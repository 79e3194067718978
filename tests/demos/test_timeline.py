"""The timeline under a video, as HTML and in a real browser."""

import re
from html.parser import HTMLParser

import gradio as gr
import pytest
from hypothesis import given
from hypothesis import strategies as st

from demos.running import EXAMPLES
from demos.timeline import Segment, panel, timeline
from vision.tasks.localization.timeline import colour

SEGMENTS = [
    Segment(0.2, 1.5, "walk", 0.9),
    Segment(1.0, 2.0, "bend <b>", 0.4, note='said "no"', flagged=True),
    Segment(2.2, 3.3, "stand", 0.7),
]


class Page(HTMLParser):
    """Buttons with their attributes and texts, and whether every tag was closed."""

    def __init__(self, html):
        super().__init__()
        self.open, self.buttons, self.rows = [], [], []
        self.feed(html)

    def handle_starttag(self, tag, attributes):
        self.open.append(tag)
        attributes = dict(attributes)
        if tag == "button":
            self.buttons.append(attributes | {"text": ""})
        if attributes.get("class") == "row":
            self.rows.append(attributes["aria-label"])

    def handle_endtag(self, tag):
        assert self.open.pop() == tag

    def handle_data(self, data):
        if self.open and self.open[-1] == "button":
            self.buttons[-1]["text"] += data


def number(button, name):
    return float(re.search(rf"\b{name}: ([\d.]+)", button["style"]).group(1))


def test_every_segment_can_be_pressed_and_read_aloud():
    page = Page(timeline(SEGMENTS, 4.0))
    assert page.open == []
    assert page.rows == ["Predicted"]
    walk, bend, stand = page.buttons
    assert walk["aria-label"] == "walk, 0.2 to 1.5 s, score 0.90"
    assert bend["text"] == "\N{WARNING SIGN} bend <b>"
    assert bend["aria-label"].endswith('bend <b>, 1.0 to 2.0 s, score 0.40: said "no"')
    assert [float(b["data-start"]) for b in (walk, bend, stand)] == [0.2, 1.0, 2.2]
    assert (number(stand, "left"), number(stand, "width")) == pytest.approx((55, 27.5))


def test_truth_has_a_row_above_and_the_same_colours():
    page = Page(timeline(SEGMENTS, 4.0, truth=[Segment(2, 3.5, "stand")]))
    assert page.rows == ["True", "Predicted"]
    colours = {b["text"]: set() for b in page.buttons}
    for button in page.buttons:
        colours[button["text"]].add(re.search(r"background: (\S+);", button["style"]).group(1))
    assert all(len(tints) == 1 for tints in colours.values())
    assert len({tints.pop() for tints in colours.values()}) == 3


def test_a_class_has_the_colour_that_the_video_is_painted_with():
    page = Page(timeline([Segment(0, 1, "stand")], 4.0, labels=["bend", "sit", "stand"]))
    assert f"background: #{bytes(colour(2)).hex()};" in page.buttons[0]["style"]


def test_the_axis_is_marked_at_round_times():
    ticks = re.findall(r"left: ([\d.]+)%\">([\d:.]+)</span>", timeline([], 8.2, start=0.2))
    assert [text for _, text in ticks] == [f"0:0{n}" for n in range(1, 9)]
    assert float(ticks[0][0]) == pytest.approx(10)


def test_nothing_found_is_an_empty_row():
    page = Page(timeline([], 12.5))
    assert (page.rows, page.buttons) == (["Predicted"], [])


@given(
    spans=st.lists(st.tuples(st.floats(5, 100), st.floats(0.1, 50)), max_size=12),
)
def test_segments_stay_inside_and_never_cover_one_another(spans):
    segments = [Segment(start, start + length, "a") for start, length in spans]
    page = Page(timeline(segments, 60.0, start=5.0))
    places = []
    for button in page.buttons:
        left, width, top = (number(button, name) for name in ("left", "width", "top"))
        assert left >= 0
        assert left + width <= 100.01
        for other_left, other_width, other_top in places:
            apart = left >= other_left + other_width - 0.01 or other_left >= left + width - 0.01
            assert apart or top != other_top
        places.append((left, width, top))
    assert len(places) == len(segments)


@pytest.fixture(scope="module")
def address():
    with gr.Blocks(analytics_enabled=False) as app:
        video = gr.Video(str(EXAMPLES / "worker.mp4"), elem_id="worker")
        below = panel(video)
        gr.Button("Show").click(lambda: timeline(SEGMENTS, 4.0), None, below)
    _, address, _ = app.launch(server_name="127.0.0.1", prevent_thread_lock=True, quiet=True)
    yield address
    app.close()


def test_a_click_seeks_or_plays_and_the_head_follows(page, address):
    page.goto(address)
    page.get_by_role("button", name="Show").click()

    def has_come_to(seconds):
        page.wait_for_function(
            """seconds => {
              const video = document.querySelector("#worker video");
              const head = document.querySelector(".timeline .head");
              return Math.abs(video.currentTime - seconds) < 0.05 &&
                Math.abs(parseFloat(head.style.left) - 25 * seconds) < 2;
            }""",
            arg=seconds,
        )

    track = page.locator(".timeline .track")
    box = track.bounding_box()
    track.click(position={"x": 0.9 * box["width"], "y": 5})
    has_come_to(3.6)
    page.get_by_role("button", name="bend").press("Enter")
    page.wait_for_function(
        """() => {
          const video = document.querySelector("#worker video");
          return !video.paused && video.currentTime > 1.1 && video.currentTime < 3;
        }"""
    )
    page.get_by_role("button", name="stand").click()
    page.wait_for_function("document.querySelector('#worker video').currentTime > 2.3")
