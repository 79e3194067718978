"""Parts of a video file, by seeking: frames with others between them, or after some time."""

from __future__ import annotations

from collections.abc import Iterator

import av.error
import decord
import numpy as np

from video.containers import open_container, packets, video_stream
from video.frames import TimedFrame
from video.reader import MP4, StreamReader, quarters

decord.logging.set_level(decord.logging.FATAL)


INDEXED = (MP4, "matroska,webm")
"""Formats with an index that tells where each frame is. In others, seeking is a guess."""


class SparseReader(StreamReader):
    """Reads frames with decord, which seeks past those not wanted, wherever that is safe and pays.

    decord garbles rotated video and does not say when it returns another frame than it was asked
    for. Hence it reads only files whose index is whole; others are decoded in order instead.
    """

    def __iter__(self) -> Iterator[TimedFrame]:
        last = -1
        try:
            for frame in self._seek():
                yield frame
                last = frame.index
        except _Unsuitable:
            yield from (frame for frame in super().__iter__() if frame.index > last)

    def _seek(self) -> Iterator[TimedFrame]:
        times, keys = self._index()
        timed = ((index, float(time), None) for index, time in enumerate(times))
        wanted = [(index, time) for index, time, _ in self._selection.pick(timed)]
        # With a key frame between any two, all frames have to be decoded anyway.
        if not self._selection.start and keys <= len(wanted):
            raise _Unsuitable
        try:
            video = decord.VideoReader(self._location, num_threads=0)
        except (decord.DECORDError, RuntimeError) as error:
            raise _Unsuitable from error
        try:
            if len(video) != len(times):
                raise _Unsuitable
            for index, time in wanted:
                image = video[index].asnumpy()
                if image.shape != (self.info.height, self.info.width, 3):
                    raise _Unsuitable
                yield TimedFrame(index, time, image)
        except (decord.DECORDError, RuntimeError) as error:
            raise _Unsuitable from error
        finally:
            del video  # its threads and memory, which only its destructor gives back

    def _index(self) -> tuple[np.ndarray, int]:
        """Time of each frame in seconds, `(N,)` float64, and how many are key frames."""
        if self.info.duration is None or (self._first is not None and quarters(self._first)):
            raise _Unsuitable
        ticks: list[int] = []
        keys: list[int] = []
        with open_container(self._source) as container:
            stream = video_stream(container, self._source)
            if container.format.name not in INDEXED:
                raise _Unsuitable
            try:
                for packet in packets(container, stream):
                    if packet.size == 0:  # the end
                        break
                    if packet.pts is None or packet.is_corrupt or packet.is_discard:
                        raise _Unsuitable
                    if packet.is_keyframe:
                        keys.append(packet.pts)
                    elif not keys or packet.pts < keys[-1]:
                        # Shown before the key frame, decoded after it: where groups of pictures
                        # are open like this, decord returns wrong frames.
                        raise _Unsuitable
                    ticks.append(packet.pts)
            except av.error.FFmpegError as error:
                raise _Unsuitable from error
            base = stream.time_base
        if base is None or len(set(ticks)) < len(ticks):
            raise _Unsuitable
        return np.sort(ticks) * base.numerator / base.denominator, len(keys)


class _Unsuitable(Exception):
    """The file is to be decoded in order."""
