"""A timeline under a video: a row of segments, where a click on one plays from its start."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from html import escape
from math import ceil

import gradio as gr

from vision.tasks.localization.timeline import Colour, colour, ink

TICKS = (0.1, 0.2, 0.5, 1, 2, 5, 10, 15, 30, 60, 120, 300, 600, 1200, 1800, 3600)
"""Seconds that there may be between two marks of the time axis."""

STYLE = """
.timeline { margin: 0; font-size: .85rem; position: relative }
.timeline .row { display: flex; align-items: stretch; margin-bottom: .3em }
.timeline .name { flex: 0 0 6em; align-self: center }
.timeline .track { flex: 1; position: relative; cursor: pointer; overflow: hidden;
  background: var(--background-fill-secondary); border-radius: 3px }
.timeline button { position: absolute; height: 1.9em; min-width: 3px; padding: 0 .3em; border: 0;
  border-radius: 3px; overflow: hidden; white-space: nowrap; text-overflow: ellipsis;
  text-align: left; font: inherit; cursor: pointer; box-shadow: inset 0 0 0 1px #0003 }
.timeline button.flagged { box-shadow: inset 0 0 0 3px #c00000; padding-left: .5em }
.timeline button:focus-visible { outline: 3px solid currentColor; outline-offset: -3px }
.timeline .head { position: absolute; top: 0; bottom: 0; width: 2px; pointer-events: none;
  background: currentColor }
.timeline .axis { position: relative; height: 1.4em; margin-left: 6em; opacity: .8 }
.timeline .axis span { position: absolute; padding-left: .2em; border-left: 1px solid }
"""

SEEK = """
const sheet = () => element.querySelector(".timeline");
const player = () => document.querySelector(`#${props.player} video`);
element.addEventListener("click", (event) => {
  const track = event.target.closest(".track"), video = player();
  if (!track || !video) return;
  const mark = event.target.closest("button"), box = track.getBoundingClientRect();
  const { start, end } = sheet().dataset, share = (event.clientX - box.left) / box.width;
  video.currentTime = mark ? mark.dataset.start : +start + share * (end - start);
  if (mark) video.play().catch(() => {});  // a browser may refuse
});
document.addEventListener("timeupdate", (event) => {
  if (!sheet() || event.target !== player()) return;
  const { start, end } = sheet().dataset;
  const share = (event.target.currentTime - start) / (end - start);
  for (const head of element.querySelectorAll(".head")) head.style.left = `${100 * share}%`;
}, true);
"""
"""`timeupdate` does not bubble, and the player comes and goes: hence a capturing listener above."""


@dataclass(frozen=True)
class Segment:
    """A stretch of a video.

    Args:
        start: seconds.
        end: seconds.
        label: written on it; segments of one label have one colour.
        score: in [0, 1]; None when there is none, as for the truth.
        note: said of it under the mouse.
        flagged: whether it bears a warning.
    """

    start: float
    end: float
    label: str
    score: float | None = None
    note: str = ""
    flagged: bool = False


def panel(video: gr.Video) -> gr.HTML:
    """The component that shows what `timeline` returns, and moves a player with an `elem_id`."""
    return gr.HTML(
        label="Timeline",
        css_template=STYLE,
        js_on_load=SEEK,
        apply_default_css=False,
        elem_classes="result",
        player=video.elem_id,
    )


def timeline(
    segments: Sequence[Segment],
    end: float,
    *,
    start: float = 0.0,
    truth: Sequence[Segment] | None = None,
    labels: Sequence[str] = (),
) -> str:
    """Lay out segments over the time of a video.

    Args:
        segments: what was predicted. Those that overlap lie below one another.
        end: where the video ends, in seconds.
        start: where it begins, in seconds.
        truth: what is true, for a row above.
        labels: all that there may be, in the order of their colours; others follow as they appear.

    Returns:
        HTML for the component of `panel`.
    """
    end = max([end, start + 1e-3, *(segment.end for segment in segments)])
    rows = {"Predicted": segments} if truth is None else {"True": truth, "Predicted": segments}
    seen = (s.label for row in rows.values() for s in row)
    tints = {label: colour(i) for i, label in enumerate(dict.fromkeys([*labels, *seen]))}
    parts = [_row(name, row, start, end, tints) for name, row in rows.items()]
    step = next((t for t in TICKS if (end - start) / t <= 8), TICKS[-1])
    times = [n * step for n in range(ceil(start / step), ceil(end / step))]
    ticks = "".join(
        f'<span style="left: {100 * (t - start) / (end - start):.3f}%">{_clock(t)}</span>'
        for t in times
    )
    return (
        f'<figure class="timeline" data-start="{start:g}" data-end="{end:.3f}" '
        f'aria-label="Timeline; a segment plays from its start">{"".join(parts)}'
        f'<div class="axis" aria-hidden="true">{ticks}</div></figure>'
    )


def _row(
    name: str, segments: Sequence[Segment], start: float, end: float, tints: dict[str, Colour]
) -> str:
    marks = []
    lanes: list[float] = []  # where each is free from
    for segment in sorted(segments, key=lambda s: (s.start, s.end)):
        lane = next((i for i, free in enumerate(lanes) if free <= segment.start), len(lanes))
        lanes[lane : lane + 1] = [segment.end]
        left, width = segment.start - start, segment.end - segment.start
        tint = tints[segment.label]
        score = "" if segment.score is None else f", score {segment.score:.2f}"
        note = f": {segment.note}" if segment.note else ""
        sign = "\N{WARNING SIGN} " if segment.flagged else ""
        said = f"{sign}{segment.label}, {segment.start:.1f} to {segment.end:.1f} s{score}{note}"
        marks.append(
            f'<button type="button" class="{"flagged" if segment.flagged else ""}" '
            f'data-start="{segment.start:.3f}" title="{escape(said)}" '
            f'aria-label="{escape(said)}" style="left: {100 * left / (end - start):.3f}%; '
            f"width: {100 * width / (end - start):.3f}%; top: {2 * lane}em; "
            f'background: {_css(tint)}; color: {_css(ink(tint))}">'
            f"{sign}{escape(segment.label)}</button>"
        )
    height = 2 * max(len(lanes), 1)
    return (
        f'<div class="row" role="group" aria-label="{name}"><span class="name">{name}</span>'
        f'<div class="track" style="height: {height}em">{"".join(marks)}'
        '<i class="head" style="left: 0"></i></div></div>'
    )


def _css(colour: Colour) -> str:
    return f"#{bytes(colour).hex()}"


def _clock(seconds: float) -> str:
    """Seconds as `m:ss`, with tenths where there are any."""
    minutes, rest = divmod(round(seconds, 1), 60)
    return f"{minutes:.0f}:{rest:02.0f}" if rest == int(rest) else f"{minutes:.0f}:{rest:04.1f}"
