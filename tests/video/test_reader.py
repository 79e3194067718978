"""Readers yield the right frames at the right times, and count what is damaged."""

from __future__ import annotations

from dataclasses import replace
from itertools import pairwise
from pathlib import Path
from typing import Any

import av
import cv2
import decord
import numpy as np
import pytest

from tests.video.clips import RATE, damage, decode, picture, rotate, write_clip
from video.frames import Selection, SourceInfo, TimedFrame
from video.reader import EVERYTHING, StreamReader, open_reader
from video.sources import expand
from vision.errors import FoveateError


def read(path: Path | str, selection: Selection = EVERYTHING) -> tuple[list[TimedFrame], int]:
    (source,) = expand([path])
    with open_reader(source, selection) as reader:
        return list(reader), reader.skipped


def test_whole_clip(clip: Path) -> None:
    times, images = decode(clip)
    frames, skipped = read(clip)
    assert [f.index for f in frames] == list(range(40))
    assert [f.time for f in frames] == times
    assert all(np.array_equal(f.image, image) for f, image in zip(frames, images, strict=True))
    assert skipped == 0


def test_info(sounding: Path) -> None:
    (source,) = expand([sounding])
    with open_reader(source) as reader:
        assert reader.info == SourceInfo(64, 48, RATE, 40, pytest.approx(2, abs=0.05), "aac")


@pytest.mark.parametrize("codec", ["libx264", "libvpx-vp9"])
@pytest.mark.parametrize("open_gop", [False, True])
@pytest.mark.parametrize(
    "selection",
    [
        Selection(stride=2),
        Selection(stride=7),
        Selection(stride=25),
        Selection(start=0.72),
        Selection(stride=3, start=0.5, end=1.5),
        Selection(end=0.9),
    ],
)
def test_selected_frames_are_those_of_the_whole(
    codec: str, open_gop: bool, selection: Selection, tmp_path: Path
) -> None:
    options = {"g": "10", "bf": "3", "x264-params": f"open-gop={int(open_gop)}"}
    if codec == "libvpx-vp9":
        options = {"g": "10", "deadline": "realtime", "cpu-used": "8", "lag-in-frames": "5"}
    path = write_clip(tmp_path / "clip.mkv", codec=codec, options=options)
    whole, _ = read(path)
    first = selection.start or 0
    end = selection.end or 1e9
    wanted = [f for f in whole if first <= f.time < end][:: selection.stride]
    frames, skipped = read(path, selection)
    assert [(f.index, f.time) for f in frames] == [(f.index, f.time) for f in wanted]
    assert all(np.array_equal(a.image, b.image) for a, b in zip(frames, wanted, strict=True))
    assert skipped == 0


GROUPS = {"g": "60", "bf": "3", "b-pyramid": "normal", "x264-params": "b-adapt=0"}
"""One long group of pictures, most of which no other is built on."""


def uneven(frames: int) -> list[float]:
    """Times of a variable frame rate."""
    return np.cumsum(np.random.default_rng(0).integers(10, 300, frames) / 1000).tolist()


@pytest.mark.parametrize(
    "selection",
    [
        Selection(every=0.4, between=False),
        Selection(every=1.7, between=False),
        Selection(every=0.5, stride=3, between=False),
        Selection(every=0.7, start=1.0, end=2.5, between=False),
    ],
)
@pytest.mark.parametrize(
    ("name", "settings"),
    [
        ("long.mp4", {"options": GROUPS}),
        ("short.mp4", {"options": {"g": "5", "bf": "0"}}),
        ("open.mkv", {"options": {**GROUPS, "g": "12", "x264-params": "b-adapt=0:open-gop=1"}}),
        ("uneven.mkv", {"options": GROUPS, "times": uneven(60)}),
        ("no_index.ts", {"options": GROUPS}),
        ("no_index.mkv", {"options": GROUPS}),
        ("disordered.avi", {"options": GROUPS}),
        ("other.webm", {"options": {"g": "10"}, "codec": "libvpx-vp9"}),
    ],
)
def test_now_and_then_gives_frames_of_the_whole(
    name: str, settings: dict[str, Any], selection: Selection, tmp_path: Path
) -> None:
    path = write_clip(tmp_path / name, 60, **settings)
    if name == "no_index.mkv":
        cut = path.read_bytes()
        path.write_bytes(cut[: cut.rindex(b"\x1c\x53\xbb\x6b")])  # where its cues begin
    reading = replace(selection, every=None, between=True)
    whole = {f.index: f for f in read(path)[0]}
    wanted = [
        f for f, look in replace(selection, between=True).mark(read(path, reading)[0]) if look
    ]
    frames, skipped = read(path, selection)
    assert [(f.index, f.time) for f in frames] == [(f.index, f.time) for f in wanted]
    assert all(np.array_equal(f.image, whole[f.index].image) for f in frames)
    assert skipped == 0


def test_now_and_then_decodes_less(tmp_path: Path) -> None:
    path = write_clip(tmp_path / "long.mp4", 200, options={**GROUPS, "g": "200"})
    (source,) = expand([path])
    with StreamReader(source, Selection(every=3.0, between=False)) as reader:
        assert [frame.index for frame in reader] == [0, 60, 120, 180]
        assert reader._yielded < 150
        assert (reader.skipped, reader.missing) == (0, 0)


def test_a_file_without_duration_counts_from_its_first_frame(tmp_path: Path) -> None:
    times = [100 + i / 20 for i in range(200)]
    path = write_clip(tmp_path / "late.mkv", 200, times=times, options={**GROUPS, "g": "200"})
    void = path.read_bytes().replace(b"\x44\x89\x88", b"\xec\x89\0")  # where its duration is
    path.write_bytes(void)
    (source,) = expand([path])
    with StreamReader(source, Selection(every=3.0, between=False)) as reader:
        assert reader.info.duration is None
        found = [(frame.index, round(frame.time, 3)) for frame in reader]
        assert found == [(0, 0.0), (60, 3.0), (120, 6.0), (180, 9.0)]
        assert reader._yielded < 150


@pytest.mark.parametrize("selection", [Selection(), Selection(stride=12), Selection(start=2.5)])
def test_variable_frame_rate(selection: Selection, tmp_path: Path) -> None:
    times = uneven(40)
    path = write_clip(tmp_path / "vfr.mkv", times=times)
    frames, _ = read(path, selection)
    wanted = [t for t in times if t >= (selection.start or 0)][:: selection.stride]
    assert [f.time for f in frames] == pytest.approx(wanted)


@pytest.mark.parametrize("selection", [Selection(), Selection(stride=15)])
@pytest.mark.parametrize(("degrees", "turns"), [(90, -1), (180, 2), (270, 1)])
def test_rotated_video_comes_upright(
    degrees: int, turns: int, selection: Selection, clip: Path, tmp_path: Path
) -> None:
    rotated = rotate(clip, tmp_path / "rotated.mp4", degrees)
    _, images = decode(clip)
    (source,) = expand([rotated])
    with open_reader(source, selection) as reader:
        frames = list(reader)
        size = (reader.info.height, reader.info.width)
    for frame, image in zip(frames, images[:: selection.stride], strict=True):
        assert frame.image.shape[:2] == size
        assert np.array_equal(frame.image, np.rot90(image, turns))


@pytest.mark.parametrize("size", [(64, 48), (63, 47), (33, 48)])
def test_odd_sizes(size: tuple[int, int], tmp_path: Path) -> None:
    path = write_clip(tmp_path / "odd.mkv", 24, size, codec="ffv1", options={}, pix_fmt="bgr0")
    for selection in (Selection(), Selection(stride=4)):
        frames, _ = read(path, selection)
        for frame in frames:
            assert np.array_equal(frame.image, picture(frame.index, *size))


def test_clock_may_begin_anywhere(tmp_path: Path) -> None:
    path = write_clip(tmp_path / "late.mkv", 20, times=[3 + i / RATE for i in range(20)])
    frames, _ = read(path)
    assert frames[0].time == pytest.approx(3)
    frames, _ = read(path, Selection(start=3.5))
    assert frames[0].time == pytest.approx(3.5)
    assert frames[0].index == 10


@pytest.mark.parametrize(
    ("name", "codec", "pix_fmt"),
    [
        ("a.avi", "libx264", "yuv420p"),  # B-frames, whose times AVI cannot tell
        ("b.avi", "mpeg4", "yuv420p"),
        ("c.avi", "mjpeg", "yuvj420p"),
        ("d.h264", "libx264", "yuv420p"),  # no times at all
        ("e.gif", "gif", "rgb8"),
        ("f.ts", "libx264", "yuv420p"),
        ("g.flv", "libx264", "yuv420p"),
        ("h.mov", "mpeg4", "yuv420p"),
        ("i.webm", "libvpx", "yuv420p"),
    ],
)
def test_formats(name: str, codec: str, pix_fmt: str, tmp_path: Path) -> None:
    options = {"bf": "2"} if pix_fmt == "yuv420p" else None
    path = write_clip(tmp_path / name, codec=codec, options=options, pix_fmt=pix_fmt)
    frames, skipped = read(path)
    assert skipped == 0
    assert [f.index for f in frames] == list(range(40))
    steps = [b.time - a.time for a, b in pairwise(frames)]
    assert steps == pytest.approx([steps[0]] * 39, abs=0.0011)
    if name != "d.h264":
        assert steps[0] == pytest.approx(1 / RATE, abs=0.0011)
    moves = [int(np.nonzero(f.image[28].min(-1) > 150)[0].mean()) for f in frames[:28]]
    assert moves == sorted(moves)


def test_live_clock_begins_with_the_first_frame(tmp_path: Path) -> None:
    path = tmp_path / "live.mkv"
    with av.open(str(path), "w", options={"live": "1"}) as container:
        stream = container.add_stream("libx264", rate=RATE)
        stream.width, stream.height = 64, 48
        for i in range(20):
            frame = av.VideoFrame.from_ndarray(picture(i), format="rgb24")
            frame.pts = 100 * RATE + i
            container.mux(stream.encode(frame))
        container.mux(stream.encode())
    (source,) = expand([path])
    with open_reader(source) as reader:
        assert reader.info.duration is None
        assert [f.time for f in reader][:2] == pytest.approx([0, 1 / RATE])


def test_late_streams_do_not_stop_the_reader(tmp_path: Path) -> None:
    """A transport stream may bring new streams at any time."""
    first = write_clip(tmp_path / "first.ts", 200).read_bytes()
    second = write_clip(tmp_path / "second.ts", 40, audio="aac").read_bytes()
    both = tmp_path / "both.ts"
    both.write_bytes(first + second)
    frames, _ = read(both)
    assert len(frames) == 240
    assert all(a.time < b.time for a, b in pairwise(frames))


def test_what_an_edit_list_cuts_off_is_not_missing(tmp_path: Path) -> None:
    times = [i / RATE - 1 for i in range(40)]
    (source,) = expand([write_clip(tmp_path / "trimmed.mp4", times=times)])
    with open_reader(source) as reader:
        assert [f.time for f in reader] == pytest.approx([i / RATE for i in range(20)])
        assert (reader.info.frames, reader.skipped, reader.missing) == (20, 0, 0)


@pytest.mark.parametrize("stride", [1, 40])
def test_damaged_frames_are_skipped(stride: int, sample_clip: Path, tmp_path: Path) -> None:
    broken = damage(sample_clip, tmp_path / "broken.mp4", 0.3, 20_000)
    whole = {f.index: f.image for f in read(sample_clip)[0]}
    frames, skipped = read(broken, Selection(stride))
    assert skipped > 0
    assert frames[-1].index == max(range(0, 187, stride))
    for frame in frames:
        if frame.time < 3:  # before the damage
            assert np.array_equal(frame.image, whole[frame.index])


def test_damaged_frames_and_whole_ones_make_all(sample_clip: Path, tmp_path: Path) -> None:
    broken = damage(sample_clip, tmp_path / "broken.mp4", 0.3, 20_000)
    frames, skipped = read(broken)
    assert skipped >= 10
    assert len(frames) + skipped == 187


@pytest.mark.parametrize("part", [0.3, 0.6, 0.95])
def test_truncated_video_counts_what_is_gone(
    part: float, sample_clip: Path, tmp_path: Path
) -> None:
    content = sample_clip.read_bytes()  # its index stands in front
    cut = tmp_path / "cut.mp4"
    cut.write_bytes(content[: int(len(content) * part)])
    frames, skipped = read(cut)
    assert 0 < len(frames) < 187
    assert len(frames) + skipped == 187
    assert frames[-1].time < 15.6 * part + 3


def unreadable(tmp_path: Path, clip: Path, kind: str) -> str:
    path = tmp_path / "bad.mp4"
    content = {
        "empty": b"",
        "text": b"This is no video.\n" * 50,
        "zeros": bytes(5000),
        "headless": clip.read_bytes()[:600],  # its index stands at the end
        "header only": clip.read_bytes()[:8],
    }
    if kind == "sound alone":
        path = tmp_path / "sound.m4a"
        with av.open(str(path), "w", format="mp4") as container:
            sound = container.add_stream("aac", rate=48_000, layout="mono")
            samples = av.AudioFrame.from_ndarray(
                np.zeros((1, 1024), np.float32), format="fltp", layout="mono"
            )
            samples.sample_rate = 48_000
            container.mux(sound.encode(samples))
            container.mux(sound.encode())
    else:
        path.write_bytes(content[kind])
    return str(path)


@pytest.mark.parametrize("stride", [1, 5])
@pytest.mark.parametrize(
    "kind", ["empty", "text", "zeros", "headless", "header only", "sound alone"]
)
def test_what_is_no_video_is_an_error_of_one_line(
    kind: str, stride: int, clip: Path, tmp_path: Path
) -> None:
    path = unreadable(tmp_path, clip, kind)
    with pytest.raises(FoveateError) as caught:
        read(path, Selection(stride))
    assert path in str(caught.value)
    assert "\n" not in str(caught.value)


def test_frames_too_large_are_an_error(clip: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("video.containers.MAX_PIXELS", 64 * 48 - 1)
    with pytest.raises(FoveateError, match="64 x 48"):
        read(clip)


@pytest.mark.parametrize(
    "selection",
    [
        {"stride": 0},
        {"stride": -3},
        {"start": float("nan")},
        {"end": float("inf")},
        {"start": 2.0, "end": 2.0},
    ],
)
def test_selections_that_make_no_sense(selection: dict[str, float]) -> None:
    with pytest.raises(FoveateError):
        Selection(**selection)  # type: ignore[arg-type]  # that is the point


@pytest.mark.parametrize(
    ("selection", "count"),
    [
        (Selection(), 40),
        (Selection(3), 14),
        (Selection(1, 0.5), 30),
        (Selection(2, 0.5, 1.5), 10),
        (Selection(1, 5.0), 0),
        (Selection(every=0.5), 40),
        (Selection(every=0.5, between=False), 4),
        (Selection(every=0.01, between=False), 40),
    ],
)
def test_estimate(selection: Selection, count: int) -> None:
    assert selection.estimate(SourceInfo(64, 48, 20.0, 40, 2.0)) == count
    assert Selection().estimate(SourceInfo(64, 48, 20.0, None, None)) is None


def test_decord_reads_what_it_can_seek(clip: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """It is asked where a key frame every 10 frames lets it leave out decoding, and only there."""
    asked = []
    monkeypatch.setattr(
        decord.VideoReader, "__getitem__", lambda self, i: asked.append(i) or self.next()
    )
    read(clip, Selection(2))
    assert asked == []
    read(clip, Selection(15))
    assert asked == [0, 15, 30]
    asked.clear()
    read(clip, Selection(5, 1.0))
    assert asked == [20, 25, 30, 35]


def test_what_decord_gives_up_on_is_decoded_in_order(
    clip: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    whole, _ = read(clip)
    original = decord.VideoReader.__getitem__

    def fail(self: decord.VideoReader, index: int) -> decord.nd.NDArray:
        if index >= 15:
            raise decord.DECORDError("damaged")
        return original(self, index)

    monkeypatch.setattr(decord.VideoReader, "__getitem__", fail)
    frames, _ = read(clip, Selection(15))
    assert [f.index for f in frames] == [0, 15, 30]
    assert all(np.array_equal(f.image, whole[f.index].image) for f in frames)


def test_stream_url(server: str) -> None:
    frames, skipped = read(f"{server}/clip.mp4", Selection(stride=10, end=1.5))
    assert [f.index for f in frames] == [0, 10, 20]
    assert skipped == 0


@pytest.mark.parametrize(
    "url",
    [
        "{server}/missing.mp4",
        "http://127.0.0.1:9/x.mp4",
        "rtsp://127.0.0.1:9/x",
        "nonsense://x/y",
        "http://",
    ],
)
def test_bad_url(url: str, server: str) -> None:
    url = url.format(server=server)
    with pytest.raises(FoveateError, match="cannot open") as caught:
        read(url)
    assert url in str(caught.value)


@pytest.mark.parametrize("device", ["97", "/dev/null"])
def test_missing_webcam(device: str) -> None:
    with pytest.raises(FoveateError, match="/dev/"):
        read(device)


def test_pictures_in_order_with_one_damaged(tmp_path: Path) -> None:
    for i in range(5):
        cv2.imwrite(str(tmp_path / f"{i}.png"), picture(i)[:, :, ::-1])
    (tmp_path / "2.png").write_bytes(b"no picture")
    frames, skipped = read(tmp_path)
    assert [f.index for f in frames] == [0, 1, 3, 4]
    assert skipped == 1
    assert all(np.array_equal(f.image, picture(f.index)) for f in frames)
    assert frames[-1].path == tmp_path / "4.png"
    assert [f.index for f in read(tmp_path, Selection(stride=2))[0]] == [0, 4]


def test_pictures_none_readable(tmp_path: Path) -> None:
    (tmp_path / "a.png").write_bytes(b"")
    with pytest.raises(FoveateError, match=r"no readable picture in .*a\.png"):
        read(tmp_path / "a.png")


def test_readers_release_their_file(clip: Path) -> None:
    handles = Path("/proc/self/fd")

    def opened() -> int:
        return sum(fd.exists() and fd.resolve() == clip for fd in handles.iterdir())

    (source,) = expand([clip])
    for selection in (Selection(), Selection(25), Selection(1, 1.0)):
        with open_reader(source, selection) as reader:
            next(iter(reader))
            assert opened()
        assert not opened()


def test_reader_of_a_stream_type(clip: Path) -> None:
    (source,) = expand([clip])
    with open_reader(source) as reader:
        assert type(reader) is StreamReader
