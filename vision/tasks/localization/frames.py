"""A class for every step, and the runs of steps that make segments."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional as F

from vision.tasks.localization.blocks import LayerNorm

THRESHOLDS = (0.2, 0.3, 0.4, 0.5, 0.6, 0.7)
"""Probabilities above which a run of steps makes a candidate."""

Candidates = tuple[np.ndarray, np.ndarray, np.ndarray]
"""Segments `(N, 2)` in steps, scores `(N,)` and class indices `(N,)`."""


@dataclass(frozen=True)
class FrameHeadConfig:
    """What it takes to rebuild a per-frame head.

    Args:
        width: channels.
        dilations: of its residual convolutions, one each.
        dropout: before each of them.
        input_dropout: of input channels, whole windows long.
    """

    width: int = 64
    dilations: tuple[int, ...] = (1, 2)
    dropout: float = 0.5
    input_dropout: float = 0.0


class FrameHead(nn.Module):
    """Residual convolutions over time that end in class logits.

    Args:
        channels: of the input.
        classes: K; background comes first in the output.
        config: its architecture.
        causal: whether a step sees only itself and what came before.
    """

    def __init__(
        self, channels: int, classes: int, config: FrameHeadConfig, *, causal: bool = False
    ) -> None:
        super().__init__()
        self.causal, self.dilations = causal, config.dilations
        self.reach = 1 + 2 * sum(config.dilations)
        self.drop = nn.Dropout(config.dropout)
        self.input_drop = nn.Dropout1d(config.input_dropout)
        self.embed = nn.Conv1d(channels, config.width, 1)
        self.norms = nn.ModuleList(LayerNorm(config.width) for _ in config.dilations)
        self.convs = nn.ModuleList(
            nn.Conv1d(config.width, config.width, 3, dilation=d) for d in config.dilations
        )
        self.classify = nn.Conv1d(config.width, classes + 1, 1)

    def forward(self, x: Tensor) -> Tensor:
        """`(B, C, T)` to logits `(B, K + 1, T)`."""
        x = self.embed(self.input_drop(x)).relu()
        for norm, conv, before in zip(self.norms, self.convs, self.dilations, strict=True):
            padding = (2 * before, 0) if self.causal else (before, before)
            x = x + self.drop(conv(F.pad(norm(x), padding)).relu())
        logits: Tensor = self.classify(self.drop(x))
        return logits


def runs(probabilities: np.ndarray, thresholds: tuple[float, ...] = THRESHOLDS) -> Candidates:
    """Runs of steps in which a class is likely, at several thresholds, as candidates.

    Args:
        probabilities: `(T, K)` of the classes.
        thresholds: a run for each that it stays above.

    Returns:
        Segments in steps, scores (mean probability in the run) and class indices.
    """
    segments, scores, labels = [], [], []
    for k, row in enumerate(probabilities.T):
        total = np.concatenate([[0.0], np.cumsum(row)])
        for threshold in thresholds:
            inside = np.concatenate([[0], row >= threshold, [0]])
            starts, ends = np.flatnonzero(np.diff(inside) > 0), np.flatnonzero(np.diff(inside) < 0)
            for start, end in zip(starts, ends, strict=True):
                segments.append((start, end))
                scores.append((total[end] - total[start]) / (end - start))
                labels.append(k)
    return (
        np.array(segments, np.float64).reshape(-1, 2),
        np.array(scores, np.float64),
        np.array(labels, np.int64),
    )


def class_probabilities(logits: Tensor) -> np.ndarray:
    """Probabilities `(T, K)` of the classes without background, of logits `(K + 1, T)`."""
    probabilities: np.ndarray = torch.softmax(logits, 0)[1:].T.double().numpy()
    return probabilities
