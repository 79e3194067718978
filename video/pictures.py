"""Pictures in and out, one file each."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Self

import cv2

from video.frames import Selection, SourceInfo, TimedFrame
from video.sources import Source, picture_names
from vision.errors import FoveateError
from vision.images import decode_image
from vision.results import Frame
from vision.writing import write_whole

RATE = 25.0
"""Frames/s that a sequence of pictures counts as, since pictures bear no times."""


class PictureReader:
    """Reads picture files in order, skipping and counting unreadable ones."""

    def __init__(self, source: Source, selection: Selection) -> None:
        self.notes: list[str] = []
        self.skipped = self.missing = 0
        self._source = source
        self._selection = selection
        first = next(self._read(), None)
        if first is None:
            raise FoveateError(f"no readable picture in {source.location}")
        self.skipped = 0  # reading starts over
        self.notes.clear()
        height, width = first[2][1].shape[:2]
        count = len(source.pictures)
        self.info = SourceInfo(
            width=width,
            height=height,
            fps=RATE,
            frames=count,
            duration=count / RATE,
            pictures=tuple(picture_names(source.pictures).values()),
        )

    def __iter__(self) -> Iterator[TimedFrame]:
        for index, time, (path, image) in self._selection.pick(self._read()):
            yield TimedFrame(index, time, image, path)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *exception: object) -> None:
        """Files are closed after each read."""

    def _read(self) -> Iterator[tuple[int, float, tuple[Path, Frame]]]:
        for index, path in enumerate(self._source.pictures):
            image = self._load(path)
            if image is not None:
                yield index, index / RATE, (path, image)

    def _load(self, path: Path) -> Frame | None:
        try:
            return decode_image(path.read_bytes(), str(path))
        except OSError as error:
            reason = f"cannot read {path}: {error.strerror}"
        except FoveateError as error:
            reason = str(error)
        self.skipped += 1
        self.notes.append(f"skipped: {reason}")
        return None


class PictureSink:
    """Writes painted pictures, each whole or not at all.

    Args:
        place: gives the path to write from the original's.
    """

    def __init__(self, place: Callable[[Path], Path]) -> None:
        self._place = place

    def write(self, frame: TimedFrame, image: Frame) -> None:
        """Write the painted form of a picture, in the original's format.

        Raises:
            FoveateError: it cannot be written.
        """
        assert frame.path is not None
        save_picture(self._place(frame.path), image)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *exception: object) -> None:
        """Files are closed after each write."""


def save_picture(path: Path, image: Frame) -> None:
    """Write `(H, W, 3)` uint8 RGB, whole, in the format of the path's suffix.

    Raises:
        FoveateError: it cannot be written.
    """
    _, content = cv2.imencode(path.suffix, cv2.cvtColor(image, cv2.COLOR_RGB2BGR))
    write_whole(path, content.tobytes())
