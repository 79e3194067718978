"""Whole runs over small real clips."""

from __future__ import annotations

from pathlib import Path

import av
import cv2
import numpy as np
import pytest

from tests.video.clips import (
    Boxes,
    Brightest,
    Spot,
    damage,
    decode,
    draw_spot,
    picture,
    rotate,
    write_clip,
)
from tests.video.runs import frames_of, lines, run_one
from video.audio import AudioCopy
from video.crops import save_crops
from video.frames import Selection
from video.pipeline import run
from video.progress import progress_bar
from video.sources import expand
from video.tracking import track
from vision.errors import FoveateError


def test_real_clip_end_to_end(sample_clip: Path, tmp_path: Path) -> None:
    report = run_one(sample_clip, tmp_path)
    assert report.painted == tmp_path / "people_cc_by.mp4"
    assert report.summary.frames == 187
    assert report.summary.skipped == 0
    head, *frames, summary = lines(report.records)
    assert head["type"] == "header"
    assert (head["width"], head["height"], head["frames"]) == (480, 270, 187)
    assert summary["type"] == "summary"
    times, images = decode(sample_clip)
    assert [f["time"] for f in frames] == times
    expected = Brightest().predict(images)
    assert [Spot(**f["result"]) for f in frames] == expected
    painted_times, painted = decode(report.painted)
    assert painted_times == pytest.approx(times, abs=1e-4)
    for image, original, spot in zip(painted, images, expected, strict=True):
        inside = image[spot.y + 2 : spot.y + 6, spot.x + 2 : spot.x + 6].astype(int)
        if inside.size:
            assert (inside[..., 1] - inside[..., 0]).mean() > 60  # green
        assert np.abs(image.astype(int) - original).mean() < 12


@pytest.mark.parametrize(
    ("selection", "indices"),
    [
        (Selection(stride=3), range(0, 40, 3)),
        (Selection(start=0.5, end=1.0), range(10, 20)),
        (Selection(stride=15, start=0.25), range(5, 40, 15)),
    ],
)
def test_selected_frames_keep_their_time(
    selection: Selection, indices: range, clip: Path, tmp_path: Path
) -> None:
    report = run_one(clip, tmp_path, selection=selection)
    assert [f["index"] for f in frames_of(report.records)] == list(indices)
    times = [i / 20 for i in indices]
    assert [f["time"] for f in frames_of(report.records)] == pytest.approx(times)
    assert report.painted is not None
    assert decode(report.painted)[0] == pytest.approx(times, abs=1e-4)


def test_selection_of_nothing_is_an_error(clip: Path, tmp_path: Path) -> None:
    with pytest.raises(FoveateError, match=r"no frames .*clip\.mp4"):
        run_one(clip, tmp_path, selection=Selection(start=60.0))
    assert not (tmp_path / "clip.mp4").exists()


def test_batches_do_not_change_results(clip: Path, tmp_path: Path) -> None:
    runs = [run_one(clip, tmp_path / str(b), batch=b, video=False) for b in (1, 7, 64)]
    first, *others = [frames_of(r.records) for r in runs]
    assert all(other == first for other in others)
    assert [r.painted for r in runs] == [None] * 3
    assert not list(tmp_path.rglob("*.mp4"))


def test_odd_rotated_and_variable(clip: Path, tmp_path: Path) -> None:
    rng = np.random.default_rng(0)
    times = np.cumsum(rng.integers(10, 300, 30) / 1000).tolist()
    sources = [
        write_clip(tmp_path / "odd.mkv", 20, (63, 47), codec="ffv1", options={}, pix_fmt="bgr0"),
        rotate(clip, tmp_path / "rotated.mp4", 90),
        write_clip(tmp_path / "vfr.mkv", times=times, frames=30),
    ]
    for path, size in zip(sources, [(48, 64), (64, 48), (48, 64)], strict=True):
        report = run_one(path, tmp_path / "out")
        assert report.painted is not None
        back, images = decode(report.painted)
        assert images[0].shape[:2] == size
        assert back == pytest.approx([f["time"] for f in frames_of(report.records)], abs=1e-4)


def test_sound_is_kept_or_its_loss_is_said(sounding: Path, tmp_path: Path) -> None:
    report = run_one(sounding, tmp_path / "out")
    assert report.notes == ()
    with av.open(str(report.painted)) as container:
        assert container.streams.audio[0].codec_context.name == "aac"
    mute = write_clip(tmp_path / "mp2.ts", audio="mp2")
    report = run_one(mute, tmp_path / "out")
    assert report.notes == ("mp2 sound does not go into MP4 and is left out",)
    with av.open(str(report.painted)) as container:
        assert not container.streams.audio


def test_sound_is_closed_where_no_video_can_be_made(
    sounding: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    opened: list[AudioCopy] = []

    def refuse(*_: object, audio: AudioCopy, **options: object) -> None:
        opened.append(audio)
        raise FoveateError("cannot write")

    monkeypatch.setattr("video.work.VideoSink", refuse)
    with pytest.raises(FoveateError, match="cannot write"):
        run_one(sounding, tmp_path)
    with pytest.raises(AssertionError, match="not open"):
        opened[0]._input.seek(0)


def test_stream_url_with_sound(server: str, tmp_path: Path) -> None:
    report = run_one(f"{server}/sounding.mp4", tmp_path)
    assert report.summary.frames == 40
    assert report.notes == ()
    with av.open(str(report.painted)) as container:
        assert container.streams.audio[0].codec_context.name == "aac"


def test_damaged_frames_are_counted(sample_clip: Path, tmp_path: Path) -> None:
    report = run_one(damage(sample_clip, tmp_path / "broken.mp4", 0.3, 20_000), tmp_path / "out")
    assert report.summary.skipped >= 10
    assert report.summary.frames + report.summary.skipped == 187
    assert lines(report.records)[-1]["skipped"] == report.summary.skipped


def test_damaged_sound_does_not_cost_the_picture(tmp_path: Path) -> None:
    content = bytearray(write_clip(tmp_path / "clip.ts", audio="aac").read_bytes())
    rng = np.random.default_rng(0)
    for at in range(0, len(content), 188):  # packets of the transport stream
        track = int.from_bytes(content[at + 1 : at + 3]) & 0x1FFF
        if track == 0x101:  # the sound's
            content[at + 20 : at + 188] = rng.bytes(168)
    (tmp_path / "clip.ts").write_bytes(content)
    report = run_one(tmp_path / "clip.ts", tmp_path / "out")
    assert (report.summary.frames, report.summary.skipped) == (40, 0)
    assert report.painted is not None
    assert len(decode(report.painted)[0]) == 40


def test_pictures_of_a_folder(tmp_path: Path) -> None:
    folder = tmp_path / "pictures"
    for name, size in (("a.png", (64, 48)), ("b.jpg", (33, 50)), ("c.webp", (64, 48))):
        folder.mkdir(exist_ok=True)
        cv2.imwrite(str(folder / name), picture(4, *size)[:, :, ::-1])
    report = run_one(folder, tmp_path / "out")
    assert report.painted == tmp_path / "out" / "pictures"
    records = frames_of(report.records)
    assert [Path(r["file"]).name for r in records] == ["a.png", "b.jpg", "c.webp"]
    assert sorted(p.name for p in report.painted.iterdir()) == ["a.png", "b.jpg", "c.webp"]
    painted = cv2.imread(str(report.painted / "a.png"), cv2.IMREAD_COLOR_RGB)
    spot = Spot(**records[0]["result"])
    assert np.array_equal(painted, draw_spot(picture(4), spot))


def test_one_picture(tmp_path: Path) -> None:
    cv2.imwrite(str(tmp_path / "face.png"), picture(0))
    report = run_one(tmp_path / "face.png", tmp_path / "out")
    assert report.painted == tmp_path / "out" / "face.png"
    assert report.painted.is_file()
    assert report.records == tmp_path / "out" / "face.jsonl"


def test_equal_names_do_not_collide(tmp_path: Path) -> None:
    for folder in ("a", "b"):
        (tmp_path / folder).mkdir()
        write_clip(tmp_path / folder / "clip.mp4", 8 if folder == "a" else 12)
    reports = [
        run(s, predictor=Brightest(), draw=draw_spot, output=tmp_path / "out", task="spots")
        for s in expand([f"{tmp_path}/*/clip.mp4"])
    ]
    assert [r.summary.frames for r in reports] == [8, 12]
    assert len({r.painted for r in reports}) == 2
    assert [len(decode(r.painted)[0]) for r in reports if r.painted] == [8, 12]


def test_tracks_and_crops(clip: Path, tmp_path: Path) -> None:
    report = run_one(
        clip,
        tmp_path,
        predictor=Boxes(),
        draw=lambda frame, result: frame,
        steps=[track(0.3), save_crops],
    )
    objects = [f["result"]["objects"] for f in frames_of(report.records)]
    assert [o["track"] for (o,) in objects[:28]] == [None] + [0] * 27
    crops = sorted((tmp_path / "clip-crops" / "white").iterdir())
    assert len(crops) == 40
    assert crops[0].name == "000000-00.jpg"
    assert crops[1].name == "000001-00-track0.jpg"
    crop = cv2.imread(str(crops[5]))
    assert crop.min() > 150
    assert crop.shape[0] in (8, 9, 10)


def test_each_source_has_tracks_of_its_own(clip: Path, tmp_path: Path) -> None:
    steps = [track(0.3)]
    for name in ("one", "two"):
        (tmp_path / f"{name}.mp4").write_bytes(clip.read_bytes())
        report = run_one(
            tmp_path / f"{name}.mp4",
            tmp_path / "out",
            predictor=Boxes(),
            draw=lambda frame, result: frame,
            steps=steps,
        )
        objects = [f["result"]["objects"] for f in frames_of(report.records)]
        assert [o["track"] for (o,) in objects[:10]] == [None] + [0] * 9


def test_progress(clip: Path, tmp_path: Path) -> None:
    with progress_bar() as bar:
        run_one(clip, tmp_path, progress=bar, selection=Selection(stride=2))
        (task,) = bar.tasks
        assert (task.completed, task.total) == (20, 20)
