"""JSON Lines describe themselves, and are whole whatever happens."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from jsonschema import Draft202012Validator, ValidationError

from tests.video.clips import Spot
from video.frames import Selection, SourceInfo, TimedFrame
from video.records import (
    EventRecord,
    FrameRecord,
    Header,
    RecordSink,
    Summary,
    finished,
    read_header,
    results,
    schema,
)
from video.sources import Source
from vision.errors import FoveateError
from vision.results import Detections

INFO = SourceInfo(64, 48, 20.0, 40, 2.0)
SOURCE = Source("video", "clip", "clip.mp4")


def header(**changes: object) -> Header:
    head = Header.of(
        SOURCE,
        INFO,
        Selection(),
        task="spots",
        weights=None,
        options={"threshold": 0.3},
        steps=["tracking"],
    )
    return head.model_copy(update=changes)


SUMMARY: Summary[None] = Summary(frames=2, skipped=0, seconds=0.5)


def write(path: Path, *records: object, head: Header | None = None) -> None:
    with RecordSink(path, head or header()) as sink:
        sink.write(*records)  # type: ignore[arg-type]  # records of any kind


@pytest.mark.parametrize("result", [Spot, Detections])
def test_schema_documents_every_line(result: type) -> None:
    document = schema(result)
    Draft202012Validator.check_schema(document)
    named = [
        name for name in document["$defs"] if name.startswith(("Header", "FrameRecord", "Sum"))
    ]
    assert len(named) == len(document["oneOf"]) == 3
    for name in named:
        assert document["$defs"][name]["description"]


def test_lines_fit_the_schema_and_others_do_not(tmp_path: Path) -> None:
    path = tmp_path / "clip.jsonl"
    write(path, FrameRecord[Spot](index=0, time=0.0, result=Spot(x=1, y=2)), SUMMARY)
    validator = Draft202012Validator(schema(Spot))
    lines = [json.loads(line) for line in path.read_text().splitlines()]
    for line in lines:
        validator.validate(line)
    for line in lines:
        for name in line:
            with pytest.raises(ValidationError):
                validator.validate({**line, name: [1.5]})
        with pytest.raises(ValidationError):
            validator.validate({**line, "unknown": 1})


def test_schema_of_events(tmp_path: Path) -> None:
    path = tmp_path / "clip.jsonl"
    write(path, EventRecord(result=Spot(x=1, y=2)), Summary(**{**dict(SUMMARY), "result": None}))
    validator = Draft202012Validator(schema(Detections, event=Spot))
    for line in path.read_text().splitlines():
        validator.validate(json.loads(line))


def test_results_come_back(tmp_path: Path) -> None:
    path = tmp_path / "clip.jsonl"
    spots = [Spot(x=i, y=0) for i in range(3)]
    frames = [FrameRecord[Spot](index=i, time=i / 20, result=s) for i, s in enumerate(spots)]
    write(path, *frames, SUMMARY)
    assert list(results(path, Spot)) == spots
    write(path, EventRecord(result=spots[1]), Summary(**{**dict(SUMMARY), "result": spots[2]}))
    assert list(results(path, Spot)) == spots[2:]


def test_picture_records_name_their_file() -> None:
    frame = TimedFrame(3, 0.12, None, Path("a/b.png"))  # type: ignore[arg-type]  # no pixels needed
    assert FrameRecord.of(frame, Spot(x=0, y=0)).file == "a/b.png"


def test_lines_are_there_at_once(tmp_path: Path) -> None:
    path = tmp_path / "clip.jsonl"
    with RecordSink(path, header()) as sink:
        assert len(path.read_text().splitlines()) == 1
        sink.write(SUMMARY)
        assert path.read_text().endswith("}\n")
        assert len(path.read_text().splitlines()) == 2


def test_finished_means_the_same_run_came_to_its_end(tmp_path: Path) -> None:
    path = tmp_path / "clip.jsonl"
    assert finished(path, header()) is None
    write(path)
    assert finished(path, header()) is None
    write(path, SUMMARY)
    assert finished(path, header()) == SUMMARY
    for changes in ({"stride": 2}, {"source": "other/clip.mp4"}, {"options": {"threshold": 0.4}}):
        assert finished(path, header(**changes)) is None
    with path.open("a") as file:
        file.write('{"type":"fra')
    assert finished(path, header()) is None


@pytest.mark.parametrize(
    "content", [b"", b"\n", b"\xff\x00", b'{"type": "frame"}\n', b"[1]\n", b"notes\n"]
)
def test_what_is_not_ours_has_no_header(content: bytes, tmp_path: Path) -> None:
    (tmp_path / "other.jsonl").write_bytes(content)
    assert read_header(tmp_path / "other.jsonl") is None


def test_full_disk_is_one_line(tmp_path: Path) -> None:
    path = tmp_path / "clip.jsonl"
    path.symlink_to("/dev/full")
    with pytest.raises(FoveateError, match=r"cannot write .*clip\.jsonl: No space left on device"):
        RecordSink(path, header())


def test_part_of_a_line_is_taken_back(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "clip.jsonl"
    with RecordSink(path, header()) as sink:
        before = path.read_bytes()
        file = sink._file

        class Filling:
            """A file on a disk that has room for 10 bytes more."""

            room = 10

            def write(self, data: bytes) -> int:
                if not self.room:
                    raise OSError(28, "No space left on device")
                written = file.write(data[: self.room])
                self.room -= written
                return written

            def __getattr__(self, name: str) -> object:
                return getattr(file, name)

        monkeypatch.setattr(sink, "_file", Filling())
        with pytest.raises(FoveateError, match="No space left"):
            sink.write(SUMMARY)
        assert path.read_bytes() == before


def test_unwritable_folder_is_one_line(tmp_path: Path) -> None:
    with pytest.raises(FoveateError, match="cannot write"):
        RecordSink(tmp_path / "missing" / "clip.jsonl", header())
