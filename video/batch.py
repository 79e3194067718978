"""A task over many sources: one after the other here, or side by side on a Ray cluster."""

from __future__ import annotations

import logging
import os
from collections import deque
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING, Any

from vision.errors import FoveateError
from vision.tasks.base import Option, Task

if TYPE_CHECKING:
    from types import ModuleType

    from video.frame_pass import MakeStep
    from video.pipeline import SourceReport
    from video.progress import Meter
    from video.sources import Source
    from vision.results import Result

BOX_OPTIONS = (
    Option("track", bool, False, "Give objects an identity across frames (ByteTrack)"),
    Option("save_crops", bool, False, "Save a picture of every object"),
)
"""Options of tasks whose results hold boxes."""

ATTEMPTS = 3
"""Times that a source is tried on a cluster before it counts as failed."""


@dataclass(frozen=True)
class Job:
    """All that a task is to do with each source. It can be sent to another machine.

    Args:
        task: its declaration.
        output: folder for the outputs.
        weights: name or file; the task's default when None.
        device: where to run; the best there is when None.
        half: whether to compute in bfloat16.
        given: values of the task's options, its file options, and `BOX_OPTIONS` where they apply;
            those left out have their defaults.
        settings: further keywords of `video.pipeline.run`, such as `batch`.
    """

    task: Task
    output: Path
    weights: str | None = None
    device: str | None = None
    half: bool = False
    given: Mapping[str, Any] = field(default_factory=dict)
    settings: Mapping[str, Any] = field(default_factory=dict)

    def load(self) -> Any:
        """The predictor, loaded once a process.

        Raises:
            FoveateError: no such weights, or no such device.
        """
        return _load(self.task, self.weights, self.device, self.half)

    def rehearse(self) -> None:
        """Load the predictor and try the options on nothing.

        Raises:
            FoveateError: no such weights or device, or an option that is wrong for any source.
        """
        predictor, options = self.load(), self._values(self.task.options)
        if self.task.kind == "stream":
            predictor.begin(**options)
        else:
            predictor.predict([], **options)

    def run(
        self,
        source: Source,
        *,
        progress: Meter | None = None,
        tell: Callable[[Result], None] | None = None,
    ) -> SourceReport:
        """Run the task over one source; see `video.pipeline.run`."""
        from video.pipeline import run

        task, predictor = self.task, self.load()
        return run(
            source,
            predictor=predictor,
            draw=task.load("draw"),
            output=self.output,
            task=task.name,
            weights=self.weights,
            options=self._values(task.options),
            files=task.load("files") if task.files else None,
            file_options=self._values(task.file_options),
            steps=self._steps(predictor),
            progress=progress,
            tell=tell,
            **self.settings,
        )

    def _values(self, options: Sequence[Option]) -> dict[str, Any]:
        return {option.name: self.given.get(option.name, option.default) for option in options}

    def _steps(self, predictor: Any) -> list[MakeStep]:
        steps: list[MakeStep] = []
        if self.task.boxes and self.given.get("track"):
            from video.tracking import track

            threshold = self.given.get("threshold")
            steps.append(track(predictor.threshold if threshold is None else threshold))
        if self.task.boxes and self.given.get("save_crops"):
            from video.crops import save_crops

            steps.append(save_crops)
        return steps


@cache
def _load(task: Task, weights: str | None, device: str | None, half: bool) -> Any:
    return task.load("predictor").from_weights(weights, device=device, half=half)


@dataclass(frozen=True)
class Failure:
    """A source that could not be done, and why, in one line."""

    source: Source
    reason: str


def run_local(
    job: Job,
    sources: Sequence[Source],
    *,
    progress: Meter | None = None,
    tell: Callable[[Result], None] | None = None,
) -> Iterator[SourceReport | Failure]:
    """Run a job over sources in turn.

    Args:
        job: what to do.
        sources: those of `video.sources.expand`.
        progress: bars that show how far it is.
        tell: told of the events of live sources as they come.

    Yields:
        What came of each source, in order; a bad one does not keep the others waiting.

    Raises:
        FoveateError: the predictor cannot be loaded, or an option is wrong for any source.
    """
    job.load()
    if len(sources) > 1:  # else the one says itself what is wrong
        job.rehearse()
    for source in sources:
        try:
            live = source.kind == "stream"
            yield job.run(source, progress=progress, tell=tell if live else None)
        except FoveateError as error:
            yield Failure(source, str(error))


def run_ray(
    job: Job, sources: Sequence[Source], *, workers: int | None = None
) -> Iterator[SourceReport | Failure]:
    """Run a job over sources on Ray, those aside that an earlier run finished.

    Joins the cluster that the environment's `RAY_ADDRESS` names, or makes one of this machine's
    cores. All machines must see the sources and outputs under the same paths. A worker does a
    source at a time and loads the predictor once. It has a core to itself and, unless the job is to
    run on the CPU, a GPU of clusters that have some.

    Args:
        job: what to do.
        sources: those of `video.sources.expand`.
        workers: most sources at once; as many as the cluster has room for when None.

    Yields:
        What came of each source, as it comes. A source that fails, or whose machine does, is tried
        up to `ATTEMPTS` times.

    Raises:
        FoveateError: Ray is not installed or not reached, the predictor cannot be loaded, or an
            option is wrong for any source.
    """
    ray = _connect()
    job = replace(job, settings={**job.settings, "resume": True})
    gpu = bool(ray.cluster_resources().get("GPU")) and job.device != "cpu"
    remote = ray.remote(num_cpus=1, num_gpus=int(gpu), max_retries=ATTEMPTS - 1)
    folder = Path.cwd()
    run = remote(_run_there)
    try:
        ray.get(remote(_rehearse_there).remote(job, folder))
    except ray.exceptions.RayError as error:
        raise FoveateError(_reason(error)) from None
    waiting = deque((source, 1) for source in sources)
    pending: dict[Any, tuple[Source, int]] = {}
    room = workers or max(1, int(ray.cluster_resources()["GPU" if gpu else "CPU"]))
    while waiting or pending:
        while waiting and len(pending) < room:
            source, attempt = waiting.popleft()
            pending[run.remote(job, source, folder)] = source, attempt
        (done, *_), _ = ray.wait(list(pending))
        source, attempt = pending.pop(done)
        try:
            outcome = ray.get(done)
        except ray.exceptions.RayError as error:  # its machines were lost, each time
            yield Failure(source, _reason(error))
            continue
        if isinstance(outcome, Failure) and attempt < ATTEMPTS:
            waiting.append((source, attempt + 1))
        else:
            yield outcome


def _rehearse_there(job: Job, folder: Path) -> None:
    os.chdir(folder)
    job.rehearse()


def _run_there(job: Job, source: Source, folder: Path) -> SourceReport | Failure:
    os.chdir(folder)  # so that paths mean the same as here
    try:
        return job.run(source)
    except Exception as error:
        return Failure(source, _reason(error))


def _connect() -> ModuleType:
    """Ray, with a cluster behind it."""
    os.environ.setdefault("RAY_USAGE_STATS_ENABLED", "0")
    try:
        import ray
    except ImportError:
        raise FoveateError("--engine ray needs Ray: run `pip install foveate[ray]`") from None
    if not ray.is_initialized():
        try:
            ray.init(
                os.environ.get("RAY_ADDRESS", "local"),  # its own guess may be a cluster long gone
                include_dashboard=False,
                log_to_driver=False,
                logging_level=logging.ERROR,
            )
        except (ConnectionError, RuntimeError, ValueError) as error:
            raise FoveateError(f"no Ray cluster: {str(error).splitlines()[0]}") from None
    return ray


def _reason(error: Exception) -> str:
    """Why a task of Ray's failed, in one line."""
    cause = getattr(error, "cause", None) or error
    if isinstance(cause, FoveateError):
        return str(cause)
    return f"{type(cause).__name__}: {' '.join(str(cause).split())[:300]}"
