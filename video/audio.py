"""Sound carried over as it is, next to the annotated picture."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import suppress
from math import inf

import av
import av.error
from av.bitstream import BitStreamFilterContext
from av.container import OutputContainer

from video.containers import open_container, packets
from video.sources import Source

COPIED = frozenset({"aac", "ac3", "alac", "eac3", "flac", "mp3", "opus"})
"""Codecs that MP4 holds and players expect in it."""


class AudioCopy:
    """Copies the first audio track of a file, a little at a time.

    Args:
        source: a video file with sound.
        start: seconds of the source's clock before which nothing is copied.
    """

    def __init__(self, source: Source, start: float | None = None) -> None:
        self._start = start or 0.0  # MP4 has no times below zero, where coders warm up
        self._input = open_container(source)
        self._track = self._input.streams.audio[0]
        context = self._track.codec_context
        codec = context.codec.canonical_name
        self._adts = codec == "aac" and not context.extradata  # as in MPEG transport streams
        self.described_late = self._adts or codec in ("ac3", "eac3")
        """Whether MP4 can describe the sound only once it has seen some."""
        self._packets = self._read()
        self._next = next(self._packets, None)

    def attach(self, output: OutputContainer) -> None:
        """Add a track to a container whose header is not written yet."""
        self._output = output
        self._copy = output.add_stream_from_template(self._track)

    def copy_until(self, end: float) -> None:
        """Copy what comes before a time in seconds, from where the last call left off."""
        while self._next is not None and self._next[0] < end:
            time, packet = self._next
            self._next = next(self._packets, None)
            if time >= self._start:
                packet.stream = self._copy
                try:
                    self._output.mux(packet)
                except (av.error.ArgumentError, av.error.InvalidDataError):
                    self._next = None  # damaged sound ends here; the picture goes on

    def close(self) -> None:
        """Release the file."""
        self._input.close()

    def _read(self) -> Iterator[tuple[float, av.Packet]]:
        """Packets with their times, which increase, up to where the file ends or is damaged."""
        unwrap = BitStreamFilterContext("aac_adtstoasc" if self._adts else "null", self._track)
        last = -inf
        with suppress(av.error.FFmpegError):
            for whole in packets(self._input, self._track):
                for packet in unwrap.filter(whole) if whole.size else ():
                    if packet.pts is not None and packet.time_base is not None:
                        time = float(packet.pts * packet.time_base)
                        if time > last:
                            last = time
                            yield time, packet
