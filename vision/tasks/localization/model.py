"""Localizers: a per-frame head, and where wished a multi-scale or a boundary-matching one."""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from typing import Literal, NamedTuple

import numpy as np
import torch
from torch import Tensor, nn

from vision.features import FeatureConfig
from vision.tasks.localization.anchor_free import AnchorFree, AnchorFreeConfig, LevelOutput
from vision.tasks.localization.bmn import BMN, BMNConfig, BMNOutput
from vision.tasks.localization.frames import (
    Candidates,
    FrameHead,
    FrameHeadConfig,
    class_probabilities,
    runs,
)
from vision.tasks.localization.points import decode, level_points
from vision.tasks.localization.proposals import proposals_duration_start, proposals_start_end
from vision.tasks.localization.suppression import batched_nms

SIGMA = 0.3
"""Width of soft suppression, as THUMOS results have it."""

TOP_CLASSES = 2
"""Classes that a proposal without one is tried with, as THUMOS and ActivityNet results are."""


@dataclass(frozen=True)
class LocalizerConfig:
    """What it takes to rebuild a localizer.

    Args:
        head: what makes segments: `"frames"` (runs of a per-frame class), `"points"` (the
            multi-scale head) or `"bmn"` (proposals, classified by the per-frame head).
        window: seconds that are looked at together.
        lookahead: seconds after an action's end that must have been seen before it is final.
        hop: seconds between two looks.
        features: what goes in.
        frames: the per-frame head, whole and causal.
        points: the multi-scale head; `channels`, `classes` and `max_steps` follow from the rest.
        bmn: the boundary-matching network; `channels` and `steps` likewise.
    """

    head: Literal["frames", "points", "bmn"] = "points"
    window: float = 25.6
    lookahead: float = 2.0
    hop: float = 1.0
    features: FeatureConfig = field(default_factory=FeatureConfig)
    frames: FrameHeadConfig = field(default_factory=FrameHeadConfig)
    points: AnchorFreeConfig = field(default_factory=AnchorFreeConfig)
    bmn: BMNConfig = field(default_factory=BMNConfig)

    @property
    def steps(self) -> int:
        """Steps of a window."""
        return round(self.window * self.features.rate)


class LocalizerOutput(NamedTuple):
    """Logits of the per-frame head and of its causal twin, `(B, K + 1, T)` each with background
    first, and what the other head says."""

    frames: Tensor
    live: Tensor
    proposals: list[LevelOutput] | BMNOutput | None


class LocalizationModel(nn.Module):
    """Features of a window to classes and segments.

    Args:
        config: its architecture.
        classes: K.
        channels: C of the features.
    """

    mean: Tensor
    std: Tensor

    def __init__(self, config: LocalizerConfig, classes: int, channels: int) -> None:
        super().__init__()
        self.config = config
        self.register_buffer("mean", torch.zeros(channels))
        self.register_buffer("std", torch.ones(channels))
        self.frames = FrameHead(channels, classes, config.frames)
        self.live = FrameHead(channels, classes, config.frames, causal=True)
        self.proposals: nn.Module | None = None
        if config.head == "points":
            self.proposals = AnchorFree(
                replace(config.points, channels=channels, classes=classes, max_steps=config.steps)
            )
        elif config.head == "bmn":
            padded = -(-channels // 4) * 4  # its convolutions have four groups
            self.proposals = BMN(replace(config.bmn, channels=padded, steps=config.steps))

    def normalise(self, features: Tensor) -> Tensor:
        """Features `(B, T, C)` as `(B, C, T)` of zero mean and unit deviation in training."""
        return ((features - self.mean) / self.std).transpose(1, 2)

    def forward(self, features: Tensor, mask: Tensor) -> LocalizerOutput:
        """What a batch of windows `(B, T, C)` shows; `mask` `(B, T)` says which steps are there."""
        x = self.normalise(features) * mask[:, None]
        proposals = None
        if isinstance(self.proposals, AnchorFree):
            proposals = self.proposals(x, mask)
        elif isinstance(self.proposals, BMN):
            more = self.proposals.config.channels - x.shape[1]
            proposals = self.proposals(nn.functional.pad(x, (0, 0, 0, more)))
        return LocalizerOutput(self.frames(x), self.live(x), proposals)

    @torch.inference_mode()
    def candidates(self, features: np.ndarray) -> Candidates:
        """Candidates of one window of features `(T, C)`, before suppression."""
        count = len(features)
        padded = np.zeros((self.config.steps, features.shape[1]), np.float32)
        padded[:count] = features
        mask = torch.arange(self.config.steps)[None] < count
        if self.config.head == "frames":
            padded, mask = padded[:count], mask[:, :count]
        output = self(torch.from_numpy(padded)[None], mask)
        likely = class_probabilities(output.frames[0, :, :count])
        if isinstance(output.proposals, BMNOutput):
            return self._proposed(output.proposals, likely)
        if isinstance(output.proposals, list):
            return self._pointed(output.proposals, likely)
        return runs(likely)

    @torch.inference_mode()
    def step_classes(self, features: np.ndarray) -> np.ndarray:
        """Class of each step of features `(T, C)` by the per-frame head; 0 is background."""
        logits = self.frames(self.normalise(torch.from_numpy(features)[None]))
        return logits[0].argmax(0).numpy()

    def _pointed(self, levels: list[LevelOutput], likely: np.ndarray) -> Candidates:
        """Segments of the multi-scale head."""
        assert isinstance(self.proposals, AnchorFree)
        points = level_points(self.proposals.config, [x.logits.shape[1] for x in levels])
        ((segments, scores, labels),) = decode(levels, points, threshold=1e-2, topk=200)
        segments = segments.clamp(0, len(likely))
        return segments.double().numpy(), scores.double().numpy(), labels.numpy()

    def _proposed(self, output: BMNOutput, likely: np.ndarray) -> Candidates:
        """Proposals with the likeliest classes of the per-frame head in them."""
        assert isinstance(self.proposals, BMN)
        start, end, iou, complete = (x[0].numpy() for x in output.probabilities())
        layout = self.proposals.config.layout
        propose = proposals_start_end if layout == "start_end" else proposals_duration_start
        # whole snippets and as many seconds as steps: the result is in steps
        steps = self.config.steps
        segments, scores = propose(start, end, complete, iou, frames=16, seconds=steps)
        segments = segments.clip(0, len(likely))
        total = np.concatenate([np.zeros((1, likely.shape[1])), likely.cumsum(0)])
        bounds = segments.round().astype(int)
        long = bounds[:, 1] > bounds[:, 0]
        segments, scores, bounds = segments[long], scores[long], bounds[long]
        mean = (total[bounds[:, 1]] - total[bounds[:, 0]]) / np.diff(bounds)
        best = mean.argsort(1)[:, ::-1][:, :TOP_CLASSES]
        weighed = scores[:, None] * np.take_along_axis(mean, best, 1)
        count = best.shape[1]
        return segments.repeat(count, 0), weighed.ravel(), best.ravel()


def suppress(candidates: Candidates, keep: int = 200) -> Candidates:
    """Soft suppression of a window's or video's candidates, each class among itself."""
    segments, scores, labels = batched_nms(*candidates, sigma=SIGMA, min_score=1e-3, keep=keep)
    return segments.astype(np.float64), scores.astype(np.float64), labels
