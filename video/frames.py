"""What readers yield and say, and which frames are wanted of a source."""

from __future__ import annotations

import math
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from fractions import Fraction
from pathlib import Path
from typing import Protocol, TypeVar

from vision.errors import FoveateError
from vision.results import Frame

T = TypeVar("T")


@dataclass(frozen=True)
class TimedFrame:
    """One frame of a source.

    Args:
        index: position among all frames of the source, from 0.
        time: seconds of the source's own clock.
        image: `(H, W, 3)` uint8 RGB, upright.
        path: the picture's file, when the source is pictures.
    """

    index: int
    time: float
    image: Frame
    path: Path | None = None


@dataclass(frozen=True)
class SourceInfo:
    """What a source says of itself.

    Args:
        width: of the upright frame, in pixels.
        height: of the upright frame, in pixels.
        fps: average frames/s; None when unknown.
        frames: number of frames; None when unknown.
        duration: seconds; None when unknown, as for live sources.
        audio: codec of its sound; None when there is none.
        aspect: width to height of one pixel.
        pictures: names of the pictures, whose times are made up; none of a video.
    """

    width: int
    height: int
    fps: float | None
    frames: int | None
    duration: float | None
    audio: str | None = None
    aspect: Fraction = Fraction(1)
    pictures: tuple[str, ...] = ()


@dataclass(frozen=True)
class Selection:
    """Which frames of a source are wanted.

    Args:
        stride: every n-th frame, counted from the first at or after `start`.
        start: seconds of the source's clock; from the beginning when None.
        end: seconds of the source's clock, itself left out; to the end when None.
        every: of the frames that are read, look at the first and then at the first in each so many
            seconds; at all of them when None or 0.
        between: whether frames that are not looked at are read, too, as for painting.

    Raises:
        FoveateError: a value that selects nothing.
    """

    stride: int = 1
    start: float | None = None
    end: float | None = None
    every: float | None = None
    between: bool = True

    def __post_init__(self) -> None:
        if self.stride < 1:
            raise FoveateError(f"stride {self.stride} is too small; give 1 or more")
        for name, value in (("start", self.start), ("end", self.end)):
            if value is not None and not math.isfinite(value):
                raise FoveateError(f"{name} {value} is no time; give seconds")
        if self.every is not None and not 0 <= self.every < math.inf:
            raise FoveateError(f"every {self.every} is no interval; give seconds")
        if self.start is not None and self.end is not None and self.end <= self.start:
            raise FoveateError(f"end {self.end:g} s must come after start {self.start:g} s")

    def pick(
        self, frames: Iterable[tuple[int, float, T]], rhythm: Rhythm | None = None
    ) -> Iterator[tuple[int, float, T]]:
        """The wanted among frames given as index, time (never decreasing) and payload.

        Args:
            frames: all there are.
            rhythm: a new one, for callers that ask it what is due; kept unless `between`.
        """
        rhythm = rhythm or Rhythm(self.every)
        first = None
        for index, time, item in frames:
            if self.end is not None and time >= self.end:
                return
            if self.start is None or time >= self.start:
                first = index if first is None else first
                if (index - first) % self.stride == 0 and (self.between or rhythm.meets(time)):
                    yield index, time, item

    def mark(self, frames: Iterable[TimedFrame]) -> Iterator[tuple[TimedFrame, bool]]:
        """Frames that are read, in order, each with whether it is one to look at."""
        rhythm = Rhythm(self.every)
        for frame in frames:
            yield frame, rhythm.meets(frame.time)

    @property
    def skips(self) -> bool:
        """Whether frames that are not wanted may lie between or before those that are."""
        return self.stride > 1 or bool(self.start) or (bool(self.every) and not self.between)

    def rate(self, info: SourceInfo) -> float | None:
        """Frames/s that are looked at; None when nobody knows."""
        if info.fps is None:
            return None
        read = info.fps / self.stride
        return min(read, 1 / self.every) if self.every else read

    def estimate(self, info: SourceInfo) -> int | None:
        """How many frames are about to come; None when nobody knows."""
        if self.start is None and self.end is None and info.frames and self.between:
            return math.ceil(info.frames / self.stride)
        if info.fps is None or (info.duration is None and self.end is None):
            return None
        ends = [t for t in (info.duration, self.end) if t is not None]
        rate = info.fps / self.stride if self.between else self.rate(info)
        return math.ceil(max(0.0, min(ends) - (self.start or 0.0)) * (rate or 0.0))


class Rhythm:
    """Says which frames to look at: the first, and then the first in each so many seconds.

    Args:
        every: the seconds; all frames are looked at when None or 0.
    """

    def __init__(self, every: float | None) -> None:
        self._every = every
        self.due = -math.inf
        """Seconds before which no frame is one to look at."""

    def meets(self, time: float) -> bool:
        """Whether the next frame, at this time, is one to look at."""
        if not self._every:
            return True
        if self.due == -math.inf:
            self.due = time
        late = time - self.due + 1e-6  # as clocks of video are no finer
        if late < 0:
            return False
        self.due += self._every * (late // self._every + 1)
        return True


class Reader(Protocol):
    """Yields the wanted frames of a source once, in order. Use it in a `with` block."""

    info: SourceInfo
    notes: list[str]
    """Remarks for the user, such as that the source broke off."""

    @property
    def skipped(self) -> int:
        """Damaged frames passed over so far."""
        ...

    @property
    def missing(self) -> int:
        """At the end of a file that was cut short, the frames it should have had after its end."""
        ...

    def __iter__(self) -> Iterator[TimedFrame]: ...

    def __enter__(self) -> Reader: ...

    def __exit__(self, *exception: object) -> None: ...
