"""The annotated video plays in browsers, keeps times, colours and sound, and survives a cut."""

from __future__ import annotations

from fractions import Fraction
from itertools import pairwise
from pathlib import Path
from tempfile import TemporaryDirectory

import av
import av.error
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.video.clips import decode, picture, write_clip
from video.audio import AudioCopy
from video.frames import SourceInfo, TimedFrame
from video.pictures import save_picture
from video.reader import open_reader
from video.sinks import VideoSink
from video.sources import expand
from vision.errors import FoveateError

INFO = SourceInfo(64, 48, 20.0, None, None)


def write(path: Path, times: list[float], info: SourceInfo = INFO) -> None:
    with VideoSink(path, info) as sink:
        for i, time in enumerate(times):
            image = picture(i, info.width, info.height)
            sink.write(TimedFrame(i, time, image), image)


def keys(path: Path) -> list[float]:
    with av.open(str(path)) as container:
        packets = [p for p in container.demux(video=0) if p.size]
        return [float(p.pts * p.time_base) for p in packets if p.is_keyframe]


def sound(path: Path) -> list[bytes]:
    with av.open(str(path)) as container:
        return [bytes(p) for p in container.demux(audio=0) if p.size]


def test_what_browsers_ask_for(tmp_path: Path) -> None:
    path = tmp_path / "out.mp4"
    write(
        path,
        [i / 20 for i in range(40)],
        SourceInfo(64, 48, 20.0, None, None, None, Fraction(4, 3)),
    )
    content = path.read_bytes()
    assert content[4:8] == b"ftyp"
    assert content.index(b"moov") < content.index(b"mdat")
    with av.open(str(path)) as container:
        stream = container.streams.video[0]
        codec = stream.codec_context
        assert codec.name == "h264"
        assert codec.pix_fmt == "yuv420p"
        assert (codec.colorspace, codec.color_primaries, codec.color_trc) == (1, 1, 1)  # BT.709
        assert codec.color_range == 1  # limited
        assert stream.sample_aspect_ratio == Fraction(4, 3)
        packets = [p for p in container.demux(stream) if p.size]
        assert all(p.pts == p.dts for p in packets)


@settings(max_examples=20, deadline=None)
@given(st.tuples(*[st.integers(0, 255)] * 3))
def test_colours_are_kept(colour: tuple[int, int, int]) -> None:
    image = np.full((48, 64, 3), colour, np.uint8)
    with TemporaryDirectory() as folder:
        with VideoSink(Path(folder, "out.mp4"), INFO) as sink:
            sink.write(TimedFrame(0, 0.0, image), image)
        _, (back,) = decode(Path(folder, "out.mp4"))
    assert np.abs(back.astype(int) - image).max() <= 8


@pytest.mark.parametrize("size", [(63, 47), (64, 47), (33, 48), (17, 19)])
def test_odd_sizes_are_padded_by_their_edge(size: tuple[int, int], tmp_path: Path) -> None:
    path = tmp_path / "odd.mp4"
    width, height = size
    image = np.zeros((height, width, 3), np.uint8)
    image[:, : width // 2] = 200
    with VideoSink(path, SourceInfo(width, height, 20.0, None, None)) as sink:
        sink.write(TimedFrame(0, 0.0, image), image)
    _, (back,) = decode(path)
    assert back.shape == (height + height % 2, width + width % 2, 3)
    assert np.abs(back[:height, : width // 2 - 2].astype(int) - 200).max() < 8
    assert back[-1, -1].max() < 12


@pytest.mark.parametrize(
    "times",
    [
        [i / 20 for i in range(80)],
        [i * 1001 / 30000 for i in range(80)],
        [5 + i / 20 for i in range(30)],
        [i * 2.5 for i in range(8)],
        np.cumsum(np.random.default_rng(1).uniform(0.002, 0.4, 60)).tolist(),
    ],
    ids=["steady", "ntsc", "late start", "sparse", "variable"],
)
def test_times_are_kept_and_key_frames_come_each_second(times: list[float], tmp_path: Path) -> None:
    path = tmp_path / "out.mp4"
    write(path, times)
    back, _ = decode(path)
    assert back == pytest.approx(times, abs=1 / 90_000)
    marks = [*keys(path), back[-1]]
    assert marks[0] == back[0]
    step = max(b - a for a, b in pairwise(back))
    assert all(b - a <= 1 + step for a, b in pairwise(marks))


def test_times_that_stand_still_or_are_negative_still_increase(tmp_path: Path) -> None:
    path = tmp_path / "out.mp4"
    write(path, [-1.0, -0.5, 0.1, 0.1, 0.2])
    back, _ = decode(path)
    assert len(back) == 5
    assert all(a < b for a, b in pairwise(back))


@pytest.mark.parametrize("still", [False, True])
@pytest.mark.parametrize("part", [0.5, 0.8, 0.97])
def test_any_beginning_of_the_file_plays(still: bool, part: float, tmp_path: Path) -> None:
    path, cut = tmp_path / "out.mp4", tmp_path / "cut.mp4"
    with VideoSink(path, INFO) as sink:
        for i in range(120):
            image = picture(0 if still else i)
            sink.write(TimedFrame(i, i / 20, image), image)
    content = path.read_bytes()
    cut.write_bytes(content[: int(len(content) * part)])
    (source,) = expand([cut])
    with open_reader(source) as reader:
        frames = list(reader)
    assert [f.index for f in frames] == list(range(len(frames)))
    assert len(frames) >= 120 * part - 45


SOUNDS = [
    ("aac", "mp4"),
    ("aac", "mkv"),
    ("aac", "ts"),
    ("libmp3lame", "mp4"),
    ("libmp3lame", "avi"),
    ("ac3", "mkv"),
    ("eac3", "mkv"),
    ("flac", "mkv"),
    ("libopus", "mkv"),
]


@pytest.mark.parametrize(("codec", "suffix"), SOUNDS)
def test_sound_is_copied(codec: str, suffix: str, tmp_path: Path) -> None:
    path = write_clip(tmp_path / f"clip.{suffix}", 60, audio=codec)
    (source,) = expand([path])
    target = tmp_path / "out.mp4"
    with (
        open_reader(source) as reader,
        VideoSink(target, reader.info, audio=AudioCopy(source)) as sink,
    ):
        for frame in reader:
            sink.write(frame, frame.image)
    with av.open(str(path)) as a, av.open(str(target)) as b:
        assert a.streams.audio[0].codec_context.codec.canonical_name == (
            b.streams.audio[0].codec_context.codec.canonical_name
        )
        heard = max(0, next(a.decode(audio=0)).time)
        played = list(b.decode(audio=0))
    assert sum(f.samples for f in played) / 48_000 == pytest.approx(3, abs=0.1)
    before, after = sound(path), sound(target)
    if suffix == "ts":  # each packet loses its transport header there
        before = [packet[7:] for packet in before]
    assert set(after) <= set(before)
    assert len(after) >= len(before) - 2  # what a coder needs to warm up lies before zero
    times, _ = decode(target)
    if suffix != "avi":  # which has no times of its own
        assert times == pytest.approx(decode(path)[0], abs=1e-4)
    assert played[0].time == pytest.approx(heard, abs=0.05)  # and stays with the picture


def test_sound_of_a_part_begins_with_the_part(sounding: Path, tmp_path: Path) -> None:
    (source,) = expand([sounding])
    target = tmp_path / "out.mp4"
    with VideoSink(target, INFO, audio=AudioCopy(source, 1.0)) as sink:
        for i in range(20, 30):
            sink.write(TimedFrame(i, i / 20, picture(i)), picture(i))
    with av.open(str(target)) as container:
        played = [frame.time for frame in container.decode(audio=0)]
    assert 1.0 <= played[0] < 1.05
    assert 1.4 < played[-1] < 1.5


def test_sound_that_mp4_refuses_ends_there(sounding: Path, tmp_path: Path) -> None:
    """The muxer turns some damaged packets down."""
    (source,) = expand([sounding])
    audio = AudioCopy(source)
    asked = []

    class Refusing:
        def __init__(self) -> None:
            self.container = av.open(str(tmp_path / "out.mp4"), "w")

        def add_stream_from_template(self, track: av.AudioStream) -> av.AudioStream:
            return self.container.add_stream_from_template(track)

        def mux(self, packet: av.Packet) -> None:
            asked.append(packet)
            raise av.error.ArgumentError(22, "Invalid argument")

    audio.attach(Refusing())
    audio.copy_until(0.5)
    audio.copy_until(2.0)
    audio.close()
    assert len(asked) == 1


def test_no_frames_leave_no_file(tmp_path: Path) -> None:
    write(tmp_path / "out.mp4", [])
    assert list(tmp_path.iterdir()) == []


def test_full_disk_is_one_line(tmp_path: Path) -> None:
    path = tmp_path / "out.mp4"
    path.symlink_to("/dev/full")
    with pytest.raises(FoveateError, match=r"cannot write .*out\.mp4: No space left on device"):
        write(path, [i / 20 for i in range(100)])


def test_unwritable_place_is_one_line(tmp_path: Path) -> None:
    with pytest.raises(FoveateError, match=r"cannot write .*out\.mp4: No such file"):
        write(tmp_path / "missing" / "out.mp4", [0.0])


@pytest.mark.parametrize("suffix", [".png", ".jpg", ".JPG", ".bmp", ".webp", ".tiff"])
def test_pictures(suffix: str, tmp_path: Path) -> None:
    path = tmp_path / "deep" / f"a{suffix}"
    save_picture(path, picture(3))
    (source,) = expand([path])
    with open_reader(source) as reader:
        (frame,) = reader
    difference = np.abs(frame.image.astype(int) - picture(3)).mean()
    assert difference <= (0 if suffix in (".png", ".bmp", ".tiff") else 6)
    assert [p.name for p in path.parent.iterdir()] == [path.name]


def test_pictures_are_whole_or_not_there(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "a.png"
    save_picture(path, picture(0))
    before = path.read_bytes()

    def full(self: Path, data: bytes) -> int:
        self.open("wb").write(data[:10])
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(Path, "write_bytes", full)
    with pytest.raises(FoveateError, match=r"cannot write .*a\.png: No space left on device"):
        save_picture(path, picture(9))
    assert path.read_bytes() == before
    assert list(tmp_path.iterdir()) == [path]
