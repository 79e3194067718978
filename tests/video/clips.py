"""Small videos of every kind, made with PyAV, and predictors that need no weights."""

from __future__ import annotations

import struct
from collections.abc import Sequence
from fractions import Fraction
from pathlib import Path
from typing import Any

import av
import numpy as np

from vision.results import Detection, Detections, Frame, Result

RATE = 20
CLOCK = Fraction(1, 10_000)


def picture(i: int, width: int = 64, height: int = 48) -> Frame:
    """A dark frame with a white square that moves right, and a red corner at the top left."""
    image = np.full((height, width, 3), 40, np.uint8)
    image[:8, :8] = (200, 20, 20)
    x = (i * 2) % (width - 8)
    image[height // 2 : height // 2 + 8, x : x + 8] = 255
    return image


def write_clip(
    path: Path,
    frames: int = 40,
    size: tuple[int, int] = (64, 48),
    *,
    times: Sequence[float] | None = None,
    audio: str | None = None,
    still: bool = False,
    codec: str = "libx264",
    options: dict[str, str] | None = None,
    pix_fmt: str = "yuv420p",
) -> Path:
    """Write a clip of `picture`s at 20 frames/s, or at the times given."""
    width, height = size
    with av.open(str(path), "w") as container:
        stream = container.add_stream(codec, rate=RATE, options=options or {"g": "10"})
        stream.width, stream.height, stream.pix_fmt = width, height, pix_fmt
        stream.codec_context.time_base = CLOCK
        sound = container.add_stream(audio, rate=48_000, layout="mono") if audio else None
        for i in range(frames):
            frame = av.VideoFrame.from_ndarray(picture(0 if still else i, *size), format="rgb24")
            frame.pts, frame.time_base = round((times[i] if times else i / RATE) / CLOCK), CLOCK
            container.mux(stream.encode(frame))
            if sound is not None:
                tone = np.sin(np.arange(2400) * 0.06 + i * 144) * 8000
                samples = av.AudioFrame.from_ndarray(
                    tone.astype(np.int16)[None], format="s16", layout="mono"
                )
                samples.sample_rate, samples.pts = 48_000, i * 2400
                samples.time_base = Fraction(1, 48_000)
                container.mux(sound.encode(samples))
        for track in (stream, sound):
            if track is not None:
                container.mux(track.encode())
    return path


def rotate(path: Path, target: Path, degrees: int) -> Path:
    """Copy an MP4 and set its display matrix to turn the picture clockwise."""
    content = bytearray(path.read_bytes())
    cos, sin = {90: (0, 1), 180: (-1, 0), 270: (0, -1)}[degrees]
    matrix = struct.pack(">9i", *(n << 16 for n in (cos, sin, 0, -sin, cos, 0, 0, 0)), 1 << 30)
    at = content.index(b"tkhd") + 44  # of a version 0 box
    content[at : at + 36] = matrix
    target.write_bytes(content)
    return target


def damage(path: Path, target: Path, start: float, length: int = 400) -> Path:
    """Copy a file with some bytes of its payload zeroed, from a fraction of its length on."""
    content = bytearray(path.read_bytes())
    at = int(len(content) * start)
    content[at : at + length] = bytes(len(content[at : at + length]))
    target.write_bytes(content)
    return target


def decode(path: Path) -> tuple[list[float], list[Frame]]:
    """Times in seconds and frames of a video, by PyAV alone."""
    with av.open(str(path)) as container:
        frames = list(container.decode(video=0))
        return [frame.time for frame in frames], [f.to_ndarray(format="rgb24") for f in frames]


class Spot(Result):
    """Where a frame is brightest."""

    x: int
    y: int


class Brightest:
    """A frame predictor: the first brightest pixel."""

    def predict(self, images: Sequence[Frame], **options: Any) -> list[Spot]:
        places = [np.unravel_index(im.sum(2, dtype=int).argmax(), im.shape[:2]) for im in images]
        return [Spot(x=int(x), y=int(y)) for y, x in places]


def draw_spot(frame: Frame, spot: Spot) -> Frame:
    """Paint the brightest place green."""
    painted = frame.copy()
    painted[spot.y : spot.y + 8, spot.x : spot.x + 8] = (0, 255, 0)
    return painted


class Boxes:
    """A frame predictor: a box around what is white, scored 0.4."""

    def predict(self, images: Sequence[Frame], **options: Any) -> list[Detections]:
        return [self._one(image) for image in images]

    def _one(self, image: Frame) -> Detections:
        ys, xs = np.nonzero(image.min(2) > 200)
        height, width = image.shape[:2]
        box = (
            (float(xs.min()), float(ys.min()), xs.max() + 1.0, ys.max() + 1.0) if len(xs) else None
        )
        found = [Detection(label="white", category=1, score=0.4, box=box)] if box else []
        return Detections(width=width, height=height, objects=found)
