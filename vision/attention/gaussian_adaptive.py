"""Gaussian adaptive attention: a gate that weighs values by nearness to the mean of their row."""

from collections.abc import Iterable, Sequence
from typing import Any, Literal, get_args

import torch
from torch import Tensor, nn

from vision.attention.gaussian_density import Density, Gate1d, LogMix
from vision.attention.gaussian_normalised import Mixture, Product
from vision.attention.importance import ImportanceFactor

Form = Literal["product", "mixture", "density", "logmix", "gate1d"]

FORMS: dict[str, type[nn.Module]] = {
    "product": Product,
    "mixture": Mixture,
    "density": Density,
    "logmix": LogMix,
    "gate1d": Gate1d,
}
"""The mechanisms that were published under the one name."""


class GaussianAdaptiveAttention(nn.Module):
    """Multiply values by weights that depend on how near they are to the mean along an axis.

    A gate, not a token mixer: a value's weight depends on the value itself and, through mean and
    variance, on its row. With a row of channels nothing passes from one token to another.

    Args:
        form: what the weights are; five mechanisms were published under the one name.
            `"product"`, `"mixture"`: normalised along the axis; `"density"`: in (0, 1], a Gaussian
            a feature, the one behind the tables of the paper; `"logmix"`: a mean of densities;
            `"gate1d"`: one weight a time step of (B, C, T).
        axis: the axis of a row.
        num_heads: heads, which share out the axis; the last one also takes what is left.
        padding_value: take values equal to it for padding, as published. A mask says it better: a
            real value may be equal by chance. `gate1d` weighs whole steps and takes none.
        drop_remainder: leave out what the heads cannot share out equally, as the first releases
            of `mixture` did. The result is then shorter.
        **options: keywords of the form's class, which `FORMS` names, such as
            `num_gaussians`, `init_scale`, `unit_mean`, `count_padding`, `clamp`, `features`,
            `device`, `dtype`.

    Raises:
        ValueError: the form is unknown, or the options do not fit it.

    Source: Gaussian Adaptive Attention is All You Need (2024), Density Adaptive Attention is All
    You Need, Density Adaptive JEPA (2025).
    """

    def __init__(
        self,
        form: Form = "product",
        axis: int = -1,
        num_heads: int = 1,
        *,
        padding_value: float | None = None,
        drop_remainder: bool = False,
        **options: Any,
    ) -> None:
        super().__init__()
        if form not in get_args(Form):
            raise ValueError(f"form must be one of {', '.join(FORMS)}, not {form!r}")
        if num_heads < 1 or options.get("num_gaussians", 1) < 1:
            raise ValueError("num_heads and num_gaussians must be positive")
        if form == "gate1d" and padding_value is not None:
            raise ValueError("gate1d weighs whole steps: give a mask (B, 1, T), no padding_value")
        self.axis = axis
        self.num_heads = num_heads
        self.padding_value = padding_value
        self.drop_remainder = drop_remainder
        self.weigh = FORMS[form](axis, num_heads, **options)

    def forward(self, x: Tensor, mask: Tensor | None = None) -> Tensor:
        """Weigh values.

        Args:
            x: any shape.
            mask: bool, broadcastable to x, True for real values. Others stay as they are.

        Returns:
            x times its weights, of the shape of x (shorter with `drop_remainder`).
        """
        x, mask = self._prepare(x, mask)
        y = x * self.weigh(x, mask)
        return y if mask is None else torch.where(mask, y, x)

    @torch.jit.ignore
    def attention(self, x: Tensor, mask: Tensor | None = None) -> Tensor:
        """The weights that `forward` multiplies x by, or for `gate1d` the densities in them."""
        x, mask = self._prepare(x, mask)
        return (
            self.weigh.density(x, mask) if isinstance(self.weigh, Gate1d) else self.weigh(x, mask)
        )

    @torch.jit.ignore
    @torch.no_grad()
    def importance_factor(self, batches: Iterable[Tensor]) -> ImportanceFactor:
        """Average the attention over data and stretch it to [0, 1]; see `ImportanceFactor`.

        Args:
            batches: inputs of `forward`, (B, L, D) each.
        """
        return ImportanceFactor.from_maps(self.attention(x) for x in batches)

    def _prepare(self, x: Tensor, mask: Tensor | None) -> tuple[Tensor, Tensor | None]:
        if self.drop_remainder:
            length = x.shape[self.axis]
            length = length - length % self.num_heads
            if mask is not None:
                mask = mask.expand(x.shape).narrow(self.axis, 0, length)
            x = x.narrow(self.axis, 0, length)
        if self.padding_value is not None:
            real = x != self.padding_value
            mask = real if mask is None else mask & real
        return x, mask


class GaussianBlock(nn.Module):
    """Gates in a row, each with a residual path: `x = gate(x) + x`.

    Args:
        axes: axis of each gate.
        num_heads: heads of each.
        num_gaussians: Gaussians of each.
        **options: keywords of `GaussianAdaptiveAttention`.

    Source: the package `gaussian-adaptive-attention`, `GaussianBlock`.
    """

    def __init__(
        self,
        axes: Sequence[int],
        num_heads: Sequence[int],
        num_gaussians: Sequence[int],
        **options: Any,
    ) -> None:
        super().__init__()
        self.layers = nn.ModuleList(
            GaussianAdaptiveAttention(axis=axis, num_heads=heads, num_gaussians=number, **options)
            for axis, heads, number in zip(axes, num_heads, num_gaussians, strict=True)
        )

    def forward(self, x: Tensor) -> Tensor:
        for layer in self.layers:
            x = layer(x) + x
        return x
