"""Many sources on a Ray cluster of two nodes, one of which is lost on the way."""

from __future__ import annotations

import sys
import time
from collections.abc import Iterator, Sequence
from dataclasses import replace
from pathlib import Path
from threading import Thread
from typing import Any

import pytest

from tests.video.clips import damage, write_clip
from tests.video.runs import lines
from tests.video.tasks import FLASHES, SPOTS, Flash, FlashFinder
from tests.video.test_tasks import foveate
from video.batch import Failure, Job, run_local, run_ray
from video.pipeline import SourceReport
from video.sources import Source, expand
from vision.errors import FoveateError
from vision.results import Frame
from vision.tasks.base import Option

ray = pytest.importorskip("ray", reason="needs foveate[ray]")


class SlowFinder(FlashFinder):
    """Takes its time, and notes on which node it began; on a node to be lost it never ends."""

    def begin(self, *, log: Path | None = None, **options: Any) -> None:
        super().begin(**options)
        self.log, self.pause = log, 0.0

    def update(self, frames: Sequence[Frame], times: Sequence[float]) -> list[Flash]:
        if self.log is not None and not self.frames:
            node = ray.get_runtime_context().get_node_id()
            with self.log.open("a") as file:
                file.write(f"{node}\n")
            self.pause = 60 if self.log.with_name(node).exists() else 0.02
        time.sleep(self.pause * len(frames))
        return super().update(frames, times)


class FlakyFinder(FlashFinder):
    """Fails the first time."""

    def begin(self, *, log: Path, **options: Any) -> None:
        super().begin(**options)
        self.log = log

    def update(self, frames: Sequence[Frame], times: Sequence[float]) -> list[Flash]:
        if not self.log.exists():
            self.log.touch()
            raise ZeroDivisionError
        return super().update(frames, times)


SLOW = replace(
    FLASHES,
    name="slow",
    predictor="tests.video.test_batch:SlowFinder",
    options=(Option("log", Path, None, "Where to note the node"),),
)


@pytest.fixture(scope="module")
def cluster() -> Iterator[Any]:
    """A head and a second node, of a core each."""
    from ray.cluster_utils import Cluster

    nodes = Cluster(
        initialize_head=True, head_node_args={"num_cpus": 1, "include_dashboard": False}
    )
    nodes.second = nodes.add_node(num_cpus=1)
    ray.init(address=nodes.address, log_to_driver=False)
    try:
        nap = ray.remote(lambda: time.sleep(0.5))
        ray.get([nap.remote() for _ in range(2)])  # by now a worker on each is up
        yield nodes
    finally:
        ray.shutdown()
        nodes.shutdown()


@pytest.fixture(scope="module")
def clips(tmp_path_factory: pytest.TempPathFactory) -> list[Source]:
    """Four clips of different lengths."""
    folder = tmp_path_factory.mktemp("clips")
    return expand([write_clip(folder / f"{n}.mp4", n) for n in (32, 36, 40, 44)])


def outputs(folder: Path) -> dict[str, Any]:
    """Everything in a folder of results, but for the time that it took."""
    found: dict[str, Any] = {path.name: path.read_bytes() for path in folder.iterdir()}
    for name in found:
        if name.endswith(".jsonl"):
            found[name] = lines(folder / name)
            found[name][-1].pop("seconds")
            found[name][0]["options"].pop("log")
    return found


def test_a_lost_node_costs_nothing(cluster: Any, clips: list[Source], tmp_path: Path) -> None:
    """The first test of this module: it needs both nodes."""
    log = tmp_path / "log"
    log.touch()
    lost = cluster.second.node_id
    (tmp_path / lost).touch()

    def lose_the_second_node() -> None:
        deadline = time.monotonic() + 60
        while lost not in log.read_text() and time.monotonic() < deadline:
            time.sleep(0.02)
        cluster.remove_node(cluster.second, allow_graceful=False)

    thread = Thread(target=lose_the_second_node)
    thread.start()
    job = Job(SLOW, tmp_path / "ray", given={"log": log})
    done = list(run_ray(job, clips))
    thread.join()
    assert all(isinstance(outcome, SourceReport) for outcome in done)
    assert {outcome.source for outcome in done} == set(clips)
    began = log.read_text().splitlines()
    assert began.count(lost) == 1
    assert len(began) == len(clips) + 1  # the one that was lost was begun again
    list(run_local(Job(SLOW, tmp_path / "local"), clips))
    assert outputs(tmp_path / "ray") == outputs(tmp_path / "local")


def test_what_is_finished_is_not_done_again(
    cluster: Any, clips: list[Source], tmp_path: Path
) -> None:
    job = Job(SLOW, tmp_path / "out", given={"log": tmp_path / "log"})
    list(run_ray(job, clips[:2]))
    again = [outcome for outcome in run_ray(job, clips[:3]) if isinstance(outcome, SourceReport)]
    assert {report.source.name: report.resumed for report in again} == {
        "32": True,
        "36": True,
        "40": False,
    }
    assert len((tmp_path / "log").read_text().splitlines()) == 3


def test_a_bad_source_is_tried_again_and_named(
    cluster: Any, clips: list[Source], tmp_path: Path
) -> None:
    broken = damage(Path(clips[0].location), tmp_path / "bad.mp4", 0, 5000)
    done = list(run_ray(Job(SPOTS, tmp_path / "out"), [*expand([broken]), clips[0]], workers=1))
    report, failure = done  # the bad one was put behind the other
    assert isinstance(report, SourceReport)
    assert isinstance(failure, Failure)
    assert "bad.mp4 is not a video" in failure.reason
    assert "\n" not in failure.reason


def test_a_source_that_fails_once_is_done_in_the_end(
    cluster: Any, clips: list[Source], tmp_path: Path
) -> None:
    task = replace(SLOW, predictor="tests.video.test_batch:FlakyFinder")
    job = Job(task, tmp_path / "out", given={"log": tmp_path / "log"})
    (report,) = run_ray(job, clips[:1])
    assert isinstance(report, SourceReport)
    assert report.summary.frames == 32


def test_paths_mean_the_same_there(
    cluster: Any, clips: list[Source], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(Path(clips[0].location).parent)
    (report,) = run_ray(Job(SPOTS, Path("out")), expand(["32.mp4"]))
    assert isinstance(report, SourceReport)
    assert report.records == Path("out/32.jsonl")
    assert lines(report.records)[0]["source"] == "32.mp4"


def test_missing_weights_are_said_once(cluster: Any, clips: list[Source], tmp_path: Path) -> None:
    with pytest.raises(FoveateError, match=r"^no weights 'none'$"):
        list(run_ray(Job(SPOTS, tmp_path, weights="none"), clips))


def test_the_command_lists_what_failed(cluster: Any, clips: list[Source], tmp_path: Path) -> None:
    broken = damage(Path(clips[0].location), tmp_path / "bad.mp4", 0, 5000)
    arguments = ["spot", broken, clips[0].location, "-o", tmp_path / "out", "--engine", "ray"]
    done = foveate(*arguments, "--workers", 1)
    assert done.exit_code == 2
    assert done.stderr == f"foveate: {broken} is not a video that can be read\n"
    assert "32-spots.csv" in done.stdout
    assert "(done before)" in foveate(*arguments).stdout


def test_without_ray_one_line_says_what_to_install(
    clips: list[Source], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, "ray", None)
    done = foveate("spot", clips[0].location, "-o", tmp_path, "--engine", "ray")
    assert isinstance(done.exception, FoveateError)
    assert str(done.exception) == "--engine ray needs Ray: run `pip install foveate[ray]`"
