"""GCNeXt: temporal and semantic context of snippets in one block.

Source: Xu et al., "G-TAD: Sub-Graph Localization for Temporal Action Detection", CVPR 2020
(arXiv 1911.11462), section 3.3.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn


def nearest(x: Tensor, k: int) -> Tensor:
    """Indices `(B, T, k)` of the k steps of `(B, C, T)` closest in feature space, itself first."""
    squares = x.square().sum(1)
    closeness = 2 * x.transpose(1, 2) @ x - squares[:, :, None] - squares[:, None]
    return closeness.topk(k, dim=-1).indices


class GCNeXt(nn.Module):
    """Residual block: grouped temporal convolutions plus edge convolutions over near neighbours.

    Args:
        channels: of input and output.
        k: neighbours a step, itself included.
        groups: of the middle convolutions.
        group_width: channels a group.
    """

    def __init__(self, channels: int, k: int = 3, groups: int = 32, group_width: int = 4) -> None:
        super().__init__()
        width = groups * group_width
        self.k = k
        self.tconvs = nn.Sequential(
            nn.Conv1d(channels, width, 1),
            nn.ReLU(),
            nn.Conv1d(width, width, 3, padding=1, groups=groups),
            nn.ReLU(),
            nn.Conv1d(width, channels, 1),
        )
        self.sconvs = nn.Sequential(
            nn.Conv2d(2 * channels, width, 1),
            nn.ReLU(),
            nn.Conv2d(width, width, 1, groups=groups),
            nn.ReLU(),
            nn.Conv2d(width, channels, 1),
        )

    def forward(self, x: Tensor) -> Tensor:
        """`(B, C, T)` to the same shape."""
        indices = nearest(x, self.k)
        batch, channels, steps = x.shape
        spread = indices.reshape(batch, 1, -1).expand(-1, channels, -1)
        neighbours = x.gather(2, spread).view(batch, channels, steps, self.k)
        edges = torch.cat([neighbours, x[..., None].expand_as(neighbours)], 1)
        out: Tensor = self.tconvs(x) + x + self.sconvs(edges).amax(-1)
        return out.relu()
