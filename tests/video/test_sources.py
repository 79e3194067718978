"""What the user types becomes sources with names of their own."""

import os
from pathlib import Path

import cv2
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from video.sources import Source, expand, file_name
from vision.errors import FoveateError


def touch(*paths: Path) -> None:
    for path in paths:
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(b"x")


def write_picture(path: Path) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    cv2.imwrite(str(path), np.zeros((4, 4, 3), np.uint8))
    return path


@pytest.mark.parametrize(
    ("given_", "source"),
    [
        ("0", Source("stream", "webcam0", "/dev/video0")),
        ("rtsp://cam.local/live/1?x=2", Source("stream", "1", "rtsp://cam.local/live/1?x=2")),
        ("http://host/a%20b.mp4", Source("stream", "a-20b", "http://host/a%20b.mp4")),
        ("/dev/null", Source("stream", "null", "/dev/null")),
    ],
)
def test_streams(given_: str, source: Source) -> None:
    assert expand([given_]) == [source]


def test_file_of_any_suffix_is_a_video(tmp_path: Path) -> None:
    touch(tmp_path / "clip.strange")
    path = str(tmp_path / "clip.strange")
    assert expand([path]) == [Source("video", "clip", path)]


def test_file_named_like_a_webcam_wins(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    touch(tmp_path / "0")
    assert expand(["0"]) == [Source("video", "0", "0")]


def test_folder_gives_its_videos_and_one_sequence_of_pictures(tmp_path: Path) -> None:
    folder = tmp_path / "mixed"
    touch(folder / "b.mp4", folder / "A.MKV", folder / "notes.md", folder / "deep" / "c.mp4")
    pictures = (write_picture(folder / "1.jpg"), write_picture(folder / "2.PNG"))
    assert expand([folder]) == [
        Source("video", "A", str(folder / "A.MKV")),
        Source("video", "b", str(folder / "b.mp4")),
        Source("pictures", "mixed", str(folder), pictures),
    ]


def test_single_picture_bears_its_own_name(tmp_path: Path) -> None:
    path = write_picture(tmp_path / "folder" / "face.jpg")
    assert expand([path]) == [Source("pictures", "face", str(path), (path,))]
    assert expand([path.parent])[0].name == "face"


def test_glob(tmp_path: Path) -> None:
    touch(tmp_path / "a" / "x.mp4", tmp_path / "b" / "y.mp4", tmp_path / "b" / "z.txt")
    assert [s.name for s in expand([f"{tmp_path}/*/*.mp4"])] == ["x", "y"]
    pictures = (write_picture(tmp_path / "p" / "1.png"), write_picture(tmp_path / "p" / "2.png"))
    (source,) = expand([f"{tmp_path}/p/*.png"])
    assert (source.name, source.pictures) == ("p", pictures)


def test_file_with_brackets_in_its_name_is_no_glob(tmp_path: Path) -> None:
    touch(tmp_path / "clip[1].mp4")
    assert expand([tmp_path / "clip[1].mp4"])[0].kind == "video"


def test_list_is_relative_to_itself(tmp_path: Path) -> None:
    touch(tmp_path / "sub" / "x.mp4")
    picture = write_picture(tmp_path / "sub" / "p.jpg")
    (tmp_path / "val.txt").write_text("# comment\n\nsub/x.mp4\nsub/p.jpg\nhttp://host/live\n")
    assert [(s.kind, s.name) for s in expand([tmp_path / "val.txt"])] == [
        ("video", "x"),
        ("stream", "live"),
        ("pictures", "val"),
    ]
    assert expand([tmp_path / "val.txt"])[2].pictures == (picture,)


def test_equal_stems_are_told_apart(tmp_path: Path) -> None:
    paths = [tmp_path / p for p in ("a/clip.mp4", "b/clip.mp4", "b/Clip.avi", "other.mp4")]
    touch(*paths)
    names = [source.name for source in expand(paths)]
    assert names == ["a-clip", "clip.mp4", "Clip.avi", "other"]
    assert len({source.name for source in expand([paths[0]] * 3)}) == 3


@settings(deadline=None)
@given(
    st.lists(
        st.tuples(st.sampled_from(["a", "b", "a-b", "B"]), st.sampled_from(["c", "C", "b-c", "a"])),
        max_size=8,
    )
)
def test_names_never_collide(places: list[tuple[str, str]]) -> None:
    urls = [f"http://host/{folder}/{stem}.mp4" for folder, stem in places]
    names = [source.name.casefold() for source in expand(urls)]
    assert len(set(names)) == len(urls)


@settings(deadline=None)
@given(st.text())
def test_file_name_stays_in_its_folder(text: str) -> None:
    name = file_name(text)
    assert "/" not in name
    assert not name.startswith(".")


@pytest.mark.parametrize("item", ["missing.mp4", "nothing*.mp4", "", "empty", "empty.txt"])
def test_nothing_there_is_an_error(
    item: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    write_picture(tmp_path / "there.png")
    (tmp_path / "empty").mkdir()
    (tmp_path / "empty.txt").write_text("# nothing\n")
    with pytest.raises(FoveateError):
        expand([item])


def test_a_name_that_no_record_could_hold_is_an_error(tmp_path: Path) -> None:
    (tmp_path / os.fsdecode(b"caf\xe9.mp4")).touch()  # Latin-1
    with pytest.raises(FoveateError, match=r"caf\\udce9\.mp4' is not a name in UTF-8"):
        expand([tmp_path])


def test_list_that_names_itself_is_an_error(tmp_path: Path) -> None:
    (tmp_path / "a.txt").write_text("b.txt\n")
    (tmp_path / "b.txt").write_text("a.txt\n")
    with pytest.raises(FoveateError, match="names itself"):
        expand([tmp_path / "a.txt"])


def test_binary_list_is_an_error(tmp_path: Path) -> None:
    (tmp_path / "a.txt").write_bytes(b"\xff\xfe\x00")
    with pytest.raises(FoveateError, match="cannot read list"):
        expand([tmp_path / "a.txt"])
