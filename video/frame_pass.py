"""A frame task over a source: read ahead, predict in batches, paint and write behind."""

from __future__ import annotations

from collections.abc import Callable, Generator, Iterable, Mapping, Sequence
from contextlib import nullcontext
from dataclasses import dataclass
from itertools import islice
from pathlib import Path
from typing import Any

from video.background import read_ahead, write_behind
from video.frames import Selection, SourceInfo, TimedFrame
from video.pictures import PictureSink
from video.records import FrameRecord, RecordSink
from video.sinks import VideoSink
from video.sources import Source, picture_names
from video.work import Work
from vision.results import Result
from vision.tasks.base import FrameFiles, FramePredictor, NamingPredictor

Looked = Sequence[tuple[TimedFrame, Result | None]]
"""Frames in order, with results for those that were looked at."""

Step = Callable[[TimedFrame, Any], Any]
"""Takes each frame with its result, in order, and returns the result to go on with."""

MakeStep = Callable[[SourceInfo, Selection, Path], Step]
"""Makes a step for one source: what the source is, what is read of it, and its outputs' stem."""


@dataclass(frozen=True)
class FramePass:
    """The pass of a frame task.

    Args:
        work: what it goes over.
        predictor: whose `predict` looks at frames.
        options: keywords for it.
        steps: what happens to each result before it is written.
    """

    work: Work
    predictor: FramePredictor
    options: Mapping[str, Any]
    steps: Sequence[Step]

    def look(self) -> Generator[Looked, None, None]:
        """Read and predict, a batch at a time."""
        work, options = self.work, dict(self.options)
        name = namer(work.source)
        with read_ahead(work.selection.mark(work.reader), 2 * work.batch) as frames:
            while group := list(islice(frames, work.batch)):
                wanted = [frame for frame, due in group if due]
                images = [frame.image for frame in wanted]
                if isinstance(self.predictor, NamingPredictor):
                    options["names"] = [name(frame) for frame in wanted]
                results = self.predictor.predict(images, **options) if images else ()
                found = {f.index: result for f, result in zip(wanted, results, strict=True)}
                yield [(frame, found.get(frame.index)) for frame, _ in group]

    def write(self, groups: Iterable[Looked], records: RecordSink) -> tuple[int, None]:
        """Record what `look` yields, and paint it; returns how many frames were looked at."""
        count = 0
        with (
            self.work.open_sink() if self.work.paint else nullcontext() as sink,
            write_behind(self._writer(records, sink), 2) as put,
        ):
            for group in groups:
                put(group)
                count += sum(result is not None for _, result in group)
        return count, None

    def _writer(
        self, records: RecordSink, sink: VideoSink | PictureSink | None
    ) -> Callable[[Looked], None]:
        """What the writing thread does with a group; frames between get the last result."""
        show = self.work.show()
        last: Any = None

        def write(group: Looked) -> None:
            nonlocal last
            for frame, result in group:
                if result is not None:
                    for step in self.steps:
                        result = step(frame, result)
                    records.write(FrameRecord.of(frame, result))
                    last = result
                if sink is not None:
                    sink.write(frame, self.work.draw(frame.image, last))
                show(1)

        return write


def add_to(files: FrameFiles, source: Source) -> Step:
    """A step that tells files of each frame and its result."""
    name = namer(source)

    def add(frame: TimedFrame, result: Any) -> Any:
        files.add(frame.image, frame.time, name(frame), result)
        return result

    return add


def namer(source: Source) -> Callable[[TimedFrame], str]:
    """What frames of a source are called: pictures by name, others by number (`"000123"`)."""
    names = picture_names(source.pictures)
    return lambda frame: f"{frame.index:06}" if frame.path is None else names[frame.path]
