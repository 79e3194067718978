"""Bi-level routing attention: regions choose regions, then tokens attend to tokens."""

from typing import Any, Literal

import torch
from torch import Tensor, nn

from kernels.bi_level_routing import (
    region_descriptors,
    route,
    routed_attention,
    routed_attention_map,
)
from vision.attention.depthwise import DepthwiseConv
from vision.attention.maps import AttentionMaps
from vision.attention.regions import merge_regions, pad_to, real_tokens, split_regions

# These branch on sizes, so `torch.fx` must record their calls instead of looking inside.
torch.fx.wrap("pad_to")
torch.fx.wrap("real_tokens")


class TopKRouter(nn.Module):
    """Choose for each region the `topk` regions most like it.

    Args:
        dim: channels of the region descriptors.
        topk: regions to choose; all of them where there are fewer.
        scale: factor on the dot products; None for dim ** -0.5.
        learned: map queries and keys by one shared linear layer first. Without `differentiable`
            nothing would train it.
        differentiable: let gradients flow through the weights into the descriptors.
        **factory: `device` and `dtype`.

    Source: BiFormer, section 3.2, equations 3 and 4.
    """

    def __init__(
        self,
        dim: int,
        topk: int,
        *,
        scale: float | None = None,
        learned: bool = False,
        differentiable: bool = False,
        **factory: Any,
    ) -> None:
        super().__init__()
        if learned and not differentiable:
            raise ValueError("a learned router needs differentiable routing to be trained")
        self.topk = topk
        self.scale = dim**-0.5 if scale is None else scale
        self.differentiable = differentiable
        self.emb = nn.Linear(dim, dim, **factory) if learned else None

    def forward(self, query: Tensor, key: Tensor) -> tuple[Tensor, Tensor]:
        """Route descriptors `query` (B, Pq, C) among `key` (B, Pk, C).

        Returns:
            index: chosen regions (B, Pq, k) int64, best first.
            weight: softmax over their k scores, same shape.
        """
        if not self.differentiable:
            query, key = query.detach(), key.detach()
        if self.emb is not None:
            query, key = self.emb(query), self.emb(key)
        index, logits = route(query, key, _at_most(self.topk, key.shape[1]), self.scale)
        return index, logits.softmax(-1)


class BiLevelRoutingAttention(nn.Module):
    """Bi-level routing attention of NHWC maps.

    The map is split into regions; each region attends to the tokens of the `topk` regions whose
    mean keys are most like its mean query. All heads share the routing.

    Two published forms exist and differ where the regions do not divide the map. The defaults are
    the NHWC form, which all released BiFormer-T/S/B weights use. `rounding="down",
    padding="zero"` is the NCHW form. `padding="mask"` is the exact one: a map is treated as if
    nothing lay outside it. Where the regions divide the map all are the same function.

    Args:
        dim: channels C.
        num_heads: attention heads.
        topk: regions that each region attends to.
        regions: regions along each side of the map.
        region_size: side of a region in tokens, instead of `regions`: the cost is then linear in
            the size of the map.
        rounding: how the size of a region follows from `regions`: `"up"`, at most so many regions
            a side, or `"down"`, at least so many.
        padding: what fills the map up to whole regions. `"input"`: zeros before the projection,
            so that padded tokens hold its bias, count in the means and are attended to; with
            rounding up there are exactly `regions` a side, however empty. `"zero"`: zeros after
            the projection, which are attended to but do not count in the means. `"mask"`: they
            are not attended to either.
        qk_dim: channels of queries and keys; None for C.
        scale: factor on the dot products of routing and attention; None for qk_dim ** -0.5, as
            published: the width of all heads together.
        head_scale: scale attention by the width of one head, as other transformers do.
        soft_routing: multiply chosen keys and values by their routing weights.
        diff_routing: let gradients flow through these weights into the routing.
        param_routing: route learned projections of the descriptors; needs `diff_routing`.
        kv_pool: pool the keys and values of a region to `kv_size` a side (`"ada_avgpool"`,
            `"ada_maxpool"`) or in windows of `kv_size` (`"avgpool"`, `"maxpool"`).
        kv_size: see `kv_pool`.
        lepe_kernel: odd side of the depthwise convolution of the values that is added to the
            output (LePE); 0 leaves it out.
        proj: whether a linear layer follows.
        **factory: `device` and `dtype`.

    Raises:
        ValueError: the options do not fit together.

    Source: BiFormer, section 3.2.
    """

    def __init__(
        self,
        dim: int,
        num_heads: int = 8,
        topk: int = 4,
        regions: int = 7,
        *,
        region_size: int | None = None,
        rounding: Literal["up", "down"] = "up",
        padding: Literal["input", "zero", "mask"] = "input",
        qk_dim: int | None = None,
        scale: float | None = None,
        head_scale: bool = False,
        soft_routing: bool = False,
        diff_routing: bool = False,
        param_routing: bool = False,
        kv_pool: str = "identity",
        kv_size: int = 1,
        lepe_kernel: int = 5,
        proj: bool = True,
        **factory: Any,
    ) -> None:
        super().__init__()
        qk_dim = qk_dim or dim
        if dim % num_heads or qk_dim % num_heads:
            raise ValueError(f"dim {dim}, qk_dim {qk_dim}: not multiples of num_heads {num_heads}")
        if rounding not in ("up", "down"):
            raise ValueError(f"rounding must be 'up' or 'down', not {rounding!r}")
        if padding not in ("input", "zero", "mask"):
            raise ValueError(f"padding must be 'input', 'zero' or 'mask', not {padding!r}")
        if diff_routing and not soft_routing:
            raise ValueError("diff_routing needs soft_routing: hard routing has no gradient")
        if padding == "mask" and kv_pool != "identity":
            raise ValueError("pooled keys cannot be masked: leave out kv_pool or padding='mask'")
        self.num_heads = num_heads
        self.regions = regions
        self.region_size = region_size
        self.round_up = rounding == "up"
        self.pad_input = padding == "input"
        self.mask_padding = padding == "mask"
        self.soft_routing = soft_routing
        self.widths = [qk_dim, qk_dim, dim]
        self.router_width = 2 * qk_dim
        scale = qk_dim**-0.5 if scale is None else scale
        self.scale = (qk_dim // num_heads) ** -0.5 if head_scale else scale
        self.qkv = nn.Linear(dim, 2 * qk_dim + dim, **factory)
        self.router = TopKRouter(
            qk_dim,
            topk,
            scale=scale,
            learned=param_routing,
            differentiable=diff_routing,
            **factory,
        )
        self.kv_pool = _pooling(kv_pool, kv_size)
        self.lepe = DepthwiseConv(dim, lepe_kernel, **factory) if lepe_kernel else None
        self.proj = nn.Linear(dim, dim, **factory) if proj else nn.Identity()

    def forward(self, x: Tensor) -> Tensor:
        """Attend over (B, H, W, C)."""
        qkv, real, grid, size = self._project(x)
        index, weight = self._route(qkv, real)
        query, key, value = qkv.split(self.widths, -1)
        out = routed_attention(
            query,
            self._pool(key, size),
            self._pool(value, size),
            index,
            self.num_heads,
            self.scale,
            weight if self.soft_routing else None,
            _key_mask(real, key) if self.mask_padding else None,
        )
        out = merge_regions(out, grid[0], grid[1], size[0], size[1])
        if self.lepe is not None:
            out = out + self.lepe(merge_regions(value, grid[0], grid[1], size[0], size[1]))
        return self.proj(out[:, : x.shape[1], : x.shape[2]])

    @torch.jit.ignore
    def attention_maps(self, x: Tensor) -> AttentionMaps:
        """The routing and the attention probabilities of `forward`."""
        qkv, real, grid, size = self._project(x)
        index, weight = self._route(qkv, real)
        query, key, _ = qkv.split(self.widths, -1)
        attention = routed_attention_map(
            query,
            self._pool(key, size),
            index,
            self.num_heads,
            self.scale,
            weight if self.soft_routing else None,
            _key_mask(real, key) if self.mask_padding else None,
        )
        return AttentionMaps(index, weight, attention, grid, size)

    def _project(self, x: Tensor) -> tuple[Tensor, Tensor | None, tuple[int, int], tuple[int, int]]:
        """Queries, keys and values of each region, real tokens, grid of regions, region size.

        Projecting after the split leaves the keys and values of a region side by side.
        """
        fill_grid = self.pad_input and self.round_up
        rows, height = _axis(x.shape[1], self.regions, self.region_size, self.round_up, fill_grid)
        columns, width = _axis(x.shape[2], self.regions, self.region_size, self.round_up, fill_grid)
        padded = (rows * height, columns * width)
        qkv = self.qkv(split_regions(pad_to(x, padded[0], padded[1]), height, width))
        real = None if self.pad_input else real_tokens(x, height, width, padded)
        return _zero_padding(qkv, real), real, (rows, columns), (height, width)

    def _route(self, qkv: Tensor, real: Tensor | None) -> tuple[Tensor, Tensor]:
        descriptors = _mean_of_real(region_descriptors(qkv[..., : self.router_width]), real)
        query, key = descriptors.chunk(2, -1)
        return self.router(query, key)

    def _pool(self, x: Tensor, size: tuple[int, int]) -> Tensor:
        """Pool keys or values within their regions."""
        if self.kv_pool is None:
            return x
        batch, regions = x.shape[0], x.shape[1]
        x = self.kv_pool(x.unflatten(2, size).flatten(0, 1).permute(0, 3, 1, 2))
        return x.flatten(2).transpose(1, 2).unflatten(0, (batch, regions))


def _pooling(mode: str, size: int) -> nn.Module | None:
    poolings: dict[str, type[nn.Module]] = {
        "ada_avgpool": nn.AdaptiveAvgPool2d,
        "ada_maxpool": nn.AdaptiveMaxPool2d,
        "avgpool": nn.AvgPool2d,
        "maxpool": nn.MaxPool2d,
    }
    if mode == "identity":
        return None
    if mode not in poolings:
        raise ValueError(
            f"kv_pool must be 'identity' or one of {', '.join(poolings)}, not {mode!r}"
        )
    return poolings[mode](size)


@torch.fx.wrap
def _at_most(topk: int, regions: int) -> int:
    return min(topk, regions)


@torch.fx.wrap
def _axis(
    length: int, regions: int, region_size: int | None, round_up: bool, fill_grid: bool
) -> tuple[int, int]:
    """Along one side of a map: how many regions, and how long each."""
    if region_size is not None:
        size = min(region_size, length)
    elif round_up:
        size = (length + regions - 1) // regions
    else:
        size = max(length // regions, 1)
    if fill_grid and region_size is None:
        return regions, size
    return (length + size - 1) // size, size


@torch.fx.wrap
def _zero_padding(x: Tensor, real: Tensor | None) -> Tensor:
    """Set padded tokens of (B, P, L, C) to zero."""
    return x if real is None else x * real.unsqueeze(-1)


@torch.fx.wrap
def _mean_of_real(mean: Tensor, real: Tensor | None) -> Tensor:
    """Turn means over L tokens, the padded ones zero, into means over the real ones."""
    return mean if real is None else mean / region_descriptors(real.unsqueeze(-1).to(mean.dtype))


@torch.fx.wrap
def _key_mask(real: Tensor | None, key: Tensor) -> Tensor | None:
    """Give the real tokens (1, P, L) the batch size of the keys."""
    return None if real is None else real.expand(key.shape[0], -1, -1)
