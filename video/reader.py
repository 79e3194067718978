"""Frames in: video files, webcams, stream URLs and pictures, each frame at its own time."""

from __future__ import annotations

from collections.abc import Generator, Iterator
from fractions import Fraction
from heapq import heappop, heappush
from typing import Self

import av
import av.error
import numpy as np
from av.container import InputContainer
from av.video.stream import VideoStream

from video.containers import audio_codec, open_container, packets, video_stream
from video.frames import Reader, Rhythm, Selection, SourceInfo, TimedFrame
from video.sources import Source
from vision.errors import FoveateError
from vision.results import Frame

EVERYTHING = Selection()

MP4 = "mov,mp4,m4a,3gp,3g2,mj2"
"""FFmpeg's name for the family of formats whose index lists every frame."""

PAUSE = 0.1
"""Seconds that a source's clock may stand still or jump back."""


def open_reader(source: Source, selection: Selection = EVERYTHING) -> Reader:
    """Open a source for reading.

    Videos and streams are decoded in order by PyAV, which says which frames are damaged. A file of
    which only parts are wanted is read by seeking, with decord, where that saves decoding.

    Args:
        source: one of `video.sources.expand`.
        selection: which frames are wanted; all of them by default.

    Returns:
        A reader, to be used in a `with` block.

    Raises:
        FoveateError: the source is missing, empty, or holds nothing that can be decoded.
    """
    from video.pictures import PictureReader
    from video.sparse import SparseReader

    if source.kind == "pictures":
        return PictureReader(source, selection)
    if source.kind == "video" and selection.skips:
        return SparseReader(source, selection)
    return StreamReader(source, selection)


class StreamReader:
    """Decodes a video or stream in order, skipping and counting damaged frames."""

    def __init__(self, source: Source, selection: Selection) -> None:
        self.notes: list[str] = []
        self._source = source
        self._location = source.location
        self._selection = selection
        self._rhythm = Rhythm(None if selection.between else selection.every)
        self._container = open_container(source)
        try:
            self._stream = video_stream(self._container, source)
            self._stream.thread_type = "AUTO"
            self._yielded = self._damaged = self._hidden = self._packets = self._spared = 0
            self._at_end = False
            self._listed = _listed(self._container, self._stream)
            self._coming: list[int] = []  # heap of the times of frames that are not out yet
            self._passed = 0
            self._origin = 0.0  # of a live source's clock
            # AVI knows no other; FFmpeg's guesses at presentation times are out of order.
            self._only_decoding_times = self._container.format.name == "avi"
            self._frames = self._decode()
            self._first = next(self._frames, None)
            if self._first is None:
                raise FoveateError(f"{source.location} holds no frame that can be decoded")
            self.info = self._describe(self._first)
        except BaseException:
            self._container.close()
            raise

    @property
    def skipped(self) -> int:
        """Damaged frames so far; at the end of an MP4 also those that it promised and lacks."""
        if not self._at_end or self._listed is None or self._spared:
            return self._damaged
        return max(self._damaged, self._listed - self._hidden - self._yielded)

    @property
    def missing(self) -> int:
        """At the end of an MP4, the frames that its index lists and the file no longer holds."""
        if not self._at_end or self._listed is None:
            return 0
        return max(0, self._listed - self._packets)

    def __iter__(self) -> Iterator[TimedFrame]:
        for index, time, frame in self._selection.pick(self._timed(), self._rhythm):
            yield TimedFrame(index, time, self._upright(frame))

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *exception: object) -> None:
        self._frames.close()
        self._container.close()

    def _describe(self, frame: av.VideoFrame) -> SourceInfo:
        width, height = frame.width, frame.height
        aspect = self._stream.sample_aspect_ratio or Fraction(1)
        if quarters(frame) % 2:
            width, height, aspect = height, width, 1 / aspect
        rate = self._stream.average_rate or self._stream.guessed_rate
        length = self._container.duration
        return SourceInfo(
            width=width,
            height=height,
            fps=float(rate) if rate else None,
            frames=self._listed,
            duration=length / av.time_base if length else None,
            audio=audio_codec(self._container),
            aspect=aspect,
        )

    def _timed(self) -> Iterator[tuple[int, float, av.VideoFrame]]:
        """Undamaged frames with their index and strictly increasing time."""
        frame, self._first = self._first, None
        base = self._stream.time_base or Fraction(1, 1000)
        last = None
        while frame is not None:
            index, tick = self._place(frame)
            if tick is not None:
                time = tick * base.numerator / base.denominator
            else:
                time = index / (self.info.fps or 25)
            if last is None and self.info.duration is None:
                # A live clock tells the user nothing: it counts from the first frame.
                self._origin = time
            time -= self._origin
            if last is not None and time <= last:
                time = last + float(base)
            last = time
            yield index, time, frame
            frame = next(self._frames, None)

    def _place(self, frame: av.VideoFrame) -> tuple[int, int | None]:
        """Index of a frame, counting those before it that could not be decoded, and its time."""
        tick = frame.pts
        if self._only_decoding_times and self._coming:
            tick = heappop(self._coming)
            self._passed += 1
            return self._passed - 1, tick
        if tick is None:
            return self._yielded + self._damaged - 1, None
        while self._coming and self._coming[0] < tick:
            heappop(self._coming)
            self._passed += 1
        return self._passed, tick

    def _decode(self) -> Generator[av.VideoFrame]:
        """Undamaged frames as they come, the decoder's last ones too."""
        source = packets(self._container, self._stream)
        codec = self._stream.codec_context
        packet: av.Packet | None
        while not self._at_end:
            try:
                packet = next(source, None)
            except av.error.FFmpegError as error:
                self.notes.append(f"{self._location} broke off: {error.strerror}")
                packet = None
            self._at_end = packet is None
            self._packets += packet is not None and (packet.size > 0 or packet.pts is not None)
            if packet is not None and packet.is_discard:
                self._hidden += 1  # by an edit list
            elif packet is not None:
                tick = packet.dts if self._only_decoding_times else packet.pts
                if tick is not None:
                    heappush(self._coming, tick)
            spare = packet is not None and self._can_spare(packet)
            self._spared += spare
            codec.skip_frame = "NONREF" if spare else "DEFAULT"
            try:
                frames = codec.decode(packet)
            except av.error.EOFError:
                frames = []
            except av.error.FFmpegError:
                frames = []
                self._damaged += 1
            for frame in frames:
                if frame.is_corrupt:
                    self._damaged += 1
                else:
                    self._yielded += 1
                    yield frame

    def _can_spare(self, packet: av.Packet) -> bool:
        """Whether a packet need be decoded only if other frames are built on its frame.

        H.264 tells that of every frame. The frame is known not to be wanted by its time.
        """
        if self._stream.codec_context.name != "h264" or self._only_decoding_times:
            return False
        if packet.pts is None or packet.time_base is None:
            return False
        time = float(packet.pts * packet.time_base) - self._origin
        return time < self._rhythm.due - PAUSE

    def _upright(self, frame: av.VideoFrame) -> Frame:
        """An upright RGB array of the size that the first frame had."""
        width, height = self.info.width, self.info.height
        if quarters(frame) % 2:
            width, height = height, width
        image = frame.to_ndarray(format="rgb24", width=width, height=height)
        return np.ascontiguousarray(np.rot90(image, quarters(frame)))


def _listed(container: InputContainer, stream: VideoStream) -> int | None:
    """How many frames an MP4 lists; those that an edit list cuts off are no longer among them."""
    if container.format.name != MP4 or not stream.frames:
        return None
    return len(stream.index_entries)


def quarters(frame: av.VideoFrame) -> int:
    """Quarter turns against the clock that bring a frame upright."""
    return round(frame.rotation / 90) % 4
