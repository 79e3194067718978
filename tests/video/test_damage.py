"""Whatever happened to a file, a run gives results or one line that says what is wrong."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from tests.video.clips import Brightest, decode, draw_spot, write_clip
from video.frames import Selection
from video.pipeline import run
from video.sources import expand
from vision.errors import FoveateError

CLIPS: list[tuple[str, dict[str, Any]]] = [
    ("clip.mp4", {"audio": "aac"}),
    ("clip.mkv", {"audio": "aac"}),
    ("clip.ts", {"audio": "aac"}),
    ("clip.avi", {"audio": "libmp3lame"}),
    ("clip.webm", {"codec": "libvpx-vp9", "options": {"deadline": "realtime", "cpu-used": "8"}}),
]


@pytest.fixture(scope="module")
def contents(tmp_path_factory: pytest.TempPathFactory) -> dict[str, bytes]:
    folder = tmp_path_factory.mktemp("whole")
    return {name: write_clip(folder / name, 30, **kind).read_bytes() for name, kind in CLIPS}


@st.composite
def mutations(draw: st.DrawFn) -> list[tuple[str, float, int]]:
    """Flips (place, value), cuts (place, length) and an early end (place)."""
    places = st.one_of(st.floats(0, 1), st.floats(0, 0.1))
    flips = st.tuples(st.just("flip"), places, st.integers(0, 255))
    cuts = st.tuples(st.just("cut"), places, st.integers(1, 3000))
    ends = st.tuples(st.just("end"), places, st.just(0))
    return draw(st.lists(st.one_of(flips, flips, flips, cuts, ends), min_size=1, max_size=40))


def mutate(content: bytes, changes: list[tuple[str, float, int]]) -> bytes:
    changed = bytearray(content)
    for kind, place, value in changes:
        at = int(place * (len(changed) - 1))
        if kind == "flip" and changed:
            changed[at] = value
        elif kind == "cut":
            del changed[at : at + value]
        elif kind == "end":
            del changed[at:]
    return bytes(changed)


def check_run(path: Path, output: Path, selection: Selection) -> None:
    (source,) = expand([path])
    try:
        report = run(
            source,
            predictor=Brightest(),
            draw=draw_spot,
            output=output,
            task="spots",
            selection=selection,
            video=not selection.every,
        )
    except FoveateError as error:
        report, message = None, str(error)
    if report is None:
        assert len(message.splitlines()) == 1
        return
    lines = [json.loads(line) for line in report.records.read_text().splitlines()]
    times = [line["time"] for line in lines if line["type"] == "frame"]
    assert report.summary.frames == len(times) > 0
    assert times == sorted(set(times))
    if report.painted is not None:
        assert len(decode(report.painted)[0]) == len(times)


@settings(
    max_examples=300, deadline=60_000, suppress_health_check=[HealthCheck.function_scoped_fixture]
)
@given(
    name=st.sampled_from([name for name, _ in CLIPS]),
    changes=mutations(),
    selection=st.sampled_from(
        [
            Selection(),
            Selection(stride=2),
            Selection(stride=12),
            Selection(start=0.4, end=1.1),
            Selection(every=0.3),
        ]
    ),
)
def test_any_damage_gives_results_or_one_line(
    name: str,
    changes: list[tuple[str, float, int]],
    selection: Selection,
    contents: dict[str, bytes],
    tmp_path: Path,
) -> None:
    path = tmp_path / name
    path.write_bytes(mutate(contents[name], changes))
    check_run(path, tmp_path / "out", selection)


@pytest.mark.parametrize("content", [b"", b"\x00", b"RIFF", b"#EXTM3U\n/etc/passwd\n", b"v=0\r\n"])
@pytest.mark.parametrize("suffix", [".mp4", ".avi", ".m3u8", ".jpg"])
def test_scraps(content: bytes, suffix: str, tmp_path: Path) -> None:
    path = tmp_path / f"scrap{suffix}"
    path.write_bytes(content)
    (source,) = expand([path])
    with pytest.raises(FoveateError):
        run(source, predictor=Brightest(), draw=draw_spot, output=tmp_path / "out", task="spots")
