"""Full attention over all tokens of a map, with or without LePE."""

from typing import Any, Literal

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from vision.attention.depthwise import DepthwiseConv
from vision.attention.maps import AttentionMaps


class FullAttention(nn.Module):
    """Multi-head self-attention of NHWC maps with a locally-enhanced positional encoding.

    LePE is a depthwise convolution added to what attention returns, before the last projection.
    The published models disagree about its input; `lepe_on` chooses.

    Args:
        dim: channels C.
        num_heads: attention heads; C must be a multiple.
        scale: factor on the dot products; None for (C / num_heads) ** -0.5.
        qkv_bias: give the projection of queries, keys and values a bias.
        lepe_kernel: odd side of LePE's kernel; 0 leaves LePE out.
        lepe_on: `"input"`, what the module is given (BiFormer, BiFormer-STL), or `"value"`, the
            projected values (BiFormer-STL-nchw, CSWin).
        **factory: `device` and `dtype`.

    Source: BiFormer, section 3.3 (last stage); LePE: CSWin Transformer, section 3.3.
    """

    def __init__(
        self,
        dim: int,
        num_heads: int = 8,
        *,
        scale: float | None = None,
        qkv_bias: bool = False,
        lepe_kernel: int = 5,
        lepe_on: Literal["input", "value"] = "input",
        **factory: Any,
    ) -> None:
        super().__init__()
        if dim % num_heads:
            raise ValueError(f"dim {dim} is not a multiple of num_heads {num_heads}")
        if lepe_on not in ("input", "value"):
            raise ValueError(f"lepe_on must be 'input' or 'value', not {lepe_on!r}")
        self.num_heads = num_heads
        self.scale = (dim // num_heads) ** -0.5 if scale is None else scale
        self.lepe_on_value = lepe_on == "value"
        self.qkv = nn.Linear(dim, 3 * dim, bias=qkv_bias, **factory)
        self.lepe = DepthwiseConv(dim, lepe_kernel, **factory) if lepe_kernel else None
        self.proj = nn.Linear(dim, dim, **factory)

    def forward(self, x: Tensor) -> Tensor:
        """Attend over (B, H, W, C)."""
        query, key, value = self._project(x)
        out = F.scaled_dot_product_attention(query, key, value, scale=self.scale)
        out = out.transpose(1, 2).reshape(x.shape)
        if self.lepe is not None:
            source = value.transpose(1, 2).reshape(x.shape) if self.lepe_on_value else x
            out = out + self.lepe(source)
        return self.proj(out)

    @torch.jit.ignore
    def attention_maps(self, x: Tensor) -> AttentionMaps:
        """What `forward` looks at, as a single region that attends to itself."""
        query, key, _ = self._project(x)
        scores = (query * self.scale) @ key.mT
        return AttentionMaps(
            regions=x.new_zeros(x.shape[0], 1, 1, dtype=torch.long),
            weight=x.new_ones(x.shape[0], 1, 1),
            attention=scores.softmax(-1).unsqueeze(1),
            grid=(1, 1),
            region=(x.shape[1], x.shape[2]),
        )

    def _project(self, x: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """Queries, keys and values (B, heads, H * W, C / heads)."""
        qkv = self.qkv(x).flatten(1, 2).unflatten(-1, (3, self.num_heads, -1))
        qkv = qkv.permute(2, 0, 3, 1, 4)
        return qkv[0], qkv[1], qkv[2]
