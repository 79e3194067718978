"""Runs a predictor over a source: read ahead, predict in batches, then paint and write behind.

A stream predictor knows what to paint only after the last frame: its source is read twice.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping, Sequence
from contextlib import nullcontext
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
from video.sources import Source, picture_names
from vision.errors import FoveateError
from vision.results import Frame, Result
from vision.tasks.base import FrameFiles, FramePredictor, StreamPredictor

Draw = Callable[..., Frame]
"""Paints a result on a copy of its frame: the `draw` of a `vision.tasks.base.Task`."""

MakeFiles = Callable[..., Any]
"""Makes the `Files` (stream task) or `FrameFiles` (frame task) of `vision.tasks.base`."""

Write = Callable[[Sequence[tuple[TimedFrame, Result | None]]], None]
"""Takes frames in order, and the results for those that were looked at."""

Step = Callable[[TimedFrame, Any], Any]
"""Takes each frame with its result, in order, and returns the result to go on with."""

MakeStep = Callable[[SourceInfo, Selection, Path], Step]
"""Makes a step for one source: what the source is, what is read of it, and its outputs' stem."""


PAINT_AHEAD = 8
"""Frames that the second reading of a source is ahead of the painting."""


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
        files: other files written beside; those of an earlier run are not listed.
        resumed: whether an earlier run had done it already.
        missing: frames that a file cut short should have had after its end.
        notes: remarks for the user, such as that its sound could not be kept.
    """

    source: Source
    records: Path
    painted: Path | None
    summary: Summary[Any]
    files: tuple[Path, ...] = ()
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
    files: MakeFiles | None = None,
    file_options: Mapping[str, Any] | None = None,
    stride: int = 1,
    every: float | None = None,
    start: float | None = None,
    end: float | None = None,
    batch: int = 8,
    steps: Sequence[MakeStep] = (),
    video: bool = True,
    resume: bool = False,
    progress: Meter | None = None,
    tell: Callable[[Result], None] | None = None,
) -> SourceReport:
    """Run a predictor over one source and write what it finds.

    Writes `<output>/<name>.jsonl` (see `video.records`) and `<output>/<name>.mp4`, or the painted
    pictures of a source of pictures. Whatever happens on the way, both hold what was done before.
    A stream task's video is painted last, by reading the source again: live ones are not painted.

    Args:
        source: one of `video.sources.expand`.
        predictor: of a frame task (`predict`) or of a stream task (`begin`, `update`, `finish`).
        draw: paints a result on a copy of its frame.
        output: folder for the outputs; made if need be.
        task: name of the task, for the header.
        weights: name or file of the weights, for the header; None means the task's default.
        options: keywords for `predict` or `begin`.
        files: makes what writes more files beside.
        file_options: its keywords.
        stride: read every n-th frame only.
        every: of a frame task on video, seconds from one frame that is looked at to the next; the
            frames between are painted with the last result. All are looked at when None or 0.
        start: begin at this time, in seconds of the source's clock.
        end: stop before this time, in seconds of the source's clock.
        batch: frames that are read together; those to look at go to the predictor at once.
        steps: what happens to each result before it is written, such as tracking.
        video: whether to write painted video or pictures beside the records.
        resume: leave a source alone that an earlier run of the same kind brought to its end.
        progress: bar that shows how far it is, see `progress_bar`.
        tell: told of each event of a stream task as it comes.

    Returns:
        A report; the earlier run's when the source was left alone.

    Raises:
        FoveateError: the source cannot be read, or the outputs cannot be written.
    """
    began = time.perf_counter()
    options, file_options = options or {}, file_options or {}
    every = None if source.kind == "pictures" else every or None
    selection = Selection(stride, start, end, every)
    outputs = Outputs(output, source)
    video = video and not (isinstance(predictor, StreamPredictor) and source.kind == "stream")
    painted = outputs.painted if video else None
    with open_reader(source, selection) as reader:
        header = Header.of(
            source,
            reader.info,
            selection,
            task,
            weights,
            {**options, **file_options},
            [make.__name__ for make in steps],
        )
        if resume and (painted is None or painted.exists()):
            earlier = finished(outputs.records, header)
            if earlier is not None:
                return SourceReport(source, outputs.records, painted, earlier, resumed=True)
        outputs.claim(paint=video)
        beside = files(outputs.stem, reader.info, **file_options) if files else None
        with RecordSink(outputs.records, header) as records:
            show = _meter(progress, source.name, selection.estimate(reader.info))
            result = None
            if isinstance(predictor, StreamPredictor):
                predictor.begin(**options)
                frames, result = _run_stream(reader, predictor, records, batch, show, tell)
                if video and frames:
                    show = _meter(progress, f"{source.name}, painting", frames)
                    with _open_sink(source, reader, selection, outputs) as sink:
                        _paint(source, selection, sink, draw, result, show)
            else:
                chain = [make(reader.info, selection, outputs.stem) for make in steps]
                if beside:
                    chain.append(_add_to(beside, source))
                opening = _open_sink(source, reader, selection, outputs) if video else nullcontext()
                with opening as sink:
                    write = _writer(chain, records, sink, draw, show)
                    frames = _run_frames(reader, selection, predictor, options, batch, write)
            if not frames:
                raise FoveateError(f"no frames in {source.location} from {start or 0:g} s on")
            missing = reader.missing
            written = tuple(beside.close(result)) if beside else ()
            seconds = round(time.perf_counter() - began, 3)
            summary = Summary(frames=frames, skipped=reader.skipped, seconds=seconds, result=result)
            records.write(summary)
    return SourceReport(
        source,
        outputs.records,
        painted,
        summary,
        written,
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
    selection: Selection,
    predictor: FramePredictor,
    options: Mapping[str, Any],
    batch: int,
    write: Write,
) -> int:
    """Predict frame by frame; returns how many were looked at."""
    count = 0
    with read_ahead(selection.mark(reader), 2 * batch) as frames, write_behind(write, 2) as put:
        while group := list(islice(frames, batch)):
            wanted = [frame for frame, look in group if look]
            images = [frame.image for frame in wanted]
            results = predictor.predict(images, **options) if images else ()
            found = {f.index: result for f, result in zip(wanted, results, strict=True)}
            put([(frame, found.get(frame.index)) for frame, _ in group])
            count += len(wanted)
    return count


def _run_stream(
    reader: Reader,
    predictor: StreamPredictor,
    records: RecordSink,
    batch: int,
    show: Callable[[int], None],
    tell: Callable[[Result], None] | None,
) -> tuple[int, Result | None]:
    """Feed a stream predictor; returns the number of frames and the result for the whole."""
    count = 0
    with read_ahead(reader, 2 * batch) as frames:
        while group := list(islice(frames, batch)):
            events = predictor.update(
                [frame.image for frame in group], [frame.time for frame in group]
            )
            records.write(*(EventRecord(result=event) for event in events))
            if tell is not None:
                for event in events:
                    tell(event)
            count += len(group)
            show(len(group))
    return count, predictor.finish() if count else None


def _paint(
    source: Source,
    selection: Selection,
    sink: VideoSink | PictureSink,
    draw: Draw,
    result: Result | None,
    show: Callable[[int], None],
) -> None:
    """Read a source again and paint the result for the whole of it."""
    with open_reader(source, selection) as reader, read_ahead(reader, PAINT_AHEAD) as frames:
        for frame in frames:
            sink.write(frame, draw(frame.image, result, frame.time))
            show(1)


def _add_to(files: FrameFiles, source: Source) -> Step:
    """A step that tells files of each frame and its result."""
    names = picture_names(source.pictures)

    def add(frame: TimedFrame, result: Any) -> Any:
        name = f"{frame.index:06}" if frame.path is None else names[frame.path]
        files.add(frame.image, frame.time, name, result)
        return result

    return add


def _writer(
    steps: Sequence[Step],
    records: RecordSink,
    sink: VideoSink | PictureSink | None,
    draw: Draw,
    show: Callable[[int], None],
) -> Write:
    """What the writing thread does with a batch of frames and their results."""
    last: Any = None

    def write(group: Sequence[tuple[TimedFrame, Result | None]]) -> None:
        nonlocal last
        for frame, result in group:
            if result is not None:
                for step in steps:
                    result = step(frame, result)
                records.write(FrameRecord.of(frame, result))
                last = result
            if sink is not None:
                sink.write(frame, draw(frame.image, last))
            show(1)

    return write


def _open_sink(
    source: Source, reader: Reader, selection: Selection, outputs: Outputs
) -> VideoSink | PictureSink:
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


def _meter(progress: Meter | None, name: str, total: int | None) -> Callable[[int], None]:
    """A function that moves a new bar on by some frames."""
    if progress is None:
        return lambda count: None
    bar = progress.add_task(name, total=total)
    return lambda count: progress.advance(bar, count)
