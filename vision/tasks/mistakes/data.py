"""Clips with their steps, and the windows of them that a recogniser is trained on."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import torch
from pydantic import BaseModel, Field
from torch import Tensor
from torch.utils.data import Dataset

from vision.errors import FoveateError
from vision.tasks.mistakes.encoders import Encoder
from vision.tasks.mistakes.procedure import read_json


@dataclass(frozen=True)
class WindowConfig:
    """Windows that training sees, and how they are varied.

    Args:
        length: frames W in a window; those before the video's first are zeros.
        stride: frames from one window to the next.
        context: frames before the window from which the encoder's state comes.
        reverse: share of clips that are played backwards. What was attached is then detached, so
            that names change as `opposites` says.
        splice: share of windows whose beginning comes from another clip, so that the state of
            the work says nothing of the step.
        opposites: beginnings of class names that change places when a clip is played backwards.
        vary: whether pictures are moved and recoloured.
    """

    length: int = 128
    stride: int = 4
    context: int = 0
    reverse: float = 0.0
    splice: float = 0.0
    opposites: tuple[str, str] | None = None
    vary: bool = False


@dataclass(frozen=True)
class Clip:
    """One annotated video as the recogniser sees it.

    Args:
        id: name of the video.
        looks: `(T, ...)`, what the encoder keeps of each tick.
        labels: `(T,)` class of each tick.
        steps: classes of the steps in order, without background.
        variant: what is made in it; None when not said.
        ends_with_mistake: whether the last step is a mistake.
    """

    id: str
    looks: np.ndarray
    labels: np.ndarray
    steps: tuple[int, ...]
    variant: str | None = None
    ends_with_mistake: bool = False


class ClipEntry(BaseModel):
    """What an annotation file says of one video; what else stands there is passed over."""

    id: str
    segments: tuple[tuple[int, float, float], ...] = Field(
        description="class, first frame, first frame after it"
    )
    labels: tuple[int, ...] = Field(description="classes of the steps in order")
    toy: str | None = None
    ends_with_mistake: bool = False


@dataclass(frozen=True)
class ClipSet:
    """An annotation file: `meta.classes` (id -> name), `meta.fps`, and videos by split."""

    classes: tuple[str, ...]
    fps: float
    splits: dict[str, list[ClipEntry]]

    @classmethod
    def read(cls, path: Path) -> ClipSet:
        """Read an annotation file.

        Raises:
            FoveateError: it is missing, or not of this kind.
        """
        content = read_json(path)
        try:
            meta = content["meta"]
            names = {int(k): str(v) for k, v in meta["classes"].items()}
            classes = tuple(names[n] for n in range(len(names)))
            splits = {
                name: [ClipEntry.model_validate(entry) for entry in entries]
                for name, entries in content.items()
                if name != "meta" and isinstance(entries, list)
            }
            for entry in (e for entries in splits.values() for e in entries):
                for k in (*entry.labels, *(segment[0] for segment in entry.segments)):
                    if k not in names:
                        raise ValueError(f"{entry.id} has class {k}, which meta.classes lacks")
            if not float(meta["fps"]) > 0:
                raise ValueError("meta.fps must be above 0")
            return cls(classes, float(meta["fps"]), splits)
        except (ValueError, KeyError, TypeError, AttributeError) as error:
            reason = " ".join(repr(error).split())[:300]
            raise FoveateError(f"{path} annotates no clips: {reason}") from None

    def clips(self, split: str, videos: Path, encoder: Encoder) -> list[Clip]:
        """The clips of a split, looked at by an encoder.

        Args:
            split: key of the annotation file.
            videos: folder with `<id>.mp4`.
            encoder: looks at the frames at its rate.

        Raises:
            FoveateError: no such split, or a video that is missing or cannot be read.
        """
        if not self.splits.get(split):
            raise FoveateError(f"no clips in {split!r}; there are {', '.join(self.splits)}")
        return [self._clip(entry, videos, encoder) for entry in self.splits[split]]

    def _clip(self, entry: ClipEntry, videos: Path, encoder: Encoder) -> Clip:
        looks, times = encoder.look_at(videos / f"{entry.id}.mp4")
        frames = np.rint((times - times[0]) * self.fps).astype(int)
        labels = np.zeros(len(times), int)
        for label, start, end in entry.segments:
            labels[(start <= frames) & (frames < end)] = label
        return Clip(
            id=entry.id,
            looks=looks,
            labels=labels,
            steps=entry.labels,
            variant=entry.toy,
            ends_with_mistake=entry.ends_with_mistake,
        )


def window_starts(frames: int, stride: int, offset: int = 0) -> range:
    """Where training windows start in a video that has W - 1 zero frames put before it.

    A window that starts at s ends with the real frame s.

    Args:
        frames: real frames of the video.
        stride: frames from one window to the next.
        offset: of the first window; drawn anew from [0, stride) for each video and epoch.
    """
    return range(offset, frames, stride)


def backwards(clip: Clip, opposite: np.ndarray) -> Clip:
    """A clip played from its end, each class replaced by its opposite `(K,)`."""
    labels = opposite[clip.labels[::-1]]
    steps = tuple(int(opposite[k]) for k in reversed(clip.steps))
    return replace(clip, looks=clip.looks[::-1], labels=labels, steps=steps)


def opposite_classes(classes: Sequence[str], pair: tuple[str, str] | None) -> np.ndarray:
    """The class of each class `(K,)` when a clip is played backwards; itself without opposite."""
    index = {name: n for n, name in enumerate(classes)}
    opposite = np.arange(len(classes))
    for one, other in (pair, pair[::-1]) if pair else ():
        for name, n in index.items():
            if name.startswith(one):
                opposite[n] = index.get(other + name.removeprefix(one), n)
    return opposite


class WindowDataset(Dataset[tuple[Tensor, Tensor, Tensor]]):
    """Training windows, each determined by its number and the seed.

    Args:
        clips: where windows come from.
        classes: names of the classes.
        encoder: makes features of looks.
        config: windows and variation.
        count: windows in all; epochs follow one another until there are as many.
        seed: of every random choice.
        anticipation: number L of frames after the window whose classes are given too.
    """

    def __init__(
        self,
        clips: Sequence[Clip],
        classes: Sequence[str],
        encoder: Encoder,
        config: WindowConfig,
        count: int,
        seed: int,
        anticipation: int = 0,
    ) -> None:
        self.clips, self.encoder, self.config = clips, encoder, config
        self.classes, self.seed, self.anticipation = len(classes), seed, anticipation
        opposite = opposite_classes(classes, config.opposites)
        self.reversed = [backwards(clip, opposite) for clip in clips]
        self.ends = _plan([len(clip.labels) for clip in clips], config.stride, count, seed)

    def __len__(self) -> int:
        return len(self.ends)

    def __getitem__(self, number: int) -> tuple[Tensor, Tensor, Tensor]:
        """Features `(W, D)`, targets `(W, K)` and coming targets `(L, K)`; no class is zeros."""
        rng = np.random.default_rng([self.seed, number])
        config = self.config
        which, end = self.ends[number]
        clip = self._played(which, rng)
        reach = config.length + config.context
        looks, labels = clip.looks[: end + 1][-reach:], clip.labels[: end + 1][-reach:]
        if rng.random() < config.splice:
            looks, labels = self._splice(looks, labels, reach, rng)
        if config.vary:
            looks = self.encoder.vary(looks, rng)
        features, _ = self.encoder.encode(looks)
        coming = clip.labels[end + 1 : end + 1 + self.anticipation]
        return (
            _fit(features[-config.length :], config.length, front=True),
            _fit(self._one_hot(labels[-config.length :]), config.length, front=True),
            _fit(self._one_hot(coming), self.anticipation, front=False),
        )

    def _played(self, which: int, rng: np.random.Generator) -> Clip:
        clips = self.reversed if rng.random() < self.config.reverse else self.clips
        return clips[which]

    def _splice(
        self, looks: np.ndarray, labels: np.ndarray, reach: int, rng: np.random.Generator
    ) -> tuple[np.ndarray, np.ndarray]:
        """Put the end of another clip's step before the window's last step or last two."""
        changes = np.flatnonzero(np.diff(labels)) + 1
        if not len(changes):
            return looks, labels
        kept = changes[-min(len(changes), int(rng.integers(1, 3)))]
        other = self._played(int(rng.integers(len(self.clips))), rng)
        stops = np.append(np.flatnonzero(np.diff(other.labels)) + 1, len(other.labels))
        stop = int(rng.choice(stops))
        first = max(0, stop - (reach - (len(labels) - kept)))
        return (
            np.concatenate([other.looks[first:stop], looks[kept:]]),
            np.concatenate([other.labels[first:stop], labels[kept:]]),
        )

    def _one_hot(self, labels: np.ndarray) -> np.ndarray:
        return np.eye(self.classes, dtype=np.float32)[labels]


def _plan(lengths: Sequence[int], stride: int, count: int, seed: int) -> list[tuple[int, int]]:
    """Clip and last frame of each window: epochs in random order, offsets drawn anew in each."""
    plan: list[tuple[int, int]] = []
    while len(plan) < count:
        rng = np.random.default_rng([seed, len(plan)])
        offsets = rng.integers(0, np.minimum(stride, lengths))
        epoch = [
            (which, end)
            for which, (frames, offset) in enumerate(zip(lengths, offsets, strict=True))
            for end in window_starts(frames, stride, int(offset))
        ]
        plan += [epoch[n] for n in rng.permutation(len(epoch))]
    return plan[:count]


def _fit(rows: np.ndarray, length: int, *, front: bool) -> Tensor:
    """Rows `(n, C)` with zeros before or after them, so that there are `length`."""
    missing = length - len(rows)
    return torch.from_numpy(np.pad(rows, ((missing, 0) if front else (0, missing), (0, 0))))
