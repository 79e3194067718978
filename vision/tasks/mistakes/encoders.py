"""What the recogniser sees of a frame: motion in small thumbnails, or a frozen backbone's features.

Both work in two parts, so that training can keep the first and vary the second: `look` depends on
one frame alone, `encode` on the frames before it too.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol

import cv2
import numpy as np

from vision.errors import FoveateError
from vision.features import (
    FeatureConfig,
    FeatureExtractor,
    Ticks,
    read_video,
    video_features,
)
from vision.results import Frame


@dataclass(frozen=True)
class ThumbnailConfig:
    """Motion in thumbnails.

    Args:
        size: side of the square thumbnails in pixels.
        rate: frames a second that are looked at.
        memory: seconds in which the background forgets (to 1 / e).
    """

    size: int = 20
    rate: float = 10.0
    memory: float = 2.5

    def __post_init__(self) -> None:
        if self.size < 1 or self.rate <= 0 or self.memory <= 0:
            raise FoveateError("thumbnails need a size, a rate and a memory above 0")


@dataclass(frozen=True)
class EncoderConfig:
    """One of the two kinds of features.

    Args:
        thumbnails: for scenes whose motion tells the step.
        backbone: for everything else.
    """

    thumbnails: ThumbnailConfig | None = None
    backbone: FeatureConfig | None = None

    def __post_init__(self) -> None:
        if (self.thumbnails is None) == (self.backbone is None):
            raise FoveateError("an encoder is either thumbnails or a backbone")


class Encoder(Protocol):
    """Frames in, features `(N, channels)` out, at `rate` frames a second."""

    @property
    def rate(self) -> float: ...

    @property
    def channels(self) -> int: ...

    def look(self, frames: Sequence[Frame]) -> np.ndarray:
        """What is kept of each frame, `(N, ...)`."""
        ...

    def look_at(self, path: Path) -> tuple[np.ndarray, np.ndarray]:
        """What is kept of a whole video file at `rate`, `(T, ...)`, and the times in seconds.

        Raises:
            FoveateError: the file is missing or no video.
        """
        ...

    def encode(self, looks: np.ndarray, state: Any = None) -> tuple[np.ndarray, Any]:
        """Features `(N, channels)` of looks in order, and the state for the next ones.

        Args:
            looks: N of them.
            state: from the call before; None at the beginning of a video.
        """
        ...

    def vary(self, looks: np.ndarray, rng: np.random.Generator) -> np.ndarray:
        """Looks of the same frames as another camera might have seen them, for training."""
        ...


def make_encoder(config: EncoderConfig, device: str | None = None) -> Encoder:
    """The encoder of a configuration.

    Args:
        config: which, and how.
        device: where a backbone runs.
    """
    if config.thumbnails is not None:
        return MotionThumbnails(config.thumbnails)
    assert config.backbone is not None
    return BackboneEncoder(config.backbone, device)


class MotionThumbnails:
    """Difference of a thumbnail to a slowly forgetting background, and to the frame before.

    What stands still vanishes. A recogniser that sees the state of the work learns which step is
    due instead of which is done, and then misses the mistakes; one that sees motion cannot.

    Args:
        config: sizes and times.
    """

    def __init__(self, config: ThumbnailConfig) -> None:
        self.config = config
        self.rate = config.rate
        self.channels = 2 * 3 * config.size**2
        self._forget = 1 - math.exp(-1 / (config.rate * config.memory))

    def look(self, frames: Sequence[Frame]) -> np.ndarray:
        """Thumbnails `(N, size, size, 3)` uint8."""
        side = (self.config.size, self.config.size)
        return np.stack([cv2.resize(f, side, interpolation=cv2.INTER_AREA) for f in frames])

    def look_at(self, path: Path) -> tuple[np.ndarray, np.ndarray]:
        """Thumbnails of a video file, and their times in seconds."""
        ticks = Ticks(self.rate)
        looks: list[np.ndarray] = []
        times: list[float] = []
        for time, frame in read_video(path):
            if count := ticks.take(time):
                looks += [self.look([frame])[0]] * count
                times += [time] * count
        if not looks:
            raise FoveateError(f"{path} holds no frame")
        return np.stack(looks), np.array(times)

    def encode(
        self, looks: np.ndarray, state: tuple[np.ndarray, np.ndarray] | None = None
    ) -> tuple[np.ndarray, tuple[np.ndarray, np.ndarray]]:
        """Features of thumbnails, uint8 or float32 of the same range; the state is the
        background and the last thumbnail."""
        pictures = looks.astype(np.float32) / 255
        background, before = state or (pictures[0], pictures[0])
        slow = np.empty_like(pictures)
        for n, picture in enumerate(pictures):
            slow[n] = picture - background
            background = background + self._forget * slow[n]
        fast = np.diff(pictures, axis=0, prepend=before[None])
        both = np.concatenate([8 * slow, 16 * fast], axis=-1)  # moving parts come to about 1
        return both.reshape(len(both), -1), (background, pictures[-1])

    def vary(self, looks: np.ndarray, rng: np.random.Generator) -> np.ndarray:
        """Shift, turn and scale all thumbnails alike; change brightness and colour alike."""
        size = self.config.size
        centre = (size - 1) / 2
        turn, scale = rng.normal(0, 2.0), math.exp(rng.normal(0, 0.03))
        matrix: np.ndarray = np.array(cv2.getRotationMatrix2D((centre, centre), turn, scale))
        matrix[:, 2] += rng.uniform(-size / 12, size / 12, 2)
        moved = np.stack(
            [
                cv2.warpAffine(x, matrix, (size, size), borderMode=cv2.BORDER_REPLICATE)
                for x in looks
            ]
        ).astype(np.float32)
        gain = np.exp(rng.normal(0, 0.15) + rng.normal(0, 0.08, 3)).astype(np.float32)
        return np.clip(moved * gain + np.float32(rng.normal(0, 12)), 0, 255)


class BackboneEncoder:
    """Features of a frozen backbone, each frame for itself.

    Args:
        config: which backbone.
        device: where it runs.
    """

    def __init__(self, config: FeatureConfig, device: str | None = None) -> None:
        self._extractor = FeatureExtractor(config, device)
        self.rate = config.rate
        self.channels = self._extractor.channels

    def look(self, frames: Sequence[Frame]) -> np.ndarray:
        """Features `(N, channels)` float32."""
        return self._extractor(frames)

    def look_at(self, path: Path) -> tuple[np.ndarray, np.ndarray]:
        """Features of a video file, computed once and kept on disk, and their times in seconds."""
        features = video_features(path, self._extractor)
        return features.values, features.times

    def encode(self, looks: np.ndarray, state: None = None) -> tuple[np.ndarray, None]:
        """The features as they are."""
        return looks, None

    def vary(self, looks: np.ndarray, rng: np.random.Generator) -> np.ndarray:
        """The features as they are: pictures are no longer at hand."""
        return looks
