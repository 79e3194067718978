"""Attention over the keys that a learned predictor connects to each query."""

from math import ceil, log
from typing import Any, Literal, NamedTuple, get_args

import torch
from torch import Tensor, nn
from torch.nn.functional import scaled_dot_product_attention

from kernels.sparse_connectivity import block_attention, masked_softmax, sparse_attention
from vision.attention.connectivity import (
    Connectivity,
    ConnectivityPredictor,
)

Mode = Literal["csr", "block", "published", "dense"]

# These depend on sizes, so `torch.fx` must record their calls instead of looking inside.
torch.fx.wrap("block_attention")


class AttentionTrace(NamedTuple):
    """What one attention did in the published form, for N tokens, the class token first.

    Args:
        connectivity: what the predictor found; None in mode `"dense"`.
        masked: attention over the kept pairs, (B, H, N, N); dense while reconstructing.
        full: attention over all pairs.
        alive: patch tokens that remain after this block, (B, N - 1) bool; None before any pruning.
    """

    connectivity: Connectivity | None
    masked: Tensor
    full: Tensor
    alive: Tensor | None


class SparseAttention(nn.Module):
    """Self-attention of a class token and patches, each query over a learned subset of keys.

    Its modes: `"csr"` computes what was published, exactly, but only for the kept
    pairs, and dropped tokens leave the sequence. `"block"` chooses whole blocks of keys for whole
    blocks of queries, which is coarser, and fast. `"published"` computes all pairs and masks them,
    and dropped tokens stay as zeros. `"dense"` has no predictor: each query attends to all keys, as
    in the model that one begins with.

    In training the modes `"csr"` and `"block"` let the task's gradient reach the predictor,
    straight through the cut; published, it never does.

    Args:
        dim: channels.
        num_heads: attention heads.
        num_tokens: N, the class token included.
        token_keep_rate: share of all patch tokens to keep here, by the attention of the class
            token; None to keep those that are there.
        qkv_bias: whether queries, keys and values have a bias.
        mode: see above.
        query_block: queries in a block, for `"block"`.
        key_block: keys in a block.
        proj_drop: dropout of the output.
        predictor: keywords of `ConnectivityPredictor`.
        **factory: `device` and `dtype`.

    Raises:
        ValueError: the options do not fit together.

    Source: Sparsifiner, section 3, and its published code.
    """

    def __init__(
        self,
        dim: int,
        num_heads: int,
        num_tokens: int,
        *,
        token_keep_rate: float | None = None,
        qkv_bias: bool = True,
        mode: Mode = "csr",
        query_block: int = 128,
        key_block: int = 32,
        proj_drop: float = 0.0,
        predictor: dict[str, Any] | None = None,
        **factory: Any,
    ) -> None:
        super().__init__()
        if dim % num_heads:
            raise ValueError(f"dim {dim} is not a multiple of num_heads {num_heads}")
        if mode not in get_args(Mode):
            raise ValueError(f"mode must be one of {', '.join(get_args(Mode))}, not {mode!r}")
        if token_keep_rate is not None and not 0 < token_keep_rate <= 1:
            raise ValueError(f"token_keep_rate must be in (0, 1], not {token_keep_rate}")
        self.num_heads = num_heads
        self.scale = (dim // num_heads) ** -0.5
        self.token_keep_rate = token_keep_rate
        self.mode = mode
        self.by_blocks = mode == "block"
        self.query_block, self.key_block = query_block, key_block
        self.reconstruct = False
        self.qkv = nn.Linear(dim, 3 * dim, bias=qkv_bias, **factory)
        self.num_tokens = num_tokens
        self.mask_predictor = (
            None
            if mode == "dense"
            else ConnectivityPredictor(dim, num_heads, num_tokens, **(predictor or {}), **factory)
        )
        self.proj = nn.Linear(dim, dim, **factory)
        self.proj_drop = nn.Dropout(proj_drop)

    def forward(
        self,
        x: Tensor,
        ids: Tensor | None = None,
        grid: list[int] | None = None,
        home: list[int] | None = None,
    ) -> tuple[Tensor, Tensor | None]:
        """Attend, and drop tokens if this is a place for it.

        Args:
            x: class token and remaining patches, (B, 1 + n, C).
            ids: places of these patches in the whole picture, (B, n) ascending; None if all remain.
            grid: rows and columns of patches, where they are not those of `home`.
            home: rows and columns of patches that the predictor was made for.

        Returns:
            Outputs for the class token and the patches that stay, (B, 1 + m, C).
            Which of the n patches stay, (B, m) ascending; None for all.
        """
        query, key, value = self._heads(x)
        total = self.num_tokens if grid is None else grid[0] * grid[1] + 1
        first, received = _class_attention(query, key, value, self.scale, total)
        stay: Tensor | None = None
        query = query[:, :, 1:]
        if self.token_keep_rate is not None:
            stay = _best_tokens(received, self.token_keep_rate, total)
            query = query.gather(
                2, stay[:, None, :, None].expand(-1, self.num_heads, -1, query.shape[3])
            )
        out = self._patches(query, key, value, total, ids, grid, home)
        out = torch.cat([first, out], 2).transpose(1, 2).flatten(2)
        return self.proj_drop(self.proj(out)), stay

    def _patches(
        self,
        query: Tensor,
        key: Tensor,
        value: Tensor,
        total: int,
        ids: Tensor | None,
        grid: list[int] | None,
        home: list[int] | None,
    ) -> Tensor:
        """Outputs for patch queries, (B, H, n, d)."""
        if self.mask_predictor is None:
            return scaled_dot_product_attention(query, key, value, scale=self.scale)
        reduce, basis = self.mask_predictor.matrices(ids, grid, home)
        if self.by_blocks:
            scores = self.mask_predictor.score_blocks(
                query, key, reduce, basis, self.query_block, self.key_block
            )
            best, index = scores.topk(_block_budget(self.mask_predictor.keep_rate, scores), dim=-1)
            weight: Tensor | None = None
            if self.training:
                weight = 1.0 + best - best.detach()  # one, but for its gradient
            return block_attention(
                query, key, value, index, self.scale, self.query_block, self.key_block, weight
            )
        scores = self.mask_predictor.score(query, key, reduce, basis)
        budget = _budget(self.mask_predictor.keep_rate, total, key, ids is not None)
        mask = self.mask_predictor.connect(scores.detach(), budget)
        bias: Tensor | None = None
        if self.training:
            bias = scores - scores.detach()  # zero, but for its gradient
        return sparse_attention(query, key, value, mask, self.scale, bias)

    @torch.jit.ignore
    def trace(self, x: Tensor, alive: Tensor | None = None) -> tuple[Tensor, AttentionTrace]:
        """Attend in the published form, whatever the mode.

        Args:
            x: (B, N, C).
            alive: patch tokens that remain, (B, N - 1) bool; None for all.

        Returns:
            Outputs (B, N, C), and what led to them.
        """
        query, key, value = self._heads(x)
        if alive is not None:
            dead = nn.functional.pad(~alive, (1, 0))[:, None, :, None]
            query, key, value = (t.masked_fill(dead, 0.0) for t in (query, key, value))
        dense = self.training and self.reconstruct
        logits = (query * self.scale) @ key.transpose(-2, -1)
        full = masked = logits.softmax(-1)
        connectivity: Connectivity | None = None
        if self.mask_predictor is not None:
            connectivity = self.mask_predictor(query, key, alive, signed=dense)
            masked = full if dense else masked_softmax(logits, connectivity.mask)
        if self.token_keep_rate is not None and not self.reconstruct:
            received = masked[:, :, 0, 1:].mean(1)
            if alive is not None:
                received = received.masked_fill(~alive, -torch.inf)
            best = _best_tokens(received, self.token_keep_rate, x.shape[1])
            alive = torch.zeros_like(received, dtype=torch.bool).scatter(1, best, True)
        out = (masked @ value).transpose(1, 2).flatten(2)
        trace = AttentionTrace(connectivity, masked, full, alive)
        return self.proj_drop(self.proj(out)), trace

    @torch.jit.ignore
    def set_grid(self, new: tuple[int, int], old: tuple[int, int]) -> None:
        """Fit what belongs to places to another grid of patches."""
        self.num_tokens = new[0] * new[1] + 1
        if self.mask_predictor is not None:
            self.mask_predictor.set_grid(new, old)

    def _heads(self, x: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """Queries, keys and values, (B, H, N, d) each."""
        qkv = self.qkv(x).unflatten(-1, [3, self.num_heads, -1]).permute(2, 0, 3, 1, 4)
        query, key, value = qkv.unbind(0)
        return query, key, value


@torch.fx.wrap
def _class_attention(
    query: Tensor, key: Tensor, value: Tensor, scale: float, total: int
) -> tuple[Tensor, Tensor]:
    """Attention of the class token, the first query, to all tokens.

    Published, dropped tokens stay as zero keys and values, to which the class token gives weight:
    exp(0) each. One key of logit log(dropped) and value zero takes as much.

    Returns:
        Output (B, H, 1, d), and attention that each patch received, mean over heads (B, n).
    """
    logits = (query[:, :, :1] * scale) @ key.transpose(-2, -1)
    tokens = key.shape[2]
    if total > tokens:
        logits = nn.functional.pad(logits, [0, 1], value=log(total - tokens))
    attention = logits.softmax(-1)[..., :tokens]
    return attention @ value, attention[:, :, 0, 1:].mean(1)


@torch.fx.wrap
def _best_tokens(received: Tensor, rate: float, total: int) -> Tensor:
    """The patches that received most attention, a share of all there were: (B, m) ascending."""
    keep = ceil(rate * (total - 1))
    return received.topk(keep, dim=1).indices.sort(1).values


@torch.fx.wrap
def _budget(rate: float, total: int, key: Tensor, pruned: bool) -> int:
    """Keys that a query keeps: a share of all tokens, at most the patches that remain."""
    budget = ceil(rate * total)
    return min(budget, key.shape[2] - 1) if pruned else budget


@torch.fx.wrap
def _block_budget(rate: float, scores: Tensor) -> int:
    """Blocks of keys that a block of queries keeps."""
    return ceil(rate * scores.shape[-1])
