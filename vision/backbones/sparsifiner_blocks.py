"""What Sparsifiner is built of: its block, the stem of LV-ViT, and the schedule of its tokens."""

from collections.abc import Sequence
from typing import Any, NamedTuple

import torch
from timm.layers import DropPath, Mlp, PatchEmbed, nchw_to
from timm.layers.format import Format
from torch import Tensor, nn

from vision.attention.sparse_connectivity import AttentionTrace, SparseAttention


class SparsifinerTrace(NamedTuple):
    """What a model did in the published form.

    Args:
        logits: (B, classes). With an auxiliary head and out of training, half the largest
            auxiliary logits over the patches are added.
        features: of patches, (B, N - 1, C) after the last norm, that of a dropped token being the
            norm's bias; with an auxiliary head its logits, (B, N - 1, classes).
        blocks: of each block's attention.
    """

    logits: Tensor
    features: Tensor
    blocks: list[AttentionTrace]


class SparsifinerBlock(nn.Module):
    """Sparse attention and MLP of tokens, each with a residual path.

    Args:
        dim: channels C.
        attention: the attention.
        mlp_ratio: hidden width of the MLP as a multiple of C.
        skip_scale: factor on attention and MLP before they are added.
        drop_path: rate of stochastic depth.
        proj_drop: dropout inside the MLP.
        norm_eps: added to the variance in the norms.
        **factory: `device` and `dtype`.

    Source: Sparsifiner, figure 2; `skip_scale` is one over LV-ViT's `skip_lam`.
    """

    def __init__(
        self,
        dim: int,
        attention: SparseAttention,
        *,
        mlp_ratio: float = 4.0,
        skip_scale: float = 1.0,
        drop_path: float = 0.0,
        proj_drop: float = 0.0,
        norm_eps: float = 1e-6,
        **factory: Any,
    ) -> None:
        super().__init__()
        self.skip_scale = skip_scale
        self.norm1 = nn.LayerNorm(dim, eps=norm_eps, **factory)
        self.attn = attention
        self.norm2 = nn.LayerNorm(dim, eps=norm_eps, **factory)
        self.mlp = Mlp(dim, int(dim * mlp_ratio), drop=proj_drop, **factory)
        self.drop_path = DropPath(drop_path) if drop_path else nn.Identity()

    def forward(
        self,
        x: Tensor,
        ids: Tensor | None = None,
        grid: list[int] | None = None,
        home: list[int] | None = None,
    ) -> tuple[Tensor, Tensor | None]:
        """Arguments as of `SparseAttention.forward`.

        Returns:
            Class token and the patches that stay, (B, 1 + m, C).
            Places of these patches in the whole picture, (B, m); None if all remain.
        """
        attended, stay = self.attn(self.norm1(x), ids, grid, home)
        if stay is not None:  # tokens to be dropped need no MLP
            places = nn.functional.pad(stay + 1, [1, 0])
            x = x.gather(1, places.unsqueeze(-1).expand(-1, -1, x.shape[2]))
            ids = stay if ids is None else ids.gather(1, stay)
        return self._after(x, attended), ids

    @torch.jit.ignore
    def trace(self, x: Tensor, alive: Tensor | None) -> tuple[Tensor, AttentionTrace]:
        """Run as published: dropped tokens are set to zero after the MLP and stay in place."""
        attended, trace = self.attn.trace(self.norm1(x), alive)
        x = self._after(x, attended)
        if trace.alive is not None:
            x = x.masked_fill(nn.functional.pad(~trace.alive, (1, 0)).unsqueeze(-1), 0.0)
        return x, trace

    def _after(self, x: Tensor, attended: Tensor) -> Tensor:
        x = x + self.drop_path(attended) * self.skip_scale
        return x + self.drop_path(self.mlp(self.norm2(x))) * self.skip_scale


def make_block(
    dim: int,
    num_heads: int,
    depth: int,
    *,
    num_tokens: int,
    keep_rates: Sequence[float],
    token_rates: Sequence[float | None],
    attention: dict[str, Any],
    predictor: dict[str, Any],
    skip_scale: float,
    norm_eps: float,
    mlp_ratio: float,
    qkv_bias: bool,
    proj_drop: float,
    drop_path: float,
    device: torch.device | str | None,
    dtype: torch.dtype | None,
    **_: Any,
) -> SparsifinerBlock:
    """Make a block for timm's VisionTransformer, which gives options that are not used, too.

    Args:
        dim, num_heads, mlp_ratio, qkv_bias, proj_drop, drop_path, device, dtype: see the classes.
        depth: which block, from 0.
        num_tokens: see `SparseAttention`.
        keep_rates: share of the keys, of every block.
        token_rates: share of the patches, of every block; see `token_keep_rates`.
        attention: further keywords of `SparseAttention`.
        predictor: further keywords of `ConnectivityPredictor`.
        skip_scale, norm_eps: see `SparsifinerBlock`.
    """
    attn = SparseAttention(
        dim,
        num_heads,
        num_tokens,
        token_keep_rate=token_rates[depth],
        qkv_bias=qkv_bias,
        proj_drop=proj_drop,
        predictor={"keep_rate": keep_rates[depth], **predictor},
        device=device,
        dtype=dtype,
        **attention,
    )
    return SparsifinerBlock(
        dim,
        attn,
        mlp_ratio=mlp_ratio,
        skip_scale=skip_scale,
        drop_path=drop_path,
        proj_drop=proj_drop,
        norm_eps=norm_eps,
        device=device,
        dtype=dtype,
    )


class ConvStem(PatchEmbed):
    """Three convolutions of stride 2 in all, then the projection of patches.

    Source: LV-ViT, section 3.1 (`4_2` in its code).
    """

    def __init__(
        self,
        img_size: int | tuple[int, int] = 224,
        patch_size: int = 16,
        in_chans: int = 3,
        embed_dim: int = 384,
        width: int = 64,
        **options: Any,
    ) -> None:
        super().__init__(img_size, patch_size, width, embed_dim, **options)
        factory: dict[str, Any] = {key: options.get(key) for key in ("device", "dtype")}
        self.conv1 = nn.Conv2d(in_chans, width, 7, 2, 3, bias=False, **factory)
        self.bn1 = nn.BatchNorm2d(width, **factory)
        self.conv2 = nn.Conv2d(width, width, 3, 1, 1, bias=False, **factory)
        self.bn2 = nn.BatchNorm2d(width, **factory)
        self.conv3 = nn.Conv2d(width, width, 3, 1, 1, bias=False, **factory)
        self.bn3 = nn.BatchNorm2d(width, **factory)
        half = patch_size // 2
        self.proj = nn.Conv2d(width, embed_dim, half, half, **factory)

    def forward(self, x: Tensor) -> Tensor:
        """Embed pictures (B, 3, H, W): (B, H / p * W / p, C), or a map in `output_fmt`."""
        if self.strict_img_size:
            height, width = self.img_size
            torch._assert(x.shape[2] == height, f"pictures must be {height} pixels high")
            torch._assert(x.shape[3] == width, f"pictures must be {width} pixels wide")
        if self.dynamic_img_pad:
            below, right = -x.shape[2] % self.patch_size[0], -x.shape[3] % self.patch_size[1]
            x = nn.functional.pad(x, [0, right, 0, below])
        x = self.bn1(self.conv1(x)).relu()
        x = self.bn2(self.conv2(x)).relu()
        x = self.proj(self.bn3(self.conv3(x)).relu())
        if self.flatten:
            return x.flatten(2).transpose(1, 2)
        return nchw_to(x, self.output_fmt) if self.output_fmt != Format.NCHW else x

    @torch.jit.ignore
    def set_input_size(
        self,
        img_size: int | tuple[int, int] | None = None,
        patch_size: int | tuple[int, int] | None = None,
    ) -> None:
        """Change the size of pictures.

        Raises:
            ValueError: a size of patches is given: the stem's cannot change.
        """
        if patch_size is not None:
            raise ValueError("the patches of a convolutional stem cannot change their size")
        super().set_input_size(img_size)


def token_keep_rates(
    rate: float | Sequence[float], prune_at: Sequence[int], depth: int
) -> list[float | None]:
    """Share of all patches that each block leaves over; None where it drops none.

    Args:
        rate: 1 for all; r for r, r^2, r^3, ... at the places of `prune_at`; or the rate of each
            block.
        prune_at: blocks that drop patches.
        depth: how many blocks there are.

    Source: the published code (`token_keep_rate_list`); 0.7 leaves 138, 97 and 68 of 196.
    """
    places = sorted(prune_at)
    if isinstance(rate, Sequence):
        each = each_block(rate, depth, "token_keep_rate")
        return [each[i] if i in places else None for i in range(depth)]
    if rate == 1.0:
        return [None] * depth
    return [rate ** (1 + places.index(i)) if i in places else None for i in range(depth)]


def each_block(value: float | Sequence[float], depth: int, name: str) -> list[float]:
    """One value for each of `depth` blocks."""
    values = list(value) if isinstance(value, Sequence) else [value] * depth
    if len(values) != depth:
        raise ValueError(f"{name} has {len(values)} values for {depth} blocks")
    return values
