"""Runs a predictor over one source and writes what it finds.

Either kind of task has a way to `look` at frames as they come, and to `write` what that yields.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import closing
from dataclasses import dataclass, replace
from functools import partial
from itertools import chain
from pathlib import Path
from typing import Any, TypeVar

from video.frame_pass import FramePass, MakeStep, Step, add_to
from video.frames import Selection
from video.outputs import Outputs
from video.progress import Meter
from video.reader import EVERYTHING, open_reader
from video.records import Header, RecordSink, Summary, finished
from video.sources import Source
from video.stream_pass import StreamPass
from video.work import Draw, Pass, Work
from vision.catalogue import default_name
from vision.errors import FoveateError
from vision.results import Result
from vision.tasks.base import FrameFiles, FramePredictor, StreamPredictor

T = TypeVar("T")

MakeFiles = Callable[..., Any]
"""Makes the `Files` (stream task) or `FrameFiles` (frame task) of `vision.tasks.base`."""


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
    selection: Selection = EVERYTHING,
    batch: int = 8,
    steps: Sequence[MakeStep] = (),
    video: bool = True,
    resume: bool = False,
    progress: Meter | None = None,
    tell: Callable[[Result], None] | None = None,
) -> SourceReport:
    """Run a predictor over one source and write what it finds.

    Writes `<output>/<name>.jsonl` (see `video.records`) and `<output>/<name>.mp4`, or the painted
    pictures of a source of pictures. Whatever happens on the way, both hold what was done before;
    those of an earlier run are left alone until there is something to write.
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
        selection: which frames are wanted; stream tasks look at all that are read, and every task
            at all pictures.
        batch: frames that are read together; those to look at go to the predictor at once.
        steps: what happens to each result before it is written, such as tracking.
        video: whether to write painted video or pictures beside the records.
        resume: leave a source alone that an earlier run of the same kind brought to its end.
        progress: bar that shows how far it is, see `video.progress`.
        tell: told of each event of a stream task as it comes.

    Returns:
        A report; the earlier run's when the source was left alone.

    Raises:
        FoveateError: the source cannot be read or is one picture, which is nothing to a stream
            task, or the outputs cannot be written.
    """
    began = time.perf_counter()
    options, file_options = options or {}, file_options or {}
    live = source.kind == "stream"
    streaming = isinstance(predictor, StreamPredictor)
    if streaming and len(source.pictures) == 1:
        raise FoveateError(f"{source.location} is one picture; {task} needs a video")
    video = video and not (live and streaming)
    every = None if streaming or source.kind == "pictures" else selection.every
    # A live source tells of its frames as they come, not when a batch of distant ones is full.
    selection = replace(selection, every=every, between=video or live)
    outputs = Outputs(output, source)
    painted = outputs.painted if video else None
    report = partial(SourceReport, source, outputs.records, painted)
    with open_reader(source, selection) as reader:
        told, made = {**options, **file_options}, [make.__name__ for make in steps]
        used = weights or default_name(task)
        header = Header.of(source, reader.info, selection, task, used, told, made)
        if resume and (painted is None or painted.exists()):
            earlier = finished(outputs.records, header)
            if earlier is not None:
                return report(earlier, resumed=True)
        beside = files(outputs.stem, reader.info, **file_options) if files else None
        outputs.claim(paint=video, beside=beside.paths if beside else ())
        work = Work(source, selection, reader, outputs, draw, video, batch, progress)
        if isinstance(predictor, StreamPredictor):
            way: Pass[Any] = StreamPass(work, predictor, options, tell)
        else:
            way = FramePass(work, predictor, options, _steps(work, steps, beside))
        with closing(way.look()) as looked:
            groups = _begin(looked, work)
            with RecordSink(outputs.records, header) as records:
                frames, result = way.write(groups, records)
                written = tuple(beside.close(result)) if beside else ()
                seconds = round(time.perf_counter() - began, 3)
                summary = Summary(
                    frames=frames, skipped=reader.skipped, seconds=seconds, result=result
                )
                records.write(summary)
        return report(summary, written, missing=reader.missing, notes=tuple(reader.notes))


def _begin(looked: Iterator[T], work: Work) -> Iterator[T]:
    """What a pass yields, once there is something: nothing is written over before."""
    first = next(looked, None)
    if first is None:
        start = work.selection.start or 0
        raise FoveateError(f"no frames in {work.source.location} from {start:g} s on")
    return chain([first], looked)


def _steps(work: Work, steps: Sequence[MakeStep], files: FrameFiles | None) -> list[Step]:
    """The steps made for a source; its files are told last."""
    made = [make(work.reader.info, work.selection, work.outputs.stem) for make in steps]
    return made if files is None else [*made, add_to(files, work.source)]
