"""A source under way: what is read of it, who looks at it, and where the results go."""

from __future__ import annotations

from collections.abc import Callable, Generator, Iterable
from dataclasses import dataclass
from typing import Any, Protocol, TypeVar

from video.audio import COPIED, AudioCopy
from video.frames import Reader, Selection
from video.outputs import Outputs
from video.pictures import PictureSink
from video.progress import Meter, shower
from video.records import RecordSink
from video.sinks import VideoSink
from video.sources import Source
from vision.results import Frame

T = TypeVar("T")

Draw = Callable[..., Frame]
"""Paints a result on a copy of its frame: the `draw` of a `vision.tasks.base.Task`."""


@dataclass(frozen=True)
class Work:
    """What the passes over a source share.

    Args:
        source: it.
        selection: which of its frames are wanted.
        reader: reads them.
        outputs: where the results go.
        draw: paints a result.
        paint: whether painted frames are wanted.
        batch: frames that are read together.
        progress: bars that show how far it is.
    """

    source: Source
    selection: Selection
    reader: Reader
    outputs: Outputs
    draw: Draw
    paint: bool
    batch: int
    progress: Meter | None

    def show(self, doing: str = "", total: int | None = None) -> Callable[[int], None]:
        """A function that moves a new bar on by some frames.

        Args:
            doing: said behind the source's name.
            total: frames to come; estimated when None.
        """
        total = self.selection.estimate(self.reader.info) if total is None else total
        return shower(self.progress, self.source.name + doing, total)

    def open_sink(self) -> VideoSink | PictureSink:
        """Where painted frames go; use it in a `with` block."""
        if self.source.kind == "pictures":
            return PictureSink(self.outputs.picture)
        info, stride, audio = self.reader.info, self.selection.stride, self._audio()
        try:
            return VideoSink(self.outputs.video, info, stride=stride, audio=audio)
        except BaseException:
            if audio is not None:
                audio.close()
            raise

    def _audio(self) -> AudioCopy | None:
        """The source's sound; None, with a note, when it cannot be kept."""
        info, notes = self.reader.info, self.reader.notes
        if info.audio is None:
            return None
        if info.duration is None:
            notes.append("the sound of a live source is not kept")
        elif info.audio not in COPIED:
            notes.append(f"{info.audio} sound does not go into MP4 and is left out")
        else:
            return AudioCopy(self.source, self.selection.start)
        return None


class Pass(Protocol[T]):
    """How a task goes over a source: what `look` yields goes to `write`, group by group."""

    def look(self) -> Generator[T, None, None]:
        """Read and predict, a batch at a time."""
        ...

    def write(self, groups: Iterable[T], records: RecordSink) -> tuple[int, Any]:
        """Record and paint; returns how many frames were looked at, and the result for all."""
        ...
