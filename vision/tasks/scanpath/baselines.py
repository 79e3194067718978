"""What a model must beat: paths from habits alone, and from saliency by contrast."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import cv2
import numpy as np

from vision.results import Frame
from vision.tasks.scanpath.records import Viewed

QUANTILES = 41


@dataclass(frozen=True)
class Habits:
    """How viewers of the training pictures look anywhere: kept in the weights.

    Args:
        middle: mean x, y as shares of the picture's sides.
        spread: deviations likewise.
        lengths: quantiles of the number of fixations.
        durations: quantiles in ms; empty when nobody recorded them.
    """

    middle: tuple[float, float]
    spread: tuple[float, float]
    lengths: tuple[float, ...]
    durations: tuple[float, ...]

    @classmethod
    def of(cls, viewed: Sequence[Viewed]) -> Habits:
        """Habits of the viewers of some pictures."""
        shares = np.concatenate(
            [path[:, :2] / (one.width, one.height) for one in viewed for path in one.paths]
        )
        times = np.concatenate([path[:, 2] for one in viewed for path in one.paths])
        times = times[~np.isnan(times)]
        lengths = [len(path) for one in viewed for path in one.paths]
        levels = np.linspace(0, 1, QUANTILES)
        middle, spread = shares.mean(0).round(4).tolist(), shares.std(0).round(4).tolist()
        durations = np.quantile(times, levels).round(1).tolist() if len(times) else []
        return cls(
            (middle[0], middle[1]),
            (spread[0], spread[1]),
            tuple(np.quantile(lengths, levels).tolist()),
            tuple(durations),
        )

    def length(self, rng: np.random.Generator) -> int:
        """A number of fixations, at least one."""
        return max(1, round(_quantile(self.lengths, rng.random())))

    def times(self, count: int, rng: np.random.Generator) -> np.ndarray:
        """`(count,)` durations in ms; NaN when nobody recorded any."""
        if not self.durations:
            return np.full(count, np.nan)
        return np.array([_quantile(self.durations, share) for share in rng.random(count)])


def random_path(one: Viewed, habits: Habits, rng: np.random.Generator) -> np.ndarray:
    """Points anywhere on the picture: `(T, 3)` x, y, duration."""
    count = habits.length(rng)
    points = rng.random((count, 2)) * (one.width, one.height)
    return np.column_stack((points, habits.times(count, rng)))


def centre_path(one: Viewed, habits: Habits, rng: np.random.Generator) -> np.ndarray:
    """Points about the picture's middle as the training viewers' were: `(T, 3)`."""
    count = habits.length(rng)
    shares = rng.normal(habits.middle, habits.spread, (count, 2)).clip(0, 0.999)
    return np.column_stack((shares * (one.width, one.height), habits.times(count, rng)))


def target_path(one: Viewed, habits: Habits, rng: np.random.Generator) -> np.ndarray:
    """The picture's middle, then the target's, as if its place were known: `(2, 3)`.

    Raises:
        ValueError: nothing is looked for.
    """
    if one.objects is None or one.target is None:
        raise ValueError(f"picture {one.name!r} has no target")
    points = np.array([[one.width / 2, one.height / 2], one.objects.centres[one.target]])
    return np.column_stack((points, habits.times(2, rng)))


def saliency_path(
    one: Viewed, image: Frame, habits: Habits, rng: np.random.Generator
) -> np.ndarray:
    """The most salient points in turn, each then inhibited (Itti & Koch 2001): `(T, 3)`.

    Saliency is the spectral residual (Hou & Zhang 2007) times the habit of the middle.
    """
    saliency = spectral_residual(image)
    height, width = saliency.shape
    x, y = np.meshgrid((np.arange(width) + 0.5) / width, (np.arange(height) + 0.5) / height)
    bias = -0.5 * (
        ((x - habits.middle[0]) / habits.spread[0]) ** 2
        + ((y - habits.middle[1]) / habits.spread[1]) ** 2
    )
    saliency = saliency * np.exp(bias)
    count = habits.length(rng)
    points = []
    for _ in range(count):
        row, column = np.unravel_index(saliency.argmax(), saliency.shape)
        points.append((x[row, column] * one.width, y[row, column] * one.height))
        near = (x - x[row, column]) ** 2 + (y - y[row, column]) ** 2
        saliency = saliency * (1 - np.exp(-near / (2 * 0.06**2)))
    return np.column_stack((np.array(points), habits.times(count, rng)))


def spectral_residual(image: Frame, side: int = 64) -> np.ndarray:
    """Saliency `(side, side)` of a picture: what its amplitude spectrum has beyond its own mean."""
    grey = cv2.cvtColor(image, cv2.COLOR_RGB2GRAY)
    small = cv2.resize(grey, (side, side), interpolation=cv2.INTER_AREA)
    spectrum = np.fft.fft2(small.astype(np.float64))
    log = np.log(np.abs(spectrum) + 1e-9)
    residual = log - cv2.blur(log, (3, 3))
    back = np.fft.ifft2(np.exp(residual + 1j * np.angle(spectrum)))
    return cv2.GaussianBlur(np.abs(back) ** 2, (0, 0), 2.5)


def _quantile(values: Sequence[float], share: float) -> float:
    return float(np.interp(share, np.linspace(0, 1, len(values)), values))
