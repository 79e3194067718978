"""What the user typed, expanded to the sources that the pipeline runs over."""

from __future__ import annotations

import glob
import os
from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Literal

from vision.errors import FoveateError

PICTURES = frozenset({".bmp", ".jpeg", ".jpg", ".png", ".tif", ".tiff", ".webp"})
VIDEOS = frozenset(
    {".avi", ".flv", ".gif", ".m2ts", ".m4v", ".mkv", ".mov", ".mp4", ".mpeg", ".mpg", ".mts"}
    | {".ogv", ".ts", ".webm", ".wmv"}
)
"""What counts as a video in a folder. A file named outright may have any suffix."""


@dataclass(frozen=True)
class Source:
    """One thing to run over, with the name that its outputs bear.

    Args:
        kind: a video file, pictures in order (a sequence), or a stream (webcam or URL).
        name: stem of the output files, unique among the sources expanded together.
        location: the file, folder, list, device or URL, as the user knows it.
        pictures: the picture files when `kind` is `"pictures"`.
    """

    kind: Literal["video", "pictures", "stream"]
    name: str
    location: str
    pictures: tuple[Path, ...] = ()


def expand(given: Iterable[str | Path]) -> list[Source]:
    """Expand what the user typed.

    A video file, webcam (`0`, `/dev/video0`) or stream URL is one source each. A folder or glob
    gives its videos, one source each, and its pictures, together one source; folders are not
    searched deeper. A `.txt` file lists any of these, one a line; `#` begins a comment line.

    Args:
        given: files, folders, globs, lists, webcams and URLs.

    Returns:
        The sources in the order given, names unique: equal stems are told apart by folder.

    Raises:
        FoveateError: something is missing, or holds neither pictures nor videos.
    """
    sources = [source for item in given for source in _expand(os.fspath(item), ())]
    for name in (name for s in sources for name in (s.location, *map(str, s.pictures))):
        try:
            name.encode()
        except UnicodeEncodeError:
            raise FoveateError(f"{name!a} is not a name in UTF-8; rename it") from None
    return _distinguish(sources)


def picture_names(pictures: Sequence[Path]) -> dict[Path, str]:
    """A name for each of some pictures, as that of a source: its stem unless others have it too."""
    sources = [Source("pictures", path.stem, str(path)) for path in pictures]
    return dict(zip(pictures, (source.name for source in _distinguish(sources)), strict=True))


def _expand(item: str, lists: tuple[Path, ...]) -> list[Source]:
    path = Path(item)
    if not item:
        raise FoveateError("a source has an empty name; give a file, folder, glob or URL")
    if "://" in item:
        stem = Path(item.split("?")[0].rstrip("/")).stem
        return [Source("stream", file_name(stem) or "stream", item)]
    if item.isdigit() and not path.exists():
        return [Source("stream", f"webcam{item}", f"/dev/video{item}")]
    if path.is_char_device():
        return [Source("stream", path.name, item)]
    if path.is_dir():
        return _sort(item, path.resolve().name, sorted(path.iterdir()))
    if not path.exists() and glob.has_magic(item):
        matches = [Path(match) for match in sorted(glob.glob(item, recursive=True))]
        return _sort(item, matches[0].resolve().parent.name if matches else "", matches)
    if path.suffix.lower() == ".txt" and path.is_file():
        return _read_list(path, lists)
    if not path.exists():
        raise FoveateError(f"no such file or folder: {item}")
    if path.suffix.lower() in PICTURES:
        return [Source("pictures", path.stem, item, (path,))]
    return [Source("video", path.stem, item)]


def _sort(item: str, name: str, paths: Sequence[Path]) -> list[Source]:
    """The videos among some paths, one source each, then the pictures as one sequence."""
    videos = [path for path in paths if path.suffix.lower() in VIDEOS and path.is_file()]
    pictures = tuple(path for path in paths if path.suffix.lower() in PICTURES and path.is_file())
    sources = [Source("video", path.stem, str(path)) for path in videos]
    if pictures:
        name = pictures[0].stem if len(pictures) == 1 else name
        sources.append(Source("pictures", name or "pictures", item, pictures))
    if not sources:
        raise FoveateError(f"no pictures or videos in {item}")
    return sources


def _read_list(path: Path, lists: tuple[Path, ...]) -> list[Source]:
    """The sources that a text file names; its pictures together make one sequence."""
    if path.resolve() in lists:
        raise FoveateError(f"list {path} names itself; remove that line")
    try:
        lines = [line.strip() for line in path.read_text(encoding="utf-8").splitlines()]
    except (OSError, UnicodeDecodeError) as error:
        raise FoveateError(f"cannot read list {path}: {error}") from None
    sources: list[Source] = []
    pictures: list[Path] = []
    for line in lines:
        if not line or line.startswith("#"):
            continue
        if "://" not in line and not line.isdigit():
            line = str(path.parent / line)  # relative to the list; an absolute path stays
        for source in _expand(line, (*lists, path.resolve())):
            if source.kind == "pictures" and len(source.pictures) == 1:
                pictures += source.pictures
            else:
                sources.append(source)
    if pictures:
        sources.append(Source("pictures", path.stem, str(path), tuple(pictures)))
    if not sources:
        raise FoveateError(f"list {path} is empty; write one file, folder or URL a line")
    return sources


def _distinguish(sources: Sequence[Source]) -> list[Source]:
    """Give sources of one stem names of their own by folder, suffix, whole path or number."""
    forms = [
        lambda source: source.name,
        lambda source: f"{Path(source.location).parent.name}-{source.name}".lstrip("-"),
        lambda source: Path(source.location).name,
        lambda source: file_name(source.location),
    ]
    names = [""] * len(sources)
    pending = list(range(len(sources)))
    taken: set[str] = set()
    for form in forms:
        candidates = {i: form(sources[i]) for i in pending}
        # Compared without case, for file systems that know none.
        count = Counter(name.casefold() for name in candidates.values())
        for i, name in candidates.items():
            if name and count[name.casefold()] == 1 and name.casefold() not in taken:
                names[i] = name
                taken.add(name.casefold())
        pending = [i for i in pending if not names[i]]
    for i in pending:
        number = 2
        while f"{sources[i].name}-{number}".casefold() in taken:
            number += 1
        names[i] = f"{sources[i].name}-{number}"
        taken.add(names[i].casefold())
    return [replace(source, name=name) for source, name in zip(sources, names, strict=True)]


def file_name(text: str) -> str:
    """A location or label as the name of a file or folder."""
    return "".join(c if c.isalnum() or c in "._" else "-" for c in text).strip("-.")
