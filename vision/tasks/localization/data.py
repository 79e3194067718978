"""Annotated videos as feature tracks, and windows of them to train on."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from math import inf
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

SUFFIXES = (".mp4", ".mkv", ".webm", ".avi", ".mov")


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

    Every entry has `annotations` with float segments and text labels, none where the file gives
    none, and a `subset` as `subset_name` has it, empty where the file gives none.

    Raises:
        FoveateError: the file is missing or of another form, or a segment is none.
    """
    try:
        database = json.loads(path.read_text())["database"].items()
    except OSError:
        raise FoveateError(f"no such annotation file: {path}") from None
    except (ValueError, KeyError, TypeError, AttributeError):
        raise FoveateError(f"{path} is no ActivityNet annotation file") from None
    entries = {}
    for video, entry in database:
        try:
            entries[video] = _entry(entry)
        except (ValueError, KeyError, TypeError, AttributeError) as error:
            reason = f"no {error}" if isinstance(error, KeyError) else str(error)
            raise FoveateError(f"{path}: the entry of {video!r} is unusable: {reason}") from None
    return entries


def _entry(entry: Mapping[str, Any]) -> dict[str, Any]:
    actions = []
    for action in entry.get("annotations") or ():
        start, end = map(float, action["segment"])
        if not -inf < start <= end < inf:
            raise ValueError(f"[{start:g}, {end:g}] is no segment")
        actions.append({**action, "segment": [start, end], "label": str(action["label"])})
    subset = subset_name(entry.get("subset") or "")
    return {**entry, "subset": subset, "annotations": actions}


def subset_name(name: str) -> str:
    """A subset's name as ActivityNet writes it: `Test` is `testing`, `val` is `validation`."""
    short = {"train": "training", "val": "validation", "test": "testing"}
    return short.get(name.lower(), name.lower())


def find_videos(folder: Path, database: Mapping[str, Mapping[str, Any]]) -> dict[str, Path]:
    """The files of annotated videos: `file`, by path or name, or the key, with a suffix or without.

    Raises:
        FoveateError: some are not there.
    """
    found = {video: _find(folder, video, entry) for video, entry in database.items()}
    missing = [video for video, path in found.items() if path is None]
    if missing:
        names = ", ".join(map(repr, missing[:3])) + (", ..." if len(missing) > 3 else "")
        raise FoveateError(f"{folder} lacks {len(missing)} of {len(found)} videos: {names}")
    return {video: path for video, path in found.items() if path is not None}


def _find(folder: Path, video: str, entry: Mapping[str, Any]) -> Path | None:
    names = [video, *(f"{prefix}{video}{s}" for prefix in ("", "v_") for s in SUFFIXES)]
    if file := entry.get("file"):
        names = [str(file), Path(str(file)).name, *names]
    return next((folder / name for name in names if (folder / name).is_file()), None)


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
    for video, path in find_videos(folder, database).items():
        entry = database[video]
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
