"""Runs a predictor over a source: read ahead, predict in batches, then paint and write behind."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping, Sequence
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass
from itertools import islice
from pathlib import Path
from typing import Any, Protocol

from rich.progress import (
    BarColumn,
    MofNCompleteColumn,
    Progress,
    ProgressColumn,
    TextColumn,
    TimeRemainingColumn,
)
from rich.progress import Task as ProgressTask
from rich.text import Text

from video.audio import COPIED, AudioCopy
from video.background import read_ahead, write_behind
from video.frames import Reader, Selection, SourceInfo, TimedFrame
from video.outputs import Outputs
from video.pictures import PictureSink
from video.reader import open_reader
from video.records import (
    EventRecord,
    FrameRecord,
    Header,
    RecordSink,
    Summary,
    finished,
)
from video.sinks import VideoSink
from video.sources import Source
from vision.errors import FoveateError
from vision.results import Frame, Result
from vision.tasks.base import FramePredictor, StreamPredictor

Draw = Callable[[Frame, Any], Frame]
"""Paints a result on a copy of its frame."""

Step = Callable[[TimedFrame, Any], Any]
"""Takes each frame with its result, in order, and returns the result to go on with."""

MakeStep = Callable[[SourceInfo, Selection, Path], Step]
"""Makes a step for one source: what the source is, what is read of it, and its outputs' stem."""


class Meter(Protocol):
    """What shows how far a run is: rich's `Progress` or anything that works like it."""

    def add_task(self, description: str, *, total: int | None) -> Any:
        """Begin with a source of that many frames, None when nobody knows; returns its bar."""
        ...

    def advance(self, task: Any, advance: int) -> None:
        """Move a bar on by some frames."""
        ...


@dataclass(frozen=True)
class SourceReport:
    """What came of one source.

    Args:
        source: it.
        records: its JSON Lines.
        painted: annotated video, picture, or folder of pictures; None when none was asked for.
        summary: frames looked at, damaged frames passed over, seconds taken, and a stream's result.
        resumed: whether an earlier run had done it already.
        missing: frames that a file cut short should have had after its end.
        notes: remarks for the user, such as that its sound could not be kept.
    """

    source: Source
    records: Path
    painted: Path | None
    summary: Summary[Any]
    resumed: bool = False
    missing: int = 0
    notes: tuple[str, ...] = ()

    @property
    def fps(self) -> float:
        """Frames looked at in a second."""
        return self.summary.frames / max(self.summary.seconds, 1e-3)


def run(
    source: Source,
    *,
    predictor: FramePredictor | StreamPredictor,
    draw: Draw,
    output: Path,
    task: str,
    weights: str | None = None,
    options: Mapping[str, Any] | None = None,
    stride: int = 1,
    start: float | None = None,
    end: float | None = None,
    batch: int = 8,
    steps: Sequence[MakeStep] = (),
    video: bool = True,
    resume: bool = False,
    progress: Meter | None = None,
) -> SourceReport:
    """Run a predictor over one source and write what it finds.

    Writes `<output>/<name>.jsonl` (see `video.records`) and `<output>/<name>.mp4`, or the painted
    pictures of a source of pictures. Whatever happens on the way, both hold what was done before.
    Stream tasks write records only.

    Args:
        source: one of `video.sources.expand`.
        predictor: of a frame task (`predict`) or of a stream task (`update` and `finish`).
        draw: paints a result on a copy of its frame.
        output: folder for the outputs; made if need be.
        task: name of the task, for the header.
        weights: name or file of the weights, for the header; None means the task's default.
        options: keywords for `predict`.
        stride: look at every n-th frame only.
        start: begin at this time, in seconds of the source's clock.
        end: stop before this time, in seconds of the source's clock.
        batch: frames that go to the predictor at once.
        steps: what happens to each result before it is written, such as tracking.
        video: whether to write painted video or pictures beside the records.
        resume: leave a source alone that an earlier run of the same kind brought to its end.
        progress: bar that shows how far it is, see `progress_bar`.

    Returns:
        A report; the earlier run's when the source was left alone.

    Raises:
        FoveateError: the source cannot be read, or the outputs cannot be written.
    """
    began = time.perf_counter()
    selection = Selection(stride, start, end)
    outputs = Outputs(output, source)
    video = video and not isinstance(predictor, StreamPredictor)
    painted = outputs.painted if video else None
    with open_reader(source, selection) as reader:
        names = [make.__name__ for make in steps]
        header = Header.of(source, reader.info, selection, task, weights, options or {}, names)
        if resume and (painted is None or painted.exists()):
            earlier = finished(outputs.records, header)
            if earlier is not None:
                return SourceReport(source, outputs.records, painted, earlier, resumed=True)
        outputs.claim(paint=video)
        show = _meter(progress, source, selection.estimate(reader.info))
        with RecordSink(outputs.records, header) as records:
            if isinstance(predictor, StreamPredictor):
                frames, result = _run_stream(reader, predictor, records, batch, show)
            else:
                chain = [make(reader.info, selection, outputs.stem) for make in steps]
                with _open_sink(source, reader, selection, outputs, video) as sink:
                    write = _writer(chain, records, sink, draw, show)
                    frames = _run_frames(reader, predictor, options or {}, batch, write)
                result = None
            if not frames:
                raise FoveateError(f"no frames in {source.location} from {start or 0:g} s on")
            missing = reader.missing
            seconds = round(time.perf_counter() - began, 3)
            summary = Summary(frames=frames, skipped=reader.skipped, seconds=seconds, result=result)
            records.write(summary)
    return SourceReport(
        source,
        outputs.records,
        painted,
        summary,
        missing=missing,
        notes=tuple(reader.notes),
    )


def progress_bar() -> Progress:
    """A bar with frames done, frames/s and time left, for the `progress` of `run`."""
    return Progress(
        TextColumn("{task.description}", markup=False),
        BarColumn(),
        MofNCompleteColumn(),
        TextColumn("frames"),
        _RateColumn(),
        TimeRemainingColumn(),
    )


class _RateColumn(ProgressColumn):
    """Frames/s."""

    def render(self, task: ProgressTask) -> Text:
        return Text(f"{task.finished_speed or task.speed or 0:.1f}/s")


def _run_frames(
    reader: Reader,
    predictor: FramePredictor,
    options: Mapping[str, Any],
    batch: int,
    write: Callable[[Sequence[tuple[TimedFrame, Result]]], None],
) -> int:
    """Predict frame by frame; returns how many there were."""
    count = 0
    with read_ahead(reader, 2 * batch) as frames, write_behind(write, 2) as put:
        while group := list(islice(frames, batch)):
            results = predictor.predict([frame.image for frame in group], **options)
            put(list(zip(group, results, strict=True)))
            count += len(group)
    return count


def _run_stream(
    reader: Reader,
    predictor: StreamPredictor,
    records: RecordSink,
    batch: int,
    show: Callable[[int], None],
) -> tuple[int, Result | None]:
    """Feed a stream predictor; returns the number of frames and the result for the whole."""
    count = 0
    with read_ahead(reader, 2 * batch) as frames:
        while group := list(islice(frames, batch)):
            events = predictor.update(
                [frame.image for frame in group], [frame.time for frame in group]
            )
            records.write(*(EventRecord(result=event) for event in events))
            count += len(group)
            show(len(group))
    return count, predictor.finish() if count else None


def _writer(
    steps: Sequence[Step],
    records: RecordSink,
    sink: VideoSink | PictureSink | None,
    draw: Draw,
    show: Callable[[int], None],
) -> Callable[[Sequence[tuple[TimedFrame, Result]]], None]:
    """What the writing thread does with a batch of frames and their results."""

    def write(group: Sequence[tuple[TimedFrame, Result]]) -> None:
        for frame, result in group:
            for step in steps:
                result = step(frame, result)
            records.write(FrameRecord.of(frame, result))
            if sink is not None:
                sink.write(frame, draw(frame.image, result))
            show(1)

    return write


def _open_sink(
    source: Source, reader: Reader, selection: Selection, outputs: Outputs, video: bool
) -> AbstractContextManager[VideoSink | PictureSink | None]:
    if not video:
        return nullcontext()
    if source.kind == "pictures":
        return PictureSink(outputs.picture)
    audio = None
    if reader.info.audio is not None:
        if reader.info.duration is None:
            reader.notes.append("the sound of a live source is not kept")
        elif reader.info.audio not in COPIED:
            reader.notes.append(f"{reader.info.audio} sound does not go into MP4 and is left out")
        else:
            audio = AudioCopy(source, selection.start)
    return VideoSink(outputs.video, reader.info, stride=selection.stride, audio=audio)


def _meter(progress: Meter | None, source: Source, total: int | None) -> Callable[[int], None]:
    """A function that moves the source's bar on by some frames."""
    if progress is None:
        return lambda count: None
    bar = progress.add_task(source.name, total=total)
    return lambda count: progress.advance(bar, count)
