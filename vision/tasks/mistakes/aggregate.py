"""From one label a frame to steps: the mode over a window, then runs of equal labels.

Three ways of laying the window (TI-PREGO, section 3.2): side by side (NOMA), behind each frame
(OMA) and around each frame (OCMA). All work on streams; what they say of a frame never changes
afterwards.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Literal, NamedTuple

import numpy as np

from vision.errors import FoveateError

Windows = Literal["noma", "oma", "ocma"]


class Run(NamedTuple):
    """Consecutive frames with one label: `start` is the first, `end` the first after it."""

    label: int
    start: int
    end: int


def window_frames(seconds: float, fps: float) -> int:
    """Length of a window in frames, at least one."""
    return max(1, round(seconds * fps))


class Aggregator:
    """Replaces each frame's label by the mode of a window; of equally frequent ones the smallest.

    Args:
        window: frames L in a window.
        windows: `"noma"`: side by side, all their frames become final with the last of them.
            `"oma"`: the last L frames, without delay. `"ocma"`: L frames around each, final
            when L / 2 more are there; shorter at both ends of the video.

    Raises:
        FoveateError: a window without frames, or an unknown kind.
    """

    def __init__(self, window: int, windows: Windows = "noma") -> None:
        if window < 1:
            raise FoveateError(f"a window of {window} frames is too short; give 1 or more")
        if windows not in ("noma", "oma", "ocma"):
            raise FoveateError(f"unknown windows {windows!r}; there are noma, oma, ocma")
        self.window = window
        self.windows = windows
        self._ahead = window - 1 - window // 2 if windows == "ocma" else 0
        self._labels: list[int] = []
        self._waiting = 0

    def update(self, label: int) -> list[int]:
        """Take the label of the next frame; returns those that became final, oldest first."""
        self._labels.append(label)
        self._waiting += 1
        if self.windows == "noma":
            return self._block() if self._waiting == self.window else []
        del self._labels[: -self.window]
        return [self._oldest()] if self._waiting > self._ahead else []

    def finish(self) -> list[int]:
        """The labels that were still open; the next `update` begins a new video."""
        if self.windows == "noma":
            return self._block()
        rest = []
        while self._waiting:
            # As if one more frame went out of the window, with none coming in.
            if len(self._labels) > self.window // 2 + self._waiting:
                del self._labels[0]
            rest.append(self._oldest())
        self._labels = []
        return rest

    def _block(self) -> list[int]:
        labels = [_mode(self._labels)] * self._waiting if self._waiting else []
        self._labels, self._waiting = [], 0
        return labels

    def _oldest(self) -> int:
        self._waiting -= 1
        return _mode(self._labels)


def aggregate(labels: Iterable[int], window: int, windows: Windows = "noma") -> list[int]:
    """The labels of a whole video after aggregation, one a frame; see `Aggregator`."""
    aggregator = Aggregator(window, windows)
    return [a for label in labels for a in aggregator.update(label)] + aggregator.finish()


def runs(labels: Iterable[int]) -> list[Run]:
    """Consecutive equal labels as one run each."""
    found: list[Run] = []
    for n, label in enumerate(labels):
        if found and found[-1].label == label:
            found[-1] = found[-1]._replace(end=n + 1)
        else:
            found.append(Run(label, n, n + 1))
    return found


def levenshtein_similarity(a: Sequence[int], b: Sequence[int]) -> float:
    """1 - edit distance / length of the longer; 1 for two empty sequences."""
    if len(a) == len(b) == 0:
        return 1.0
    row = list(range(len(b) + 1))
    for n, x in enumerate(a, 1):
        diagonal, row[0] = row[0], n
        for m, y in enumerate(b, 1):
            diagonal, row[m] = row[m], min(row[m] + 1, row[m - 1] + 1, diagonal + (x != y))
    return 1 - row[-1] / max(len(a), len(b))


def _mode(labels: list[int]) -> int:
    return int(np.bincount(labels).argmax())
