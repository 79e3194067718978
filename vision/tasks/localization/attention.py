"""Gates that weigh a localizer's features by what the snippets show.

After Sridhar et al., "Class Semantics-based Attention for Action Detection", ICCV 2021 (arXiv
2109.02613). No code was published; this is foveate's reconstruction from the abstract and figures.
"""

from __future__ import annotations

from typing import Literal

import torch
from torch import Tensor, nn

Fusion = Literal["add", "max", "concat"]


class ClassSemanticsAttention(nn.Module):
    """One weight a channel and one a time step, both learned from the snippet features R alone.

    Both weighted copies of the encoder's features F are fused. All gates start at one half, so
    that with `"add"` the block begins as the identity. With F in the place of R it is the
    squeeze-and-excitation control.

    Args:
        source_channels: of R.
        channels: of F.
        reduction: how many times narrower the hidden layers are than R.
        kernel: time steps that a temporal gate sees.
        fusion: `"add"`, `"max"`, or `"concat"` and a convolution.
        max_pool: whether the channel gate sees the maximum over time beside the mean.
    """

    def __init__(
        self,
        source_channels: int,
        channels: int,
        *,
        reduction: int = 16,
        kernel: int = 3,
        fusion: Fusion = "add",
        max_pool: bool = False,
    ) -> None:
        super().__init__()
        hidden = max(1, source_channels // reduction)
        self.channel = nn.Sequential(
            nn.Linear(source_channels, hidden), nn.ReLU(), nn.Linear(hidden, channels)
        )
        self.time = nn.Sequential(
            nn.Conv1d(source_channels, hidden, kernel, padding=kernel // 2),
            nn.ReLU(),
            nn.Conv1d(hidden, 1, 1),
        )
        self.fusion, self.max_pool = fusion, max_pool
        self.fuse = nn.Conv1d(2 * channels, channels, 1) if fusion == "concat" else None
        for last in (self.channel[-1], self.time[-1]):
            for parameter in last.parameters():
                nn.init.zeros_(parameter)
        if self.fuse is not None:
            with torch.no_grad():
                eye = torch.eye(channels)
                self.fuse.weight.copy_(torch.cat([eye, eye], 1)[..., None])
            nn.init.zeros_(self.fuse.get_parameter("bias"))

    def gates(self, source: Tensor) -> tuple[Tensor, Tensor]:
        """Gates in (0, 1) of R `(B, C_r, T)`: of channels `(B, C_f)` and of time `(B, T)`."""
        channel = self.channel(source.mean(2))
        if self.max_pool:
            channel = channel + self.channel(source.amax(2))
        return channel.sigmoid(), self.time(source).sigmoid().squeeze(1)

    def forward(self, features: Tensor, source: Tensor) -> Tensor:
        """Weigh F `(B, C_f, T)` by R `(B, C_r, T)`."""
        channel, time = self.gates(source)
        by_channel = features * channel[:, :, None]
        by_time = features * time[:, None]
        if self.fuse is not None:
            return self.fuse(torch.cat([by_channel, by_time], 1))
        if self.fusion == "max":
            return torch.maximum(by_channel, by_time)
        return by_channel + by_time
