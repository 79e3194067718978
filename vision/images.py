"""Pictures by key: from folders, from uncompressed tars, and single frames of videos."""

from __future__ import annotations

import tarfile
from pathlib import Path

import cv2
import numpy as np

from vision.errors import FoveateError
from vision.results import Frame


def decode_image(content: bytes, name: str) -> Frame:
    """Decode an encoded picture of any kind OpenCV reads to `(H, W, 3)` uint8 RGB.

    Orientation tags are applied; grey pictures get three channels; transparency is dropped.

    Raises:
        FoveateError: the bytes are no picture.
    """
    buffer = np.frombuffer(content, np.uint8)
    image = cv2.imdecode(buffer, cv2.IMREAD_COLOR_RGB) if buffer.size else None
    if image is None:
        raise FoveateError(f"{name} is not a readable picture")
    return image


class ImageStore:
    """Reads pictures below a root by key, opening each archive once.

    A key is `file`, `archive.tar:member`, `folder:file` or `video.mp4@seconds`. Safe to use in
    worker processes: file handles are opened on first use and not pickled.
    """

    def __init__(self, root: Path) -> None:
        self.root = root
        self._members: dict[str, dict[str, tuple[int, int]]] = {}

    def read(self, key: str) -> Frame:
        """Decode one picture to `(H, W, 3)` uint8 RGB; FoveateError when it is not there."""
        if "@" in key:
            video, _, seconds = key.rpartition("@")
            return self._frame(video, float(seconds))
        container, _, member = key.rpartition(":")
        path = self.root / container
        try:
            if container.endswith(".tar"):
                content = self._from_tar(container, member)
            else:
                content = (path / member).read_bytes()
        except (OSError, KeyError):
            raise FoveateError(f"no picture {member!r} in {path}") from None
        return decode_image(content, key)

    def _from_tar(self, container: str, member: str) -> bytes:
        path = self.root / container
        if container not in self._members:
            try:
                with tarfile.open(path, "r:") as archive:
                    self._members[container] = {
                        m.name.removeprefix("./"): (m.offset_data, m.size) for m in archive
                    }
            except tarfile.TarError as error:
                raise FoveateError(f"{path} is not an uncompressed tar: {error}") from None
        offset, size = self._members[container][member]
        with path.open("rb") as file:
            file.seek(offset)
            return file.read(size)

    def _frame(self, path: str, seconds: float) -> Frame:
        capture = cv2.VideoCapture(str(self.root / path))
        try:
            capture.set(cv2.CAP_PROP_POS_MSEC, seconds * 1000)
            found, frame = capture.read()
        finally:
            capture.release()
        if not found:
            raise FoveateError(f"no frame at {seconds} s in {self.root / path}")
        return cv2.cvtColor(frame, cv2.COLOR_BGR2RGB)
