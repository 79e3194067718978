"""A stream task over a source: predict as frames come, then read it again to paint it."""

from __future__ import annotations

from collections.abc import Callable, Generator, Iterable, Mapping, Sequence
from dataclasses import dataclass
from itertools import islice
from typing import Any

from video.background import read_ahead
from video.reader import open_reader
from video.records import EventRecord, RecordSink
from video.work import Work
from vision.results import Result
from vision.tasks.base import StreamPredictor

Events = tuple[int, Sequence[Result]]
"""A number of frames that were looked at, and the events that became certain with them."""

PAINT_AHEAD = 8
"""Frames that the second reading of a source is ahead of the painting."""


@dataclass(frozen=True)
class StreamPass:
    """The pass of a stream task.

    Args:
        work: what it goes over.
        predictor: which looks at frames.
        options: keywords for its `begin`.
        tell: told of each event as it comes.
    """

    work: Work
    predictor: StreamPredictor
    options: Mapping[str, Any]
    tell: Callable[[Result], None] | None

    def look(self) -> Generator[Events, None, None]:
        """Read and predict, a batch at a time."""
        self.predictor.begin(**self.options)
        batch = self.work.batch
        with read_ahead(self.work.reader, 2 * batch) as frames:
            while group := list(islice(frames, batch)):
                images, times = [frame.image for frame in group], [frame.time for frame in group]
                yield len(group), self.predictor.update(images, times)

    def write(self, groups: Iterable[Events], records: RecordSink) -> tuple[int, Result]:
        """Record what `look` yields, then paint; returns the frames and the result for all."""
        show = self.work.show()
        count = 0
        for frames, events in groups:
            records.write(*(EventRecord(result=event) for event in events))
            if self.tell is not None:
                for event in events:
                    self.tell(event)
            count += frames
            show(frames)
        result = self.predictor.finish()
        if self.work.paint:
            self._paint(result, count)
        return count, result

    def _paint(self, result: Result, frames: int) -> None:
        work = self.work
        show = work.show(", painting", frames)
        with (
            work.open_sink() as sink,
            open_reader(work.source, work.selection) as reader,
            read_ahead(reader, PAINT_AHEAD) as ahead,
        ):
            for frame in ahead:
                sink.write(frame, work.draw(frame.image, result, frame.time))
                show(1)
