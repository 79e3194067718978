"""The command line as a user types it, on real pictures and videos."""

import io
import json
import shutil
import subprocess
import sys

import av
import cv2
import jsonschema
import numpy as np
import pytest

from video.cli import main


@pytest.fixture
def foveate(monkeypatch, capsys, tmp_path):
    """Run a command in an empty folder; gives exit code, standard output and standard error."""
    monkeypatch.chdir(tmp_path)

    def run(*arguments):
        monkeypatch.setattr(sys, "argv", ["foveate", *map(str, arguments)])
        code = 0
        try:
            main()
        except SystemExit as stop:
            code = stop.code or 0
        out, err = capsys.readouterr()
        return code, out, err

    return run


def lines(path):
    return [json.loads(line) for line in path.read_text().splitlines()]


@pytest.fixture
def short_clip(sample_clip, tmp_path):
    """One second of the sample: a worker in a hall."""
    path = tmp_path / "hall.mp4"
    with av.open(str(sample_clip)) as source, av.open(str(path), "w") as target:
        stream = target.add_stream("libx264", rate=12)
        stream.width, stream.height, stream.pix_fmt = 480, 270, "yuv420p"
        for n, frame in enumerate(source.decode(video=0)):
            if 150 <= n < 162:
                picture = av.VideoFrame.from_ndarray(frame.to_ndarray(format="rgb24"))
                target.mux(stream.encode(picture))
        target.mux(stream.encode(None))
    return path


def test_detect_finds_and_follows_the_worker(foveate, short_clip, tmp_path):
    code, out, err = foveate("detect", short_clip, "-o", "out", "--track", "--save-crops")
    assert code == 0, err
    header, *frames, summary = lines(tmp_path / "out/hall.jsonl")
    assert header["type"] == "header"
    assert header["weights"] == "fcos_lite0_general"  # what the default was
    assert summary["type"] == "summary"
    assert summary["frames"] == len(frames) == 12
    people = [[d for d in frame["result"]["objects"] if d["label"] == "person"] for frame in frames]
    assert sum(bool(found) for found in people) >= 11
    tracks = {d["track"] for found in people for d in found} - {None}
    assert tracks
    assert all(isinstance(track, int) and track >= 0 for track in tracks)
    with av.open(str(tmp_path / "out/hall.mp4")) as video:
        stream = video.streams.video[0]
        assert stream.codec_context.name == "h264"
        assert sum(1 for _ in video.decode(stream)) == 12
    assert list((tmp_path / "out/hall-crops/person").iterdir())
    assert "person" in out
    assert "hall.jsonl" in out.replace("\n", "")


def test_the_lines_fit_the_schema(foveate, short_clip, tmp_path):
    foveate("detect", short_clip, "-o", "out", "--no-video", "--stride", 6)
    _, schema, _ = foveate("schema", "detection")
    for line in lines(tmp_path / "out/hall.jsonl"):
        jsonschema.validate(line, json.loads(schema))


def test_classes_threshold_and_stride(foveate, short_clip, tmp_path):
    code, _, err = foveate(
        "detect", short_clip, "-o", "out", "--classes", "person, car", "--threshold", 0.05,
        "--stride", 3, "--no-video",
    )  # fmt: skip
    assert code == 0, err
    _, *frames, _ = lines(tmp_path / "out/hall.jsonl")
    assert [frame["index"] for frame in frames] == [0, 3, 6, 9]
    assert [frame["time"] for frame in frames] == pytest.approx([0, 0.25, 0.5, 0.75], abs=1e-3)
    labels = {d["label"] for frame in frames for d in frame["result"]["objects"]}
    assert labels <= {"person", "car"}
    assert not (tmp_path / "out/hall.mp4").exists()


def test_brackets_in_a_name_are_printed_as_they_are(foveate, tmp_path):
    cv2.imwrite(str(tmp_path / "cat[red].png"), np.zeros((32, 32, 3), np.uint8))
    code, out, err = foveate("detect", "cat[red].png", "-o", "out")
    assert code == 0, err
    assert "out/cat[red].jsonl" in out
    assert (tmp_path / "out/cat[red].jsonl").is_file()


def test_names_of_any_letters_are_printed(foveate, tmp_path, monkeypatch):
    cv2.imwrite(str(tmp_path / "ü.png"), np.zeros((32, 32, 3), np.uint8))
    screen = io.TextIOWrapper(io.BytesIO(), encoding="ascii")
    monkeypatch.setattr(sys, "stdout", screen)
    code, _, err = foveate("detect", "ü.png", "-o", "out")
    assert code == 0, err
    screen.flush()
    assert rb"out/\xfc.png" in screen.buffer.getvalue()


def test_a_name_of_two_lines_is_said_in_one(foveate, tmp_path):
    (tmp_path / "two\nlines.mp4").write_text("not a video")
    code, _, err = foveate("detect", "two\nlines.mp4", "-o", "out")
    assert code == 2
    assert err == "foveate: two\\nlines.mp4 is not a video that can be read\n"


def test_a_picture_gives_a_picture(foveate, tmp_path):
    cv2.imwrite(str(tmp_path / "grey.png"), np.full((40, 60), 128, np.uint8))
    code, out, err = foveate("detect", "grey.png", "-o", "out")
    assert code == 0, err
    assert cv2.imread(str(tmp_path / "out/grey.png")).shape == (40, 60, 3)
    assert "nothing was found" in out


def test_resume_leaves_finished_sources_alone(foveate, short_clip, tmp_path):
    arguments = ("detect", short_clip, "-o", "out", "--no-video", "--resume")
    foveate(*arguments)
    path = tmp_path / "out/hall.jsonl"
    first = path.read_bytes()
    _, out, _ = foveate(*arguments)
    assert "done before" in out
    assert path.read_bytes() == first
    path.write_bytes(first[:-40])  # as if it had been interrupted
    foveate(*arguments)
    assert len(lines(path)) == 14
    _, out, _ = foveate(*arguments, "--weights", "fcos_lite0_general")
    assert "done before" in out
    path.write_text(path.read_text().replace('"fcos_lite0_general"', "null"))
    _, out, _ = foveate(*arguments)  # nobody knows by which weights
    assert "done before" not in out


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["none.mp4"], "no such file"),
        (["empty.mp4"], "empty.mp4"),
        (["text.mp4"], "text.mp4"),
        (["clip.mp4", "--weights", "fcos_lite0_generall"], "did you mean 'fcos_lite0_general'"),
        (["clip.mp4", "--weights", "none.safetensors"], "no such weights file"),
        (["clip.mp4", "--device", "cuda:99"], "no device"),
        (["clip.mp4", "--classes", "persn"], "did you mean 'person'"),
        (["clip.mp4", "--start", "1000"], "no frames"),
        (["clip.mp4", "-o", "text.mp4"], "text.mp4"),
    ],
)
def test_mistakes_give_one_line_and_code_two(foveate, short_clip, tmp_path, arguments, words):
    (tmp_path / "empty.mp4").touch()
    (tmp_path / "text.mp4").write_text("not a video")
    shutil.copy(short_clip, tmp_path / "clip.mp4")
    code, _, err = foveate("detect", *arguments)
    assert code == 2
    assert words in err
    assert len(err.strip().splitlines()) == 1
    assert (tmp_path / "text.mp4").read_text() == "not a video"


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["detect", "--classes", "person,unicorn"], "unknown class 'unicorn'"),
        (["caption", "--regions", "none.json"], "none.json"),
        (["look", "--objects", "none.json"], "none.json"),
        (["look", "--target", "unicorn"], "'unicorn'"),
        (["check", "--procedure", "none"], "unknown procedure 'none'"),
    ],
)
def test_wrong_options_are_said_once_for_all_sources(foveate, tmp_path, arguments, words):
    for name in ("a.png", "b.png"):
        cv2.imwrite(str(tmp_path / name), np.zeros((64, 64, 3), np.uint8))
    code, _, err = foveate(*arguments, "a.png", "b.png", "-o", "out")
    assert code == 2
    assert words in err
    assert len(err.strip().splitlines()) == 1
    assert not (tmp_path / "out").exists()


def test_pictures_are_counted_and_bad_ones_named_once(foveate, tmp_path):
    (tmp_path / "mixed").mkdir()
    cv2.imwrite(str(tmp_path / "mixed/good.png"), np.zeros((32, 32, 3), np.uint8))
    (tmp_path / "mixed/bad.png").write_text("not a picture")
    _, out, _ = foveate("detect", "mixed", "-o", "out")
    assert "  1 picture in " in out
    assert "skipped: mixed/bad.png is not a readable picture" in out


@pytest.mark.parametrize(
    "arguments", [["localize"], ["check", "--procedure", "synthetic-assembly"]]
)
def test_tasks_of_time_refuse_one_picture(foveate, tmp_path, arguments):
    cv2.imwrite(str(tmp_path / "hall.png"), np.zeros((64, 64, 3), np.uint8))
    code, _, err = foveate(*arguments, "hall.png", "-o", "out")
    assert code == 2
    assert "hall.png is one picture" in err
    assert len(err.strip().splitlines()) == 1
    assert not (tmp_path / "out").exists()


def test_a_video_cut_short_is_done_as_far_as_it_goes(foveate, sample_clip, tmp_path):
    whole = sample_clip.read_bytes()
    (tmp_path / "cut.mp4").write_bytes(whole[: len(whole) // 8])
    code, _, err = foveate("detect", "cut.mp4", "-o", "out", "--no-video")
    assert code == 2
    assert "cut.mp4 is cut short" in err
    assert len(err.strip().splitlines()) == 1
    *_, summary = lines(tmp_path / "out/cut.jsonl")
    assert summary["type"] == "summary"
    assert 0 < summary["frames"] < 60


def test_one_bad_source_does_not_stop_the_others(foveate, short_clip, tmp_path):
    (tmp_path / "bad.mp4").write_text("not a video")
    code, _, err = foveate("detect", "bad.mp4", short_clip, "-o", "out", "--no-video")
    assert code == 2
    assert "bad.mp4" in err
    assert lines(tmp_path / "out/hall.jsonl")[-1]["type"] == "summary"


@pytest.mark.parametrize("value", ["-0.1", "1.5", "high"])
def test_options_are_checked(foveate, value):
    code, _, err = foveate("detect", "x.mp4", "--threshold", value)
    assert code == 2
    assert "--threshold" in err


def test_weights_models_and_unknown_task(foveate):
    _, out, _ = foveate("weights", "--json")
    entries = json.loads(out)
    assert {"name", "task", "default", "bytes", "licence", "score"} <= entries[0].keys()
    assert [e["name"] for e in entries if e["task"] == "detection" and e["default"]]
    _, out, _ = foveate("models", "--json")
    assert {"biformer_tiny", "biformer_nano"} <= {row["name"] for row in json.loads(out)}
    code, _, err = foveate("schema", "detektion")
    assert code == 2
    assert "detection" in err


def test_help_imports_nothing_slow_and_names_every_verb():
    command = [sys.executable, "-X", "importtime", "-m", "foveate", "--help"]
    run = subprocess.run(command, capture_output=True, text=True, check=True)
    imported = {line.rpartition("|")[2].strip() for line in run.stderr.splitlines()}
    assert "typer" in imported
    assert not imported & {"torch", "timm", "cv2", "av", "gradio", "numpy", "pydantic"}
    for verb in ("detect", "eval", "train", "bench", "demo", "models", "weights", "schema"):
        assert verb in run.stdout


def test_eval_prints_coco_numbers(foveate, rectangles_as_people):
    arguments = [
        "eval", "detection", "--annotations", rectangles_as_people / "truth.json",
        "--images", rectangles_as_people / "pictures",
    ]  # fmt: skip
    code, out, err = foveate(*arguments, "--json")
    assert code == 0, err
    report = json.loads(out)
    assert {"AP", "AP50", "AP75", "APs", "APm", "APl", "AR1", "AR10", "AR100"} < report.keys()
    assert set(report["per_class"]) == {"person"}
    assert 0 <= report["per_class"]["person"]["AP50"] <= 1
    code, out, err = foveate(*arguments)
    assert code == 0, err
    assert "AP50" in out


def test_eval_names_missing_files(foveate, tmp_path):
    arguments = ("eval", "detection", "--annotations", "none.json", "--images", tmp_path)
    code, _, err = foveate(*arguments)
    assert code == 2
    assert "none.json" in err


@pytest.fixture
def rectangles_as_people(tmp_path, sample_clip):
    """Two frames of the sample with a person boxed by hand, in a folder."""
    folder = tmp_path / "pictures"
    folder.mkdir()
    boxes = {30: [267, 64, 69, 172], 170: [88, 53, 66, 156]}
    images, annotations = [], []
    with av.open(str(sample_clip)) as video:
        for n, frame in enumerate(video.decode(video=0)):
            if n in boxes:
                cv2.imwrite(str(folder / f"{n}.png"), frame.to_ndarray(format="bgr24"))
                images.append({"id": n, "file_name": f"{n}.png", "width": 480, "height": 270})
                annotations.append(
                    {"id": n, "image_id": n, "category_id": 1, "bbox": boxes[n], "iscrowd": 0,
                     "area": boxes[n][2] * boxes[n][3]}
                )  # fmt: skip
    truth = {
        "images": images,
        "annotations": annotations,
        "categories": [{"id": 1, "name": "person"}],
    }
    (tmp_path / "truth.json").write_text(json.dumps(truth))
    return tmp_path
