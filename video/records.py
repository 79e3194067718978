"""JSON Lines: one self-describing object a line, a header first and a summary last."""

from __future__ import annotations

import inspect
import json
from collections import deque
from collections.abc import Iterator, Mapping, Sequence
from contextlib import suppress
from pathlib import Path
from typing import Annotated, Any, Generic, Literal, Self, TypeVar

from pydantic import BaseModel, ConfigDict, Field, TypeAdapter, ValidationError

from video.frames import Selection, SourceInfo, TimedFrame
from video.sources import Source
from vision.errors import FoveateError
from vision.results import Result

R = TypeVar("R")


def _describe(document: dict[str, Any], record: type[BaseModel]) -> None:
    # Models that took a type lack their generic form's docstring.
    document.setdefault("description", inspect.getdoc(record))


class _Record(BaseModel):
    model_config = ConfigDict(extra="forbid", json_schema_extra=_describe)


class Header(_Record):
    """The first line: what was run over what."""

    type: Literal["header"] = "header"
    version: Literal[1] = Field(default=1, description="of this format")
    task: str
    weights: str | None = Field(description="name or file; null where there is none")
    source: str = Field(description="file, folder, glob, device or URL")
    width: int = Field(description="of the first upright frame, in pixels")
    height: int = Field(description="of the first upright frame, in pixels")
    fps: float | None = Field(description="average frames/s of the source, if known")
    frames: int | None = Field(description="frames that the source states to have")
    duration: float | None = Field(description="seconds, if known")
    stride: int = Field(description="every n-th frame was read")
    every: float | None = Field(
        default=None, description="seconds between frames looked at; null for all that were read"
    )
    start: float | None = Field(description="seconds of the source's clock")
    end: float | None = Field(description="seconds of the source's clock")
    options: dict[str, Any] = Field(description="options that the task was given")
    steps: list[str] = Field(description="what was done to results before they were written")

    @classmethod
    def of(
        cls,
        source: Source,
        info: SourceInfo,
        selection: Selection,
        task: str,
        weights: str | None,
        options: Mapping[str, Any],
        steps: Sequence[str],
    ) -> Self:
        """The header of a run."""
        return cls(
            task=task,
            weights=weights,
            source=source.location,
            width=info.width,
            height=info.height,
            fps=info.fps,
            frames=info.frames,
            duration=info.duration,
            stride=selection.stride,
            every=selection.every or None,
            start=selection.start,
            end=selection.end,
            options=dict(options),
            steps=list(steps),
        )


class FrameRecord(_Record, Generic[R]):
    """One frame and the result for it."""

    type: Literal["frame"] = "frame"
    index: int = Field(description="position among all frames of the source, from 0")
    time: float = Field(description="seconds of the source's clock")
    file: str | None = Field(default=None, description="the picture, for sources of pictures")
    result: R

    @classmethod
    def of(cls, frame: TimedFrame, result: R) -> Self:
        """The record of a frame."""
        file = None if frame.path is None else str(frame.path)
        return cls(index=frame.index, time=frame.time, file=file, result=result)


class EventRecord(_Record, Generic[R]):
    """Something that became certain while frames came in."""

    type: Literal["event"] = "event"
    result: R


class Summary(_Record, Generic[R]):
    """The last line, there only when the source was done to its end."""

    type: Literal["summary"] = "summary"
    frames: int = Field(description="frames looked at")
    skipped: int = Field(description="damaged frames passed over")
    seconds: float = Field(description="time that the run took")
    result: R | None = Field(default=None, description="the result for the whole source")


def schema(result: type[Result], event: type[Result] | None = None) -> dict[str, Any]:
    """The JSON Schema of a line.

    Args:
        result: record class that the task's predictor returns.
        event: record class of its events, for a stream task.
    """
    if event is None:
        line: Any = Header | FrameRecord[result] | Summary[None]  # type: ignore[valid-type]  # made at run time
    else:
        line = Header | EventRecord[event] | Summary[result]  # type: ignore[valid-type]  # made at run time
    return TypeAdapter(Annotated[line, Field(discriminator="type")]).json_schema()


class RecordSink:
    """Writes JSON Lines so that whatever happens, every line in the file is whole.

    Args:
        path: file to write, replaced if it is there.
        header: its first line.
    """

    def __init__(self, path: Path, header: Header) -> None:
        self._path = path
        try:
            self._file = path.open("wb", buffering=0)
        except OSError as error:
            raise FoveateError(f"cannot write {path}: {error.strerror}") from None
        try:
            self.write(header)
        except BaseException:
            self._file.close()
            path.unlink()
            raise

    def write(self, *records: BaseModel) -> None:
        """Append records, handed to the system at once.

        Raises:
            FoveateError: the disk is full or gone.
        """
        data = "".join(f"{record.model_dump_json()}\n" for record in records).encode()
        whole = self._file.tell()
        try:
            written = self._file.write(data)
            while written < len(data):
                written += self._file.write(data[written:])
        except OSError as error:
            with suppress(OSError):  # take back the part of a line that still fitted
                self._file.truncate(whole)
            raise FoveateError(f"cannot write {self._path}: {error.strerror}") from error

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *exception: object) -> None:
        self._file.close()


def read_header(path: Path) -> Header | None:
    """The header of a JSON Lines file of ours; None when it is something else."""
    try:
        with path.open("rb") as file:
            return Header.model_validate_json(file.readline())
    except (OSError, ValidationError):
        return None


def finished(path: Path, header: Header) -> Summary[Any] | None:
    """The summary of an earlier run with the same header; None unless it came to its end."""
    earlier = read_header(path)
    if earlier is None or earlier.model_dump(mode="json") != header.model_dump(mode="json"):
        return None
    try:
        with path.open("rb") as file:
            (last,) = deque(file, maxlen=1)
        return Summary.model_validate_json(last)
    except (OSError, ValidationError):
        return None


def results(path: Path, kind: type[R]) -> Iterator[R]:
    """The results of a JSON Lines file, one at a time: those of frames, or that of the whole."""
    types: dict[str, Any] = {
        "frame": FrameRecord[kind],  # type: ignore[valid-type]  # made at run time
        "summary": Summary[kind],  # type: ignore[valid-type]  # made at run time
    }
    with path.open("rb") as file:
        for line in file:
            model = types.get(json.loads(line)["type"])
            if model is None:
                continue
            result = model.model_validate_json(line).result
            if result is not None:
                yield result
