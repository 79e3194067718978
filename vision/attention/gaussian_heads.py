"""What the forms of Gaussian adaptive attention share: heads and their parameters."""

from typing import Any

import torch
from torch import Tensor, nn

from kernels.gaussian_adaptive import head_sizes

TINY = 1e-12
"""Added to squared scales and to variances, so that a scale of zero has a finite precision."""


class ByHead(nn.Module):
    """What the forms in plain torch share: each head weighs its own places.

    Args:
        axis: the axis along which weights are given.
        count_padding: padded places count as zeros in the statistics and take weights, as
            published.
    """

    def __init__(self, axis: int, count_padding: bool) -> None:
        super().__init__()
        self.axis = axis
        self.count_padding = count_padding

    def forward(self, x: Tensor, mask: Tensor | None = None) -> Tensor:
        parameters = self.parameters_of_heads()
        heads = len(parameters[0])
        if x.shape[self.axis] < heads:
            raise ValueError(f"axis {self.axis} of {tuple(x.shape)} is shorter than {heads} heads")
        exact = x.to(torch.promote_types(x.dtype, torch.float32))
        if mask is not None:
            mask = mask.expand(x.shape)
            if not self.count_padding:
                exact = exact.masked_fill(~mask, 0.0)  # not even NaN has any influence
        sizes = head_sizes(x.shape[self.axis], heads)
        masks = [None] * heads if mask is None else mask.split(sizes, self.axis)
        weights = [
            self.weigh(*head)
            for head in zip(
                exact.split(sizes, self.axis),
                masks,
                *(values.to(exact.dtype) for values in parameters),
                strict=True,
            )
        ]
        result = torch.cat(weights, self.axis).to(x.dtype)
        if mask is None or self.count_padding:
            return result
        return result.masked_fill(~mask, 0.0)

    def parameters_of_heads(self) -> tuple[Tensor, ...]:
        """Whatever `weigh` takes, with the heads as the first axis."""
        raise NotImplementedError

    def weigh(self, x: Tensor, mask: Tensor | None, *parameters: Tensor) -> Tensor:
        """Weights of one head's places, of the shape of x."""
        raise NotImplementedError


def initial_scales(shape: tuple[int, int], init: float | None, factory: dict[str, Any]) -> Tensor:
    """Scales of all Gaussians at the start; see `Product` for None."""
    if init is None:
        return torch.randn(shape, **factory).exp()
    return torch.full(shape, init, **factory)


def column(values: Tensor, x: Tensor) -> Tensor:
    """One value a Gaussian in front of the axes of x: (N,) -> (N, 1, ..., 1)."""
    return values.reshape(-1, *[1] * x.dim())
