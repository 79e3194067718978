"""Opening what FFmpeg can open, with errors that a user understands."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path

import av
import av.error
from av.container import InputContainer
from av.stream import Stream
from av.video.stream import VideoStream

from video.sources import Source
from vision.errors import FoveateError

MAX_PIXELS = 2**26
"""Largest frame accepted (8192 x 8192), so that a damaged header cannot claim all memory."""

TIMEOUT = 10.0
"""Seconds to wait for a webcam or a server, to open and for each read."""


def open_container(source: Source) -> InputContainer:
    """Open a video file, webcam or stream URL.

    Raises:
        FoveateError: it is missing, empty, unreadable or no video.
    """
    location = source.location
    live = source.kind == "stream"
    device = live and "://" not in location
    if not live and Path(location).is_file() and os.path.getsize(location) == 0:
        raise FoveateError(f"{location} is empty (0 bytes)")
    try:
        return av.open(
            location,
            format="v4l2" if device else None,
            timeout=TIMEOUT if live else None,
            metadata_errors="replace",
        )
    except av.error.InvalidDataError:
        raise FoveateError(f"{location} is not a video that can be read") from None
    except av.error.FFmpegError as error:
        raise FoveateError(f"cannot open {location}: {error.strerror}") from None


def video_stream(container: InputContainer, source: Source) -> VideoStream:
    """The first video stream.

    Raises:
        FoveateError: there is none, none that can be decoded, or its frames are too large.
    """
    streams = container.streams.video
    if not streams:
        raise FoveateError(f"{source.location} has no video stream")
    codec = streams[0].codec_context
    if codec is None:
        raise FoveateError(f"{source.location} is in a format that cannot be decoded")
    if codec.width * codec.height > MAX_PIXELS:
        raise FoveateError(
            f"{source.location} has frames of {codec.width} x {codec.height}; too large"
        )
    return streams[0]


def packets(container: InputContainer, stream: Stream) -> Iterator[av.Packet]:
    """Packets of one stream in order; raises `av.error.FFmpegError` where the source breaks off."""
    while True:
        try:
            yield from container.demux(stream)
            return
        except IndexError:
            # PyAV stumbles over packets of streams that only begin later. They are not ours.
            continue


def audio_codec(container: InputContainer) -> str | None:
    """Name of the codec of the first audio stream; None without one that makes sense."""
    streams = container.streams.audio
    context = streams[0].codec_context if streams else None
    if context is None or not context.sample_rate:
        return None
    return context.codec.canonical_name
