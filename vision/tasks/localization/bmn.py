"""The boundary-matching network: boundaries at every step, confidence of every proposal.

Source: Lin et al., "BMN: Boundary-Matching Network for Temporal Action Proposal Generation",
ICCV 2019 (arXiv 1907.09702), section 3.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal, NamedTuple

from torch import Tensor, nn

from vision.tasks.localization.attention import ClassSemanticsAttention, Fusion
from vision.tasks.localization.matching import BoundaryMatching, Layout, ProposalMap


@dataclass(frozen=True)
class BMNConfig:
    """What it takes to rebuild a BMN.

    Args:
        channels: C of the input features; a multiple of 4.
        steps: T, time steps of a window.
        layout: of the proposal map (see `ProposalMap`).
        durations: rows of a `"duration_start"` map; T when None.
        samples: N, bins a proposal.
        subsamples: points that are averaged in a bin.
        ratio: widening of a proposal on either side.
        hidden: channels of the encoder and of the boundary branches; a multiple of 4.
        reduced: channels that are sampled for proposals; 128 in the paper, 256 in most code,
            `hidden` when None.
        hidden_3d: channels after the bins are folded.
        hidden_2d: channels of the map's convolutions.
        gate: what weighs the encoder's output: nothing (plain BMN), `"csa"` by the input
            features, `"se"` by itself.
        gate_at: where: `"base"`, after the encoder; `"proposals"`, before the proposal branch
            alone; or `"both"`.
        fusion: how the gate joins its two copies.
        reduction: of the gate's hidden layers.
    """

    channels: int = 400
    steps: int = 100
    layout: Layout = "duration_start"
    durations: int | None = None
    samples: int = 32
    subsamples: int = 3
    ratio: float = 0.5
    hidden: int = 256
    reduced: int | None = None
    hidden_3d: int = 512
    hidden_2d: int = 128
    gate: Literal["csa", "se"] | None = None
    gate_at: Literal["base", "proposals", "both"] = "base"
    fusion: Fusion = "add"
    reduction: int = 16


class BMNOutput(NamedTuple):
    """Logits: of starts and ends `(B, T)`, and of regressed IoU and classified completeness of
    every proposal `(B, rows, columns)`."""

    start: Tensor
    end: Tensor
    iou: Tensor
    complete: Tensor

    def probabilities(self) -> BMNOutput:
        """The same through a sigmoid."""
        return BMNOutput(*(x.sigmoid() for x in self))


class BMN(nn.Module):
    """Boundary-matching network, plain or with class-semantics attention.

    Args:
        config: its architecture.
    """

    def __init__(self, config: BMNConfig) -> None:
        super().__init__()
        c, hidden = config, config.hidden
        self.config = config
        self.cells = ProposalMap(c.steps, c.layout, c.durations)
        self.base = nn.Sequential(
            nn.Conv1d(c.channels, hidden, 3, padding=1, groups=4),
            nn.ReLU(),
            nn.Conv1d(hidden, hidden, 3, padding=1, groups=4),
            nn.ReLU(),
        )
        self.start, self.end = self._boundary(hidden), self._boundary(hidden)
        reduced = c.reduced or hidden
        self.reduce = nn.Sequential(nn.Conv1d(hidden, reduced, 3, padding=1), nn.ReLU())
        self.match = BoundaryMatching(self.cells, c.samples, c.subsamples, c.ratio)
        self.fold = nn.Sequential(
            nn.Conv3d(reduced, c.hidden_3d, (c.samples, 1, 1), stride=(c.samples, 1, 1)), nn.ReLU()
        )
        self.confidence = nn.Sequential(
            nn.Conv2d(c.hidden_3d, c.hidden_2d, 1),
            nn.ReLU(),
            nn.Conv2d(c.hidden_2d, c.hidden_2d, 3, padding=1),
            nn.ReLU(),
            nn.Conv2d(c.hidden_2d, c.hidden_2d, 3, padding=1),
            nn.ReLU(),
            nn.Conv2d(c.hidden_2d, 2, 1),
        )
        places = () if c.gate is None else ("base", "proposals")
        self.gates = nn.ModuleDict(
            {
                place: ClassSemanticsAttention(
                    c.channels if c.gate == "csa" else hidden,
                    hidden,
                    fusion=c.fusion,
                    reduction=c.reduction,
                )
                for place in places
                if c.gate_at in (place, "both")
            }
        )

    @staticmethod
    def _boundary(hidden: int) -> nn.Sequential:
        return nn.Sequential(
            nn.Conv1d(hidden, hidden, 3, padding=1, groups=4), nn.ReLU(), nn.Conv1d(hidden, 1, 1)
        )

    def forward(self, features: Tensor) -> BMNOutput:
        """Logits of a batch of windows `(B, C, T)`."""
        encoded = self._gate("base", self.base(features), features)
        matched = self.match_features(self._gate("proposals", encoded, features))
        maps = self.confidence(self.fold(matched).squeeze(2))
        return BMNOutput(
            self.start(encoded).squeeze(1), self.end(encoded).squeeze(1), maps[:, 0], maps[:, 1]
        )

    def match_features(self, encoded: Tensor) -> Tensor:
        """Sampled features `(B, P, N, rows, columns)` of encoded ones `(B, H, T)`."""
        matched: Tensor = self.match(self.reduce(encoded))
        return matched

    def _gate(self, place: str, encoded: Tensor, features: Tensor) -> Tensor:
        if place not in self.gates:
            return encoded
        gated: Tensor = self.gates[place](
            encoded, features if self.config.gate == "csa" else encoded
        )
        return gated
