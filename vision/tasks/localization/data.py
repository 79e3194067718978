"""Annotated videos as feature tracks, and windows of them to train on."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor
from torch.utils.data import Dataset

from vision.errors import FoveateError
from vision.features import FeatureConfig, FeatureExtractor, mirror, video_features

LEFT_OUT = 0.3
"""Part of an action that a window must hold for it to count there."""


@dataclass(frozen=True)
class Track:
    """Features and truth of one video.

    Args:
        video: its key in the annotations.
        values: `(T, C)` features.
        rate: of the features, in steps a second.
        segments: `(N, 2)` truth in seconds since the first step.
        labels: `(N,)` class indices.
        start: time of the first step on the video's clock.
        group: what it may be joined with: videos of one source and scene.
    """

    video: str
    values: np.ndarray
    rate: float
    segments: np.ndarray
    labels: np.ndarray
    start: float = 0.0
    group: str = ""

    @property
    def steps(self) -> np.ndarray:
        """Truth in steps."""
        return self.segments * self.rate

    def targets(self, background: int = 0) -> np.ndarray:
        """Class of each step, `(T,)`, from 1 on; `background` where there is none."""
        middles = np.arange(len(self.values)) / self.rate
        classes = np.full(len(middles), background)
        for (start, end), label in zip(self.segments, self.labels, strict=True):
            classes[(middles >= start) & (middles < end)] = label + 1
        return classes


def read_annotations(path: Path) -> dict[str, dict[str, Any]]:
    """The `database` of an ActivityNet-style file.

    Raises:
        FoveateError: the file is missing or of another form.
    """
    try:
        content = json.loads(path.read_text())
        database: dict[str, dict[str, Any]] = content["database"]
        for entry in database.values():
            for action in entry["annotations"]:
                start, end = action["segment"]
                float(start), float(end), str(action["label"])
            str(entry["subset"])
    except OSError:
        raise FoveateError(f"no such annotation file: {path}") from None
    except (ValueError, KeyError, TypeError, AttributeError) as error:
        reason = f"{type(error).__name__}: {error}"
        raise FoveateError(f"{path} is no ActivityNet annotation file ({reason})") from None
    return database


def find_video(folder: Path, video: str, entry: Mapping[str, Any]) -> Path:
    """The file of an annotated video: its `file`, by path or name, or its key with a suffix.

    Raises:
        FoveateError: there is none.
    """
    places = [folder / f"{video}{suffix}" for suffix in (".mp4", ".mkv", ".webm", ".avi")]
    if "file" in entry:
        places = [folder / entry["file"], folder / Path(entry["file"]).name, *places]
    for place in places:
        if place.is_file():
            return place
    raise FoveateError(f"no video of {video!r} in {folder}")


def load_tracks(
    database: Mapping[str, Mapping[str, Any]],
    folder: Path,
    labels: Sequence[str],
    extractor: FeatureExtractor,
    cache: Path | None = None,
) -> list[Track]:
    """Features and truth of annotated videos; actions of other labels are left out.

    Args:
        database: the videos.
        folder: where they are.
        labels: classes in order.
        extractor: makes the features, once.
        cache: folder that keeps them; the user's when None.
    """
    tracks = []
    for video, entry in database.items():
        path = find_video(folder, video, entry)
        features = video_features(path, extractor, cache=cache)
        known = [a for a in entry["annotations"] if a["label"] in labels]
        segments = np.array([a["segment"] for a in known], np.float64).reshape(-1, 2)
        tracks.append(
            Track(
                video,
                features.values,
                features.rate,
                segments - features.start,
                np.array([labels.index(a["label"]) for a in known], np.int64),
                features.start,
                str(entry.get("source", "")),
            )
        )
    return tracks


@dataclass(frozen=True)
class AugmentConfig:
    """How windows are taken and varied.

    Args:
        window: seconds of a training window; the model's own when None.
        stretch: slowest and fastest pace relative to the video's.
        mirror: groups of videos that may be mirrored.
        join: chance that a video that ends within a window is followed by another of its group.
    """

    window: float | None = None
    stretch: tuple[float, float] = (0.7, 1.4)
    mirror: tuple[str, ...] = ()
    join: float = 0.5


class Windows(Dataset[tuple[Tensor, ...]]):
    """Random windows of tracks; the same index always gives the same window.

    An item is features `(T, C)`, mask `(T,)`, class of each step `(T,)` with -1 where there is
    none to learn, segments in steps `(N, 2)` and their classes `(N,)`.

    Args:
        tracks: to take them from, in proportion to their length.
        steps: T.
        count: how many there are.
        features: what the tracks hold.
        augment: how they are varied.
        seed: of every choice.
    """

    def __init__(
        self,
        tracks: Sequence[Track],
        steps: int,
        count: int,
        features: FeatureConfig,
        augment: AugmentConfig,
        seed: int,
    ) -> None:
        self.tracks, self.steps, self.count = list(tracks), steps, count
        self.augment, self.seed = augment, seed
        lengths = np.array([len(t.values) for t in tracks], float)
        self.share = lengths / lengths.sum()
        self.mirrored = {
            t.video: mirror(t.values, features) for t in tracks if t.group in augment.mirror
        }

    def __len__(self) -> int:
        return self.count

    def __getitem__(self, index: int) -> tuple[Tensor, ...]:
        rng = np.random.default_rng([self.seed, index])
        channels = self.tracks[0].values.shape[1]
        values = np.zeros((self.steps, channels), np.float32)
        classes = np.full(self.steps, -1)
        segments: list[np.ndarray] = []
        labels: list[np.ndarray] = []
        track = self.tracks[rng.choice(len(self.tracks), p=self.share)]
        place = 0
        while True:
            place += self._put(track, place, values, classes, segments, labels, rng)
            if place >= self.steps or rng.random() >= self.augment.join:
                break
            others = [t for t in self.tracks if t.group == track.group]
            track = others[rng.integers(len(others))]
        return (
            torch.from_numpy(values),
            torch.arange(self.steps) < place,
            torch.from_numpy(classes),
            torch.from_numpy(np.concatenate(segments)).float(),
            torch.from_numpy(np.concatenate(labels)),
        )

    def _put(
        self,
        track: Track,
        place: int,
        values: np.ndarray,
        classes: np.ndarray,
        segments: list[np.ndarray],
        labels: list[np.ndarray],
        rng: np.random.Generator,
    ) -> int:
        """Put a part of a track at a place of a window; returns how many steps it took."""
        room = self.steps - place
        pace = rng.uniform(*self.augment.stretch)
        length = len(track.values)
        # A first video may begin anywhere; one that follows begins with its beginning.
        latest = max(0.0, length - 0.5 * room * pace) if place == 0 else 0.0
        first = rng.uniform(0, latest)
        rows = np.round(first + np.arange(room) * pace).astype(int)
        rows = rows[rows < length]
        source = track.values
        if track.video in self.mirrored and rng.random() < 0.5:
            source = self.mirrored[track.video]
        values[place : place + len(rows)] = source[rows]
        classes[place : place + len(rows)] = track.targets()[rows]
        moved = (track.steps - first) / pace
        cut = moved.clip(0, len(rows))
        kept = np.diff(cut)[:, 0] >= LEFT_OUT * np.diff(moved)[:, 0]
        segments.append(cut[kept] + place)
        labels.append(track.labels[kept])
        return len(rows)


def collate(
    items: Sequence[tuple[Tensor, ...]],
) -> tuple[Tensor, Tensor, Tensor, list[Tensor], list[Tensor]]:
    """Windows as a batch; truth stays a list."""
    values, masks, classes, segments, labels = zip(*items, strict=True)
    return torch.stack(values), torch.stack(masks), torch.stack(classes), [*segments], [*labels]
