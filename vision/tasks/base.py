"""How a task declares itself: the one place that the command line and the demo read."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from importlib import import_module
from typing import TYPE_CHECKING, Any, Literal, Protocol, runtime_checkable

if TYPE_CHECKING:
    from pathlib import Path

    from vision.results import Frame, Result


class FramePredictor(Protocol):
    """Predictor of a frame task: stateless, batched."""

    @property
    def predict(self) -> Callable[..., Sequence[Result]]:
        """`(images: Sequence[Frame], **options)`: one result an image, in order.

        Boxes and points are in pixels of their image. Without images the options are checked still.
        """
        ...


@runtime_checkable
class NamingPredictor(FramePredictor, Protocol):
    """Predictor of a frame task with options that may differ from picture to picture.

    Its `predict` also takes `names=`, one an image, as `FrameFiles.add` has them.
    """

    by_name: Literal[True]


@runtime_checkable
class StreamPredictor(Protocol):
    """Predictor of a stream task: frames come in, events go out, memory stays bounded."""

    @property
    def begin(self) -> Callable[..., None]:
        """`(**options)`: begin a new video, whatever became of the last one."""
        ...

    def update(self, frames: Sequence[Frame], times: Sequence[float]) -> Sequence[Result]:
        """Take the next frames (times in seconds) and return the events that became final."""
        ...

    def finish(self) -> Result:
        """The result for the whole video."""
        ...


class SourceLike(Protocol):
    """What is known of a video or of pictures before they are read.

    `width` and `height` are those of the first upright frame in pixels, `fps` its average
    frames/s and `duration` its seconds; both None when nobody knows, as of live sources. `pictures`
    names the pictures, as `FrameFiles.add` has them, whose times are made up; none of a video.
    """

    @property
    def width(self) -> int: ...

    @property
    def height(self) -> int: ...

    @property
    def fps(self) -> float | None: ...

    @property
    def duration(self) -> float | None: ...

    @property
    def pictures(self) -> Sequence[str]: ...


class Files(Protocol):
    """Writes more files of one source beside its records.

    Made by `(stem: Path, info: SourceLike, **file_options)`, before a frame is read. Paths begin
    with the stem, as in `stem.with_name(f"{stem.name}-timeline.png")`; files appear whole, see
    `vision.writing`.
    """

    @property
    def paths(self) -> Sequence[Path]:
        """Files that it may write over, known from the start: somebody else's are refused."""
        ...

    def close(self, result: Any) -> list[Path]:
        """Write what is left to write, and name all files written.

        Called once, when the source was done to its end.

        Args:
            result: a stream task's result for the whole source; None for a frame task.
        """
        ...


class FrameFiles(Files, Protocol):
    """Files of a frame task, which are told of every frame that was looked at."""

    def add(self, frame: Frame, time: float, name: str, result: Any) -> None:
        """Take the next frame and the result for it.

        Args:
            frame: `(H, W, 3)` uint8 RGB.
            time: seconds of the source's clock.
            name: tells the frame from others of the source: its number (`"000123"`) in a video,
                the name without suffix (`"cat"`) of a picture.
            result: what the predictor returned for it, after tracking.
        """
        ...


def resolve(reference: str) -> Any:
    """Import what a reference `"package.module:name"` points to."""
    module, _, name = reference.partition(":")
    return getattr(import_module(module), name)


@dataclass(frozen=True)
class Option:
    """An option of a task's command, passed on to the predictor as a keyword.

    Args:
        name: keyword of the predictor's call; `--name` on the command line.
        type: `str`, `int`, `float`, `Path` or `bool` (a flag), or `list` for comma-separated names.
        default: value when the option is not given; `...` when it must be.
        help: one line for `--help` and the demo.
        bounds: smallest and largest value a number may have.
    """

    name: str
    type: type
    default: Any
    help: str
    bounds: tuple[float | None, float | None] = (None, None)


@dataclass(frozen=True, kw_only=True)
class Study:
    """What is trained and measured. References are `"package.module:name"`, imported on first use.

    Args:
        name: the study (`"droppos"`), as in `foveate train NAME` and `foveate eval NAME`.
        summary: one line for help.
        evaluate: function `(weights, **eval_options) -> dict`, run by `foveate eval NAME`.
        report: function that prints what `evaluate` returned as tables.
        train: function made by `vision.training.training`, run by `foveate train NAME`.
        eval_options: options of `foveate eval NAME` beside `--weights`, passed to `evaluate`.
        show: function `(image, weights, seed=..., device=...) -> (picture, line)`, run by
            `foveate NAME-show IMAGE`.
    """

    name: str
    summary: str
    evaluate: str
    report: str
    train: str
    eval_options: tuple[Option, ...] = ()
    show: str | None = None

    def load(self, part: str) -> Any:
        """Import one of the references by its field name, such as `"evaluate"`."""
        return resolve(getattr(self, part))


@dataclass(frozen=True, kw_only=True)
class Task(Study):
    """A task's one declaration: a study whose weights also run over pictures and videos.

    Args:
        verb: its command (`"detect"`), as in `foveate VERB SOURCE`.
        kind: `"frame"` (`predict` on images) or `"stream"` (`begin`, `update` and `finish` over a
            video).
        result: record class that the predictor returns.
        event: record class of what a stream task's `update` returns; None for frame tasks.
        predictor: class with `from_weights(name, device=..., half=...)`.
        draw: function that paints a result on a copy of its frame: `(frame, result) -> frame` for
            a frame task; `(frame, result, time) -> frame` for a stream task, with the result for
            the whole video and the frame's time in seconds.
        digest: function `(results) -> rows` that sums up a source in a short table, from the
            results of its frames or, for a stream task, the one for the whole of it.
        options: options of its command beside those that every task shares, passed to `predict`
            or `begin`.
        every: of a frame task on video, seconds from one frame that is looked at to the next,
            unless `--every` says otherwise; all frames are looked at when None.
        files: class of `Files` (stream task) or `FrameFiles` (frame task), when there are more
            files to write than records and painted frames.
        file_options: options of its command that are passed to `files`.
        boxes: whether results hold boxes, so that tracking and crops apply.
        alone: function `(output, weights, device, **options)` that is run when the command is
            given options and no source; without it, there must be a source.
        demo: function that builds its tab of the web demo.
    """

    verb: str
    kind: Literal["frame", "stream"]
    result: str
    predictor: str
    draw: str
    digest: str
    demo: str
    event: str | None = None
    options: tuple[Option, ...] = ()
    every: float | None = None
    files: str | None = None
    file_options: tuple[Option, ...] = ()
    boxes: bool = False
    alone: str | None = None
