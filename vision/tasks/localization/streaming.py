"""From features as they come in to actions as soon as they are final, in bounded memory."""

from __future__ import annotations

import math
from collections import deque
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch

from vision.tasks.localization.frames import class_probabilities
from vision.tasks.localization.model import SIGMA, LocalizationModel, suppress
from vision.tasks.localization.results import Action
from vision.tasks.localization.suppression import segment_iou

Row = tuple[float, np.ndarray]
"""Time in seconds of a step and its features `(C,)`."""

SAME = 0.8
"""Overlap from which an action of the same class is one that was said before."""


@dataclass(frozen=True)
class Found:
    """An action in steps since the first, and when it was said."""

    label: int
    start: float
    end: float
    score: float
    said: float

    def action(
        self, labels: Sequence[str], begin: float, rate: float, until: float = math.inf
    ) -> Action:
        """The same in seconds, where the video begins at `begin` and ends at `until`."""
        start, end, said = (
            min(begin + steps / rate, until) for steps in (self.start, self.end, self.said)
        )
        return Action(
            label=labels[self.label],
            start=round(start, 3),
            end=round(end, 3),
            score=round(min(self.score, 1.0), 4),
            delay=round(max(0.0, said - end), 3),
        )


class WindowStream:
    """Looks at the last window again and again, and says what ended long enough ago.

    Args:
        model: a localizer.
        threshold: smallest score of an action.
    """

    def __init__(self, model: LocalizationModel, threshold: float) -> None:
        config, rate = model.config, model.config.features.rate
        self.model, self.threshold = model, threshold
        self.lookahead = round(config.lookahead * rate)
        self.hop = max(1, round(config.hop * rate))
        self.rows: deque[np.ndarray] = deque(maxlen=config.steps)
        self.seen = 0
        self.settled = 0.0
        self.said: list[Found] = []
        self.ongoing: list[Found] = []

    def update(self, row: np.ndarray) -> list[Found]:
        """Take the features of the next step; returns the actions that became final."""
        self.rows.append(row)
        self.seen += 1
        if self.seen % self.hop or self.seen <= self.lookahead:
            return []
        return self._look(self.seen - self.lookahead)

    def finish(self) -> list[Found]:
        """The actions that were not final yet."""
        return self._look(self.seen) if self.rows else []

    def _look(self, settled: float) -> list[Found]:
        """Say the actions that end no later than `settled` and were not said before.

        The slice before the last one that settled is looked at once more, since an end may move a
        little. What still went on at the last look is said however early it turns out to have
        ended.
        """
        first = self.seen - len(self.rows)
        self.said = [f for f in self.said if f.end >= first]
        segments, scores, labels = self.model.candidates(np.stack(self.rows))
        segments, scores, labels = suppress(self._weigh(segments + first, scores, labels))
        actions = [
            Found(int(label), start, end, float(score), self.seen)
            for (start, end), score, label in zip(segments, scores, labels, strict=True)
            if score >= self.threshold
        ]
        due = self.settled - self.hop
        found = [a for a in actions if a.end <= settled and (a.end > due or self._went_on(a))]
        self.ongoing = [a for a in actions if a.end > settled]
        self.settled = settled
        found.sort(key=lambda f: f.end)
        self.said.extend(found)
        return found

    def _went_on(self, action: Found) -> bool:
        """Whether an action of this class that overlaps this one went on at the last look."""
        return any(a.label == action.label and a.start < action.end for a in self.ongoing)

    def _weigh(
        self, segments: np.ndarray, scores: np.ndarray, labels: np.ndarray
    ) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        """Candidates weakened by what was said before, and without what is the same.

        As in suppression, only a surer action weakens a candidate.
        """
        if not self.said or not len(segments):
            return segments, scores, labels
        overlap = segment_iou(segments, [(f.start, f.end) for f in self.said])
        overlap *= labels[:, None] == np.array([f.label for f in self.said])
        fresh = overlap.max(1) < SAME
        overlap *= scores[:, None] <= np.array([f.score for f in self.said])
        scores = scores * np.exp(-np.square(overlap) / SIGMA).prod(1)
        return segments[fresh], scores[fresh], labels[fresh]


class LiveStream:
    """Says an action one step after its end, from the causal per-frame head.

    An action of a class begins when its probability reaches `high` and ends when it falls below
    `low`.

    Args:
        model: a localizer.
        high: probability at which an action begins.
        low: probability below which it ends.
    """

    def __init__(self, model: LocalizationModel, high: float = 0.5, low: float = 0.3) -> None:
        self.model, self.high, self.low = model, high, low
        self.rows: deque[np.ndarray] = deque(maxlen=model.live.reach)
        self.open: dict[int, tuple[int, float]] = {}
        self.seen = 0

    def update(self, row: np.ndarray) -> list[Found]:
        """Take the features of the next step; returns the actions that ended with the last."""
        self.rows.append(row)
        found = []
        for label, chance in enumerate(self._chances()):
            if label in self.open:
                if chance < self.low:
                    found.append(self._close(label))
                else:
                    start, total = self.open[label]
                    self.open[label] = start, total + chance
            elif chance >= self.high:
                self.open[label] = self.seen, chance
        self.seen += 1
        return found

    def finish(self) -> list[Found]:
        """The actions that go on at the end."""
        return [self._close(label) for label in sorted(self.open)]

    def _close(self, label: int) -> Found:
        start, total = self.open.pop(label)
        return Found(label, start, self.seen, total / (self.seen - start), self.seen + 1)

    @torch.inference_mode()
    def _chances(self) -> list[float]:
        x = self.model.normalise(torch.from_numpy(np.stack(self.rows))[None])
        chances: list[float] = class_probabilities(self.model.live(x)[0])[-1].tolist()
        return chances


def run_features(stream: WindowStream | LiveStream, rows: Sequence[np.ndarray]) -> list[Found]:
    """All that a stream says of a whole video's features."""
    found = [f for row in rows for f in stream.update(row)]
    return found + stream.finish()
