"""A procedure made from videos of correct executions, and a video checked against it."""

import json

import pytest

from tests.conftest import DATA
from tests.vision.tasks.mistakes.conftest import ASSEMBLY
from video.cli import main
from vision.tasks.mistakes.predict import CheckerConfig, MistakeChecker
from vision.tasks.mistakes.procedure import load_procedure

VIDEOS = ASSEMBLY / "videos"
CORRECT = f"{VIDEOS / 'train_045.mp4'},{VIDEOS / 'train_026.mp4'}"


@pytest.fixture
def foveate(tmp_path, monkeypatch, capsys):
    """Runs a command in an empty folder: exit code, what it said, and its complaints."""
    monkeypatch.chdir(tmp_path)

    def run(*arguments):
        monkeypatch.setattr("sys.argv", ["foveate", *map(str, arguments)])
        with pytest.raises(SystemExit) as left:
            main()
        said = capsys.readouterr()
        return left.value.code or 0, said.out, said.err

    return run


def test_what_was_seen_done_rightly_is_expected_of_others(foveate, tmp_path, clip_set):
    code, out, _ = foveate("check", "--new-procedure", "mine.json", "--examples", CORRECT, "--kind",
                           "truck")  # fmt: skip
    assert code == 0
    assert "not real video" in out, "what the recogniser was made for"
    made = load_procedure("mine.json")
    truth = {e.id: tuple(clip_set.classes[k] for k in e.labels) for e in clip_set.splits["train"]}
    assert {e.id: e.steps for e in made.examples} == truth
    assert all(f"{name}: {', '.join(steps)}" in out for name, steps in truth.items())
    assert {e.kind for e in made.examples} == {("truck",)}
    flags = {}
    for video in ("train_045", "test_005"):
        command = ("check", VIDEOS / f"{video}.mp4", "--procedure", "mine.json", "--no-video")
        code, *_ = foveate(*command, "-o", "out", "--device", "cpu")
        assert code == 0
        result = json.loads((tmp_path / "out" / f"{video}-steps.json").read_text())
        assert "not real video" in result["note"]
        flags[video] = {s["step"]: s["mistake"] for s in result["steps"]}
    assert flags["train_045"] == dict.fromkeys(truth["train_045"], False)
    assert flags["test_005"] == {"attach-base": False, "detach-base": True}


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["--examples", "none.mp4"], "none.mp4"),
        (["--examples", f"{VIDEOS / 'train_045.mp4'},junk.mp4"], "junk.mp4"),
        (["--examples", ","], "--steps FILE or --examples"),
        (["--examples", CORRECT, "--weights", "none"], "none"),
    ],
)
def test_what_cannot_be_learnt_from_is_said_in_a_line(foveate, tmp_path, arguments, words):
    (tmp_path / "junk.mp4").write_bytes(b"no video")
    code, _, error = foveate("check", "--new-procedure", "mine.json", *arguments)
    assert (code, error.count("\n")) == (2, 1)
    assert words in error
    assert not (tmp_path / "mine.json").exists()


def test_a_video_without_steps_teaches_nothing(foveate, monkeypatch, tmp_path):
    idle = MistakeChecker.from_weights()
    idle.config = CheckerConfig(**{**vars(idle.config), "background": idle.config.classes})
    monkeypatch.setattr(MistakeChecker, "from_weights", lambda *_, **__: idle)
    code, _, error = foveate("check", "--new-procedure", "mine.json", "--examples", CORRECT)
    assert code == 2
    assert "no step was recognised in" in error
    assert not (tmp_path / "mine.json").exists()


def test_a_file_that_is_there_is_kept_and_no_video_is_read(foveate, tmp_path):
    (tmp_path / "mine.json").write_text("mine")
    code, _, error = foveate("check", "--new-procedure", "mine.json", "--examples", "none.mp4")
    assert code == 2
    assert "mine.json is there already" in error
    assert (tmp_path / "mine.json").read_text() == "mine"


@pytest.mark.parametrize("option", ["--steps", "--new-procedure", "--examples"])
def test_options_for_use_without_a_video(foveate, option):
    video = VIDEOS / "test_005.mp4"
    code, _, error = foveate("check", video, "--procedure", "synthetic-assembly", option, "x.json")
    assert code == 2
    assert f"{option} is for use without a video" in error


def test_a_language_model_that_is_not_there_is_told_of(foveate):
    """Without --fallback the run ends; with it the default goes on, and why is said."""
    command = ["check", VIDEOS / "test_005.mp4", "--procedure", "synthetic-assembly", "--no-video"]
    command += ["--anticipator", "openai", "--llm-url", "http://127.0.0.1:9/v1"]
    code, _, error = foveate(*command)
    assert code == 2
    assert "Connection refused" in error
    code, out, error = foveate(*command, "--fallback")
    assert code == 0
    assert "Connection refused; went on without it" in error
    assert "MISTAKE" in out


def test_pictures_of_something_else_are_read(foveate):
    """Real video is nothing the recogniser knows; it is read all the same."""
    code, *_ = foveate("check", DATA / "people_cc_by.mp4", "--procedure", "synthetic-assembly",
                       "--end", 1, "--no-video")  # fmt: skip
    assert code == 0
