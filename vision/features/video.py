"""Frame features of whole videos: read, computed once, kept on disk."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable, Iterator
from dataclasses import asdict, dataclass
from pathlib import Path

import av
import numpy as np
from safetensors import SafetensorError
from safetensors.numpy import load_file, save_file

from vision.cache import cache_folder
from vision.errors import FoveateError
from vision.features.extractor import FeatureConfig, FeatureExtractor, TimedFrames
from vision.results import Frame
from vision.writing import whole_file

ReadVideo = Callable[[Path], TimedFrames]


@dataclass(frozen=True)
class Features:
    """Features of one video on the grid of its rate.

    Args:
        start: time of the first row in seconds.
        rate: rows a second.
        values: `(T, C)` float32.
    """

    start: float
    rate: float
    values: np.ndarray

    @property
    def times(self) -> np.ndarray:
        """Time of each row in seconds, `(T,)`."""
        return self.start + np.arange(len(self.values)) / self.rate


def video_features(
    path: Path,
    extractor: FeatureExtractor,
    *,
    read: ReadVideo | None = None,
    cache: Path | None = None,
) -> Features:
    """Features of a whole video file, computed once.

    Args:
        path: the video.
        extractor: makes the features.
        read: opens a video; `read_video` when None.
        cache: folder that keeps features by the video's content and the extractor's
            configuration; `cache_folder("features")` when None.

    Raises:
        FoveateError: the file is missing or no video.
    """
    config = extractor.config
    folder = cache_folder("features") if cache is None else cache
    kept = folder / f"{_content_hash(path)}-{_config_hash(config)}.safetensors"
    try:
        tensors = load_file(kept)
        return Features(float(tensors["start"]), config.rate, tensors["values"])
    except (OSError, SafetensorError, KeyError):  # not there, or not whole: made again
        pass
    rows = list(extractor.stream((read or read_video)(path)))
    if not rows:
        raise FoveateError(f"{path} holds no frame")
    start, values = rows[0][0], np.stack([row for _, row in rows])
    with whole_file(kept) as partial:
        save_file({"start": np.array(start, np.float64), "values": values}, partial)
    return Features(start, config.rate, values)


def read_video(path: Path) -> Iterator[tuple[float, Frame]]:
    """Decode a video file frame by frame.

    Yields:
        Time in seconds of the file's clock and `(H, W, 3)` uint8 RGB.

    Raises:
        FoveateError: the file is missing or no video.
    """
    try:
        with av.open(str(path)) as container:
            if not container.streams.video:
                raise FoveateError(f"{path} holds no video")
            for frame in container.decode(container.streams.video[0]):
                if frame.time is not None:
                    image = frame.to_ndarray(format="rgb24")
                    turns = round(frame.rotation / 90) % 4
                    yield frame.time, np.ascontiguousarray(np.rot90(image, turns))
    except FileNotFoundError:
        raise FoveateError(f"no such video: {path}") from None
    except av.error.FFmpegError as error:
        raise FoveateError(f"{path} is not a readable video: {error.strerror}") from None


def _config_hash(config: FeatureConfig) -> str:
    return hashlib.sha256(json.dumps(asdict(config), sort_keys=True).encode()).hexdigest()[:16]


def _content_hash(path: Path) -> str:
    try:
        with path.open("rb") as file:
            return hashlib.file_digest(file, "sha256").hexdigest()[:32]
    except OSError:
        raise FoveateError(f"no such video: {path}") from None
