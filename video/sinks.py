"""Annotated video out: H.264 in MP4 that browsers play, whole after any interruption."""

from __future__ import annotations

import math
from collections.abc import Iterator
from contextlib import contextmanager
from fractions import Fraction
from pathlib import Path
from typing import Self

import av
import av.error
import numpy as np
from av.video.frame import PictureType
from av.video.reformatter import ColorPrimaries, ColorRange, Colorspace, ColorTrc

from video.audio import AudioCopy
from video.frames import SourceInfo, TimedFrame
from vision.errors import FoveateError
from vision.results import Frame

CLOCK = 90_000
"""Ticks a second of the output, which fits all usual frame rates."""

KEY_INTERVAL = 1.0
"""Seconds from key frame to key frame, and so of each fragment: what a crash can cost."""

ENCODER = {"preset": "veryfast", "tune": "zerolatency", "crf": "23", "forced-idr": "1"}
"""No frame waits inside the encoder (no look-ahead, no B-frames), so that none is lost there."""

FRAGMENTS = "frag_keyframe+empty_moov+default_base_moof+frag_discont"
"""An MP4 of fragments that each stand for themselves and start at their true time."""


class VideoSink:
    """Writes frames at the source's own times, with its sound.

    Args:
        path: MP4 file to write, replaced if it is there.
        info: of the source; gives size, pixel shape and frame rate.
        stride: of the frames to come, which lowers the frame rate.
        audio: sound to copy along; closed with the sink.

    Raises:
        FoveateError: the file cannot be written.
    """

    def __init__(
        self, path: Path, info: SourceInfo, *, stride: int = 1, audio: AudioCopy | None = None
    ) -> None:
        self._path = path
        self._audio = audio
        self._written = 0
        self._tick = self._key_tick = 0
        rate = Fraction(min(max((info.fps or 25) / stride, 1), 240)).limit_denominator(1001)
        self._interval = 1 / float(rate)
        late = audio is not None and audio.described_late
        options = {
            "movflags": FRAGMENTS + ("+delay_moov" if late else ""),
            "use_editlist": "0",  # players would count from its start,
            "avoid_negative_ts": "disabled",  # and the muxer shift all times to begin at zero
            "flush_packets": "1",
            "max_interleave_delta": "500000",  # microseconds that a silent track holds up others
        }
        with self._explained():
            self._container = av.open(path, "w", format="mp4", options=options)
            stream = self._container.add_stream("libx264", rate=rate, options=dict(ENCODER))
            stream.width = info.width + info.width % 2
            stream.height = info.height + info.height % 2
            stream.pix_fmt = "yuv420p"
            stream.time_base = Fraction(1, CLOCK)
            codec = stream.codec_context
            codec.time_base = Fraction(1, CLOCK)
            codec.gop_size = math.ceil(rate * KEY_INTERVAL)
            codec.sample_aspect_ratio = info.aspect
            codec.colorspace = Colorspace.ITU709
            codec.color_primaries = ColorPrimaries.BT709
            codec.color_trc = ColorTrc.BT709
            codec.color_range = ColorRange.MPEG
            self._stream = stream
            if audio is not None:
                audio.attach(self._container)
            self._container.start_encoding()

    def write(self, frame: TimedFrame, image: Frame) -> None:
        """Append a painted frame at the time of its original.

        Args:
            frame: the original.
            image: `(H, W, 3)` uint8 RGB of the source's size.

        Raises:
            FoveateError: the disk is full or gone.
        """
        picture = av.VideoFrame.from_ndarray(self._even(image), format="rgb24").reformat(
            format="yuv420p", dst_colorspace=Colorspace.ITU709, dst_color_range=ColorRange.MPEG
        )
        tick = round(frame.time * CLOCK)
        tick = max(tick, self._tick + 1) if self._written else max(tick, 0)
        if not self._written or tick - self._key_tick >= KEY_INTERVAL * CLOCK:
            picture.pict_type = PictureType.I
            self._key_tick = tick
        picture.pts, picture.time_base = tick, Fraction(1, CLOCK)
        self._tick = tick
        self._written += 1
        with self._explained():
            self._container.mux(self._stream.encode(picture))
            if self._audio is not None:
                self._audio.copy_until(tick / CLOCK)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *exception: object) -> None:
        try:
            with self._explained():
                if self._written:
                    self._container.mux(self._stream.encode())
                    if self._audio is not None:
                        self._audio.copy_until(self._tick / CLOCK + self._interval)
                self._container.close()
        finally:
            if self._audio is not None:
                self._audio.close()
            if not self._written:
                self._path.unlink(missing_ok=True)

    @staticmethod
    def _even(image: Frame) -> Frame:
        """Repeat the last row or column where H.264's half-size chroma asks for even sizes."""
        height, width = image.shape[:2]
        if height % 2 == 0 and width % 2 == 0:
            return image
        return np.pad(image, ((0, height % 2), (0, width % 2), (0, 0)), mode="edge")

    @contextmanager
    def _explained(self) -> Iterator[None]:
        """Errors of the file system or encoder as a line for the user."""
        try:
            yield
        except (OSError, av.error.FFmpegError) as error:
            raise FoveateError(f"cannot write {self._path}: {error.strerror}") from error
