"""How a task declares itself: the one place that the command line and the demo read."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from importlib import import_module
from typing import TYPE_CHECKING, Any, Literal, Protocol, runtime_checkable

if TYPE_CHECKING:
    from vision.results import Frame, Result


class FramePredictor(Protocol):
    """Predictor of a frame task: stateless, batched."""

    @property
    def predict(self) -> Callable[..., Sequence[Result]]:
        """`(images: Sequence[Frame], **options)`: one result an image, in order.

        Boxes and points are in pixels of their image.
        """
        ...


@runtime_checkable
class StreamPredictor(Protocol):
    """Predictor of a stream task: frames come in, events go out, memory stays bounded."""

    def update(self, frames: Sequence[Frame], times: Sequence[float]) -> list[Result]:
        """Take the next frames (times in seconds) and return the events that became final."""
        ...

    def finish(self) -> Result:
        """The result for the whole video. After it, `update` begins a new video."""
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
        train: function `(recipe, ...) -> Path`, run by `foveate train NAME`.
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
        kind: `"frame"` (`predict` on images) or `"stream"` (`update` and `finish` over a video).
        result: record class that the predictor returns.
        predictor: class with `from_weights(name, device=..., half=...)`.
        draw: function `(frame, result) -> frame` that paints a result on a copy of its frame.
        digest: function `(results) -> rows` that sums up a source's results in a short table.
        options: options of its command beside those that every task shares, passed to `predict`.
        boxes: whether results hold boxes, so that tracking and crops apply.
        demo: function that builds its tab of the web demo.
    """

    verb: str
    kind: Literal["frame", "stream"]
    result: str
    predictor: str
    draw: str
    digest: str
    demo: str
    options: tuple[Option, ...] = ()
    boxes: bool = False
