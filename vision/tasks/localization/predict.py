"""The localizer that users call: frames of a video in, actions out as soon as they are final."""

from __future__ import annotations

import math
from collections import deque
from collections.abc import Sequence
from typing import Self

from vision.catalogue import Weights, open_weights
from vision.devices import pick_device
from vision.errors import FoveateError
from vision.features import FeatureExtractor, FeatureStream, Ticks
from vision.results import Frame
from vision.tasks.localization.model import LocalizationModel, LocalizerConfig
from vision.tasks.localization.results import Action, Actions
from vision.tasks.localization.streaming import Found, LiveStream, WindowStream


class Localizer:
    """Finds actions in a video while it plays: `begin`, then `update` again and again, `finish`.

    Args:
        model: a trained localizer.
        labels: class names in the model's order.
        extractor: makes the features that the model was trained on.
        threshold: score below which nothing is returned unless `begin` says otherwise.
    """

    def __init__(
        self,
        model: LocalizationModel,
        labels: Sequence[str],
        extractor: FeatureExtractor,
        *,
        threshold: float = 0.3,
    ) -> None:
        self.model = model.eval()
        self.labels = list(labels)
        self.extractor = extractor
        self.threshold = threshold
        self.begin()

    @classmethod
    def from_weights(
        cls, weights: str | None = None, *, device: str | None = None, half: bool = False
    ) -> Self:
        """Load shipped weights by name, or a file of the same kind by path.

        Args:
            weights: name in the catalogue or path of a `.safetensors` file; the default of the
                task when None.
            device: where features are made; the best there is when None.
            half: whether features are made in bfloat16.

        Raises:
            FoveateError: no such weights, not a localizer's, or no such device.
        """
        model, labels, loaded = load_model(weights)
        extractor = FeatureExtractor(model.config.features, str(pick_device(device)), half=half)
        return cls(model, labels, extractor, threshold=float(loaded.metadata.get("threshold", 0.3)))

    def begin(
        self, *, threshold: float | None = None, rate: float | None = None, live: bool = False
    ) -> None:
        """Begin a new video.

        Args:
            threshold: smallest score in [0, 1]; the weights' own when None.
            rate: frames a second to look at; the weights' own, which is also the most, when None.
                With fewer, what was seen holds until the next.
            live: say an action right after its end, from the causal per-frame head.

        Raises:
            FoveateError: a threshold that is no score, or a rate of zero or less.
        """
        least = self.threshold if threshold is None else threshold
        own = self.extractor.config.rate
        if not 0 <= least <= 1:
            raise FoveateError(f"threshold {least:g} is no score; give 0 to 1")
        if rate is not None and not rate > 0:
            raise FoveateError(f"rate {rate:g} looks at no frame; give up to {own:g} a second")
        self._looks = Ticks(own if rate is None else min(rate, own))
        self._features = FeatureStream(self.extractor)
        self._stream: WindowStream | LiveStream = (
            LiveStream(self.model, high=max(least, 1e-3), low=0.6 * max(least, 1e-3))
            if live
            else WindowStream(self.model, least)
        )
        self._actions: list[Action] = []
        self._times: deque[float] = deque(maxlen=2)

    def update(self, frames: Sequence[Frame], times: Sequence[float]) -> list[Action]:
        """Take the next frames.

        Args:
            frames: `(H, W, 3)` uint8 RGB each.
            times: of the frames, in seconds, increasing.

        Returns:
            The actions that became final.
        """
        self._times.extend(times)
        chosen = [
            (frame, time)
            for frame, time in zip(frames, times, strict=True)
            if self._looks.take(time)
        ]
        if not chosen:
            return []
        rows = self._features.update([f for f, _ in chosen], [t for _, t in chosen])
        return self._said([f for _, row in rows for f in self._stream.update(row)])

    def finish(self) -> Actions:
        """All actions of the video, none of which ends after the last frame does."""
        # Nothing tells how long the last frame lasts: as long as the one before it.
        end = 2 * self._times[-1] - self._times[0] if self._times else 0.0
        self._said(self._stream.finish(), end)
        result = Actions(
            start=round(self._features.ticks.start or 0.0, 3),
            end=round(end, 3),
            labels=self.labels,
            actions=sorted(self._actions, key=lambda a: (a.start, a.end, a.label)),
        )
        self.begin()
        return result

    def _said(self, found: Sequence[Found], until: float = math.inf) -> list[Action]:
        begin = self._features.ticks.start or 0.0
        rate = self.extractor.config.rate
        actions = [f.action(self.labels, begin, rate, until) for f in found]
        self._actions += actions
        return actions


def load_model(weights: str | None) -> tuple[LocalizationModel, list[str], Weights]:
    """A trained localizer, its class names, and the weights file it came from.

    Raises:
        FoveateError: no such weights, or not a localizer's.
    """
    loaded = open_weights(weights, task="localization")
    config = loaded.config(LocalizerConfig)
    labels: list[str] = loaded.metadata["labels"]
    if "mean" not in loaded.tensors:
        raise FoveateError(f"weights {loaded.name!r} do not fit their model: they have no mean")
    model = LocalizationModel(config, len(labels), len(loaded.tensors["mean"]))
    loaded.fill(model)
    return model.eval(), labels, loaded
