"""Connectivity prediction: a cheap low-rank guess at which keys a query will attend to."""

from math import ceil
from typing import Any, NamedTuple

import torch
from torch import Tensor, nn

from kernels.sparse_connectivity import keep_largest

# These depend on sizes, so `torch.fx` must record their calls instead of looking inside.
torch.fx.wrap("block_means")
torch.fx.wrap("resample_tokens")


class Connectivity(NamedTuple):
    """What the predictor found for H heads and N tokens, the class token first.

    Args:
        basis: rows over tokens, (R, N).
        coefficients: of each patch query, (B, H, N - 1, R).
        scores: coefficients @ basis, (B, H, N - 1, N).
        mask: who attends to whom, (B, H, N, N) bool; the class token attends to all.
        budget: keys a patch query may keep.
    """

    basis: Tensor
    coefficients: Tensor
    scores: Tensor
    mask: Tensor
    budget: int

    def sparsity(self) -> dict[str, Tensor]:
        """Share of zeros in basis, coefficients and mask, the class token's dense row included."""
        parts = {"basis": self.basis, "basis_coef": self.coefficients, "attn_mask": self.mask}
        return {name: (x == 0).float().mean() for name, x in parts.items()}


class ConnectivityPredictor(nn.Module):
    """Score all pairs of tokens by a product of rank R and keep the best keys of each query.

    Args:
        dim: channels of all heads together.
        num_heads: attention heads; all share the weights.
        num_tokens: N, the class token included.
        keep_rate: share of the N keys that a query keeps.
        token_reduction: R = N // token_reduction.
        channel_reduction: queries and keys are reduced to dim / num_heads / channel_reduction.
        shared_basis: use the matrix that reduces tokens as the basis, too.
        scale: factor on the reduced dot products; None for num_heads ** -0.5, as published.
        basis_threshold: only larger magnitudes stay in the basis.
        coefficient_topk: coefficients to keep for a query, at most all R, without renormalising;
            None for all above `coefficient_threshold`.
        coefficient_threshold: used without `coefficient_topk`, if above 0.
        score_threshold: keep the keys with larger scores instead of a share of them; a query may
            then be left without any.
        prune_rows: leave queries of dropped tokens without any key.
        **factory: `device` and `dtype`.

    Raises:
        ValueError: `score_threshold` is not positive, or a rate is not in (0, 1].

    Source: Sparsifiner, section 3.2, and its published code (`MaskPredictor`).
    """

    def __init__(
        self,
        dim: int,
        num_heads: int = 8,
        num_tokens: int = 197,
        keep_rate: float = 0.25,
        token_reduction: int = 6,
        channel_reduction: int = 2,
        *,
        shared_basis: bool = False,
        scale: float | None = None,
        basis_threshold: float = 0.02,
        coefficient_topk: int | None = 8,
        coefficient_threshold: float = 0.0,
        score_threshold: float | None = None,
        prune_rows: bool = False,
        **factory: Any,
    ) -> None:
        super().__init__()
        if score_threshold is not None and score_threshold <= 0:
            raise ValueError(f"score_threshold must be positive, not {score_threshold}")
        if not 0 < keep_rate <= 1:
            raise ValueError(f"keep_rate must be in (0, 1], not {keep_rate}")
        width = dim // num_heads
        rank = num_tokens // token_reduction
        if rank < 1:
            raise ValueError(
                f"{num_tokens} tokens are too few for token_reduction {token_reduction}"
            )
        self.keep_rate = keep_rate
        self.scale = num_heads**-0.5 if scale is None else scale
        self.basis_threshold = basis_threshold
        self.coefficient_topk = None if coefficient_topk is None else min(coefficient_topk, rank)
        self.coefficient_threshold = coefficient_threshold
        self.score_threshold = score_threshold
        self.prune_rows = prune_rows
        self.proj_c_q = nn.Linear(width, width // channel_reduction, **factory)
        self.proj_c_k = nn.Linear(width, width // channel_reduction, **factory)
        self.proj_n = nn.Parameter(torch.empty(num_tokens, rank, **factory))
        self.proj_back_n = (
            self.proj_n if shared_basis else nn.Parameter(torch.empty(num_tokens, rank, **factory))
        )
        self.reset_parameters()

    @torch.jit.ignore
    def reset_parameters(self) -> None:
        """Draw all weights from a truncated normal distribution of deviation 0.02."""
        for layer in (self.proj_c_q, self.proj_c_k):
            nn.init.trunc_normal_(layer.weight, std=0.02)
            nn.init.zeros_(layer.bias)
        nn.init.trunc_normal_(self.proj_n, std=0.02)
        nn.init.trunc_normal_(self.proj_back_n, std=0.02)

    @torch.jit.ignore
    def forward(
        self, query: Tensor, key: Tensor, alive: Tensor | None = None, signed: bool = False
    ) -> Connectivity:
        """Predict as published: all tokens stay in place, dropped ones are masked.

        Args:
            query: (B, H, N, d), not scaled.
            key: (B, H, N, d).
            alive: which patch tokens remain, (B, N - 1); as many in every sample. None for all.
            signed: take the basis and the coefficients as they are, without cutting anything off,
                as is done while they learn to reconstruct attention.
        """
        basis = self.proj_back_n.T if signed else self.basis(self.proj_back_n).T
        q, k = self.proj_c_q(query), self.proj_c_k(key)
        tokens, budget = key.shape[2], ceil(self.keep_rate * key.shape[2])
        dead: Tensor | None = None
        if alive is not None:
            # Counted at every call; the published code lowers its budget once and for good.
            budget = min(budget, int(alive[0].sum()))
            dead = nn.functional.pad(alive == 0, (1, 0))
            q, k = (x.masked_fill(dead[:, None, :, None], 0.0) for x in (q, k))
        coefficients = self._coefficients(q[:, :, 1:], k, self.proj_n)
        if not signed:
            coefficients = self.cut_coefficients(coefficients, as_published=True)
        scores = coefficients @ basis
        open_scores = scores.detach()
        if dead is not None:
            open_scores = open_scores.masked_fill(dead[:, None, None], -torch.inf)
        mask = self.connect(open_scores, budget, as_published=True)
        if dead is not None and self.prune_rows:
            mask = mask & ~dead[:, None, 1:, None]
        first = mask.new_ones(*mask.shape[:2], 1, tokens)
        return Connectivity(basis, coefficients, scores, torch.cat([first, mask], 2), budget)

    def matrices(
        self, ids: Tensor | None, grid: list[int] | None, home: list[int] | None
    ) -> tuple[Tensor, Tensor]:
        """What reduces tokens, and the basis, for the class token and the patches that remain.

        Args:
            ids: places of these patches in the whole picture, (B, n); None if all remain.
            grid: rows and columns of patches, where they are not those of `home`.
            home: rows and columns of patches that the predictor was made for.

        Returns:
            Both (1 + n, R), or (B, 1, 1 + n, R) where patches were dropped.
        """
        reduce: Tensor = self.proj_n
        basis: Tensor = self.proj_back_n
        if grid is not None and home is not None:
            reduce, basis = resample_tokens(reduce, grid, home), resample_tokens(basis, grid, home)
        basis = self.basis(basis)
        if ids is not None:
            places = nn.functional.pad(ids + 1, [1, 0])
            reduce, basis = reduce[places].unsqueeze(1), basis[places].unsqueeze(1)
        return reduce, basis

    def score(self, query: Tensor, key: Tensor, reduce: Tensor, basis: Tensor) -> Tensor:
        """Score keys for patch queries where dropped tokens are not there any more.

        Args:
            query: (B, H, Nq, d).
            key: (B, H, Nk, d).
            reduce, basis: of these keys, from `matrices`.

        Returns:
            Scores (B, H, Nq, Nk).
        """
        coefficients = self._coefficients(self.proj_c_q(query), self.proj_c_k(key), reduce)
        return self.cut_coefficients(coefficients) @ basis.transpose(-2, -1)

    def score_blocks(
        self,
        query: Tensor,
        key: Tensor,
        reduce: Tensor,
        basis: Tensor,
        query_block: int,
        key_block: int,
    ) -> Tensor:
        """Score blocks of keys for blocks of queries.

        A block of queries is scored as its mean query; the score of a block of keys is the mean
        of its keys'. Scores being linear in the basis, the basis is averaged instead of them.
        Coefficients are not cut off: summed over a block, few would be zero. Blocks of queries
        being few, all products begin with them.

        Args: as for `score`, and the lengths of the blocks.

        Returns:
            Scores (B, H, ceil(Nq / query_block), ceil(Nk / key_block)).
        """
        mean_query = self.proj_c_q(block_means(query, query_block))
        dots = (mean_query @ self.proj_c_k.weight) @ key.transpose(-2, -1)
        dots = dots + (mean_query @ self.proj_c_k.bias).unsqueeze(-1)
        coefficients = ((dots @ reduce) * self.scale).softmax(-1)
        return coefficients @ block_means(basis, key_block).transpose(-2, -1)

    def basis(self, matrix: Tensor) -> Tensor:
        """Magnitudes of a (N, R) basis, small ones zero."""
        return nn.functional.threshold(matrix.abs(), self.basis_threshold, 0.0)

    def cut_coefficients(self, coefficients: Tensor, as_published: bool = False) -> Tensor:
        """Set small coefficients (B, H, Nq, R) to zero; see `connect` for `as_published`."""
        if self.coefficient_topk is not None:
            return coefficients * _largest(coefficients, self.coefficient_topk, as_published)
        if self.coefficient_threshold > 0:
            return nn.functional.threshold(coefficients, self.coefficient_threshold, 0.0)
        return coefficients

    def connect(self, scores: Tensor, budget: int, as_published: bool = False) -> Tensor:
        """Mask of the keys that each query keeps.

        Args:
            scores: (B, H, Nq, Nk).
            budget: keys to keep without `score_threshold`.
            as_published: of equal scores take those that `torch.topk` happens to, not the first.
                Coefficients of dropped tokens, which stay as zeros in the published form, are all
                equal.
        """
        if self.score_threshold is not None:
            return scores > self.score_threshold
        return _largest(scores, budget, as_published)

    def _coefficients(self, query: Tensor, key: Tensor, reduce: Tensor) -> Tensor:
        """Softmax over R of reduced queries and keys (B, H, N, c): (B, H, Nq, R)."""
        return ((query @ (key.transpose(-2, -1) @ reduce)) * self.scale).softmax(-1)

    @torch.jit.ignore
    def set_grid(self, new: tuple[int, int], old: tuple[int, int]) -> None:
        """Resample both matrices to another grid of patches."""

        def resampled(matrix: nn.Parameter) -> nn.Parameter:
            with torch.no_grad():
                rows = resample_tokens(matrix, list(new), list(old))
            return nn.Parameter(rows, matrix.requires_grad)

        shared = self.proj_back_n is self.proj_n
        self.proj_n = resampled(self.proj_n)
        self.proj_back_n = self.proj_n if shared else resampled(self.proj_back_n)


def _largest(x: Tensor, count: int, as_published: bool) -> Tensor:
    if as_published:
        mask = torch.zeros_like(x, dtype=torch.bool)
        return mask.scatter(-1, x.topk(count, dim=-1).indices, True)
    return keep_largest(x, count)


def resample_tokens(matrix: Tensor, new: list[int], old: list[int]) -> Tensor:
    """Resample the patch rows of (1 + h * w, R) bicubically as a grid; the first row stays."""
    first, rows = matrix[:1], matrix[1:]
    grid = rows.T.unflatten(1, old).unsqueeze(0).float()
    grid = nn.functional.interpolate(grid, new, mode="bicubic", align_corners=False)
    return torch.cat([first, grid[0].flatten(1).T.to(matrix.dtype)])


def block_means(x: Tensor, length: int) -> Tensor:
    """Mean of each block of `length` rows of (..., N, C), the last one possibly short."""
    whole = x.shape[-2] // length
    means = x[..., : whole * length, :].unflatten(-2, [whole, length]).mean(-2)
    if whole * length == x.shape[-2]:
        return means
    rest = x[..., whole * length :, :].mean(-2, keepdim=True)
    return torch.cat([means, rest], -2)
