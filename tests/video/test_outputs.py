"""What a run may write over, and what it leaves alone."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import cv2
import pytest

from tests.video.clips import (
    Brightest,
    Spot,
    picture,
)
from tests.video.runs import frames_of, run_one
from video.frames import Selection
from video.outputs import Outputs
from video.sources import expand
from vision.errors import FoveateError
from vision.results import Frame
from vision.writing import write_whole


def test_sources_are_never_written_over(clip: Path, tmp_path: Path) -> None:
    path = tmp_path / "clip.mp4"
    path.write_bytes(clip.read_bytes())
    with pytest.raises(FoveateError, match=r"clip\.mp4 is not foveate's to replace"):
        run_one(path, tmp_path)
    run_one(path, tmp_path, video=False)  # its records may stand beside it
    with pytest.raises(FoveateError, match=r"clip\.mp4 is not foveate's to replace"):
        run_one(path, tmp_path)
    assert path.read_bytes() == clip.read_bytes()
    cv2.imwrite(str(tmp_path / "face.png"), picture(0))
    before = (tmp_path / "face.png").read_bytes()
    with pytest.raises(FoveateError, match=r"face\.png is not foveate's to replace"):
        run_one(tmp_path / "face.png", tmp_path)
    assert (tmp_path / "face.png").read_bytes() == before


def test_only_earlier_outputs_are_written_over(clip: Path, tmp_path: Path) -> None:
    (tmp_path / "clip.mp4").write_bytes(b"somebody's")
    with pytest.raises(FoveateError, match="not foveate's to replace"):
        run_one(clip, tmp_path)
    assert (tmp_path / "clip.mp4").read_bytes() == b"somebody's"
    (tmp_path / "clip.mp4").unlink()
    (tmp_path / "clip.jsonl").write_text("my notes\n")
    with pytest.raises(FoveateError, match="not foveate's to replace"):
        run_one(clip, tmp_path)
    (tmp_path / "clip.jsonl").unlink()
    first = run_one(clip, tmp_path)
    second = run_one(clip, tmp_path, selection=Selection(stride=2))
    assert first.painted == second.painted
    assert len(frames_of(second.records)) == 20


def test_unwritable_output(clip: Path, tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(FoveateError, match="cannot make"):
        run_one(clip, tmp_path / "file" / "out")
    long = tmp_path / f"{'x' * 250}.mp4"
    long.write_bytes(clip.read_bytes())
    with pytest.raises(FoveateError, match=r"cannot write .*\.jsonl: File name too long"):
        run_one(long, tmp_path / "out")


class Gone:
    """Files that cannot be written in the end: a folder has taken their place."""

    def __init__(self, stem: Path, info: object) -> None:
        self.paths = [stem.with_name(f"{stem.name}-all.json")]

    def add(self, frame: Frame, time: float, name: str, result: Any) -> None:
        """Take nothing down."""

    def close(self, result: Any) -> list[Path]:
        self.paths[0].mkdir()
        write_whole(self.paths[0], "")
        return self.paths


def test_files_beside_that_cannot_be_written_are_said_in_a_line(clip: Path, tmp_path: Path) -> None:
    with pytest.raises(FoveateError, match=r"cannot write .*all\.json: Is a directory"):
        run_one(clip, tmp_path, files=Gone)
    assert len(frames_of(tmp_path / "clip.jsonl")) == 40


def test_many_pictures_are_claimed_in_time_that_grows_with_their_number(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    count = 60
    for n in range(count):
        (tmp_path / f"{n}.png").touch()
    (source,) = expand([tmp_path])
    looked = []
    resolve = Path.resolve
    monkeypatch.setattr(Path, "resolve", lambda path: (looked.append(path), resolve(path))[1])
    Outputs(tmp_path / "out", source).claim(paint=True)
    assert len(looked) < 6 * count


class Refusing(Brightest):
    """Takes no options, and says so only when it has seen a frame."""

    def predict(self, images: Sequence[Frame], **options: Any) -> list[Spot]:
        raise FoveateError("unknown option")


@pytest.mark.parametrize(
    "changes", [{"predictor": Refusing()}, {"selection": Selection(start=60.0)}]
)
def test_a_run_that_comes_to_nothing_leaves_an_earlier_one_alone(
    changes: dict[str, Any], clip: Path, tmp_path: Path
) -> None:
    run_one(clip, tmp_path)
    before = {path: path.read_bytes() for path in tmp_path.iterdir()}
    with pytest.raises(FoveateError):
        run_one(clip, tmp_path, **changes)
    assert {path: path.read_bytes() for path in tmp_path.iterdir()} == before


# Resuming


def test_resume_leaves_finished_sources_alone(clip: Path, tmp_path: Path) -> None:
    class Counting(Brightest):
        seen = 0

        def predict(self, images: Sequence[Frame], **options: Any) -> list[Spot]:
            Counting.seen += len(images)
            return super().predict(images)

    first = run_one(clip, tmp_path, predictor=Counting(), resume=True)
    again = run_one(clip, tmp_path, predictor=Counting(), resume=True)
    assert Counting.seen == 40
    assert not first.resumed
    assert again.resumed
    assert again.summary == first.summary
    for other in (
        {"options": {"threshold": 1}},
        {"weights": "tiny"},
        {"selection": Selection(stride=2)},
    ):
        assert not run_one(clip, tmp_path, resume=True, **other).resumed
    first = run_one(clip, tmp_path)
    unfinished = first.records.read_text().splitlines()[:-1]
    first.records.write_text("\n".join(unfinished) + "\n")
    assert not run_one(clip, tmp_path, predictor=Counting(), resume=True).resumed
    assert len(frames_of(first.records)) == 40


def test_resume_paints_what_was_not_painted(clip: Path, tmp_path: Path) -> None:
    run_one(clip, tmp_path, video=False)
    report = run_one(clip, tmp_path, resume=True)
    assert not report.resumed
    assert report.painted is not None
    assert report.painted.exists()
