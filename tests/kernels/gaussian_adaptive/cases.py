"""Random inputs of Gaussian weights for the tests."""

from dataclasses import dataclass
from typing import Any

import torch
from hypothesis import strategies as st
from torch import Tensor


@dataclass(frozen=True)
class Case:
    """One shape of the problem; the defaults are small and odd on purpose."""

    shape: tuple[int, ...] = (2, 11, 3)
    axis: int = 1
    heads: int = 3
    gaussians: int = 2
    masked: bool = False
    unit_mean: bool = False
    count_padding: bool = False
    seed: int = 0

    def make(self, dtype: torch.dtype = torch.float32) -> dict[str, Any]:
        """Arguments of `gaussian_weights`; what can have a gradient requires one."""
        generator = torch.Generator().manual_seed(self.seed)

        def normal(*shape: int) -> Tensor:
            return torch.randn(shape, generator=generator, dtype=torch.float64)

        x = 2.0 * normal(*self.shape) + 1.0
        offsets = 0.3 * normal(self.heads, self.gaussians)
        scales = (0.3 * normal(self.heads, self.gaussians)).exp()
        mask = torch.rand(self.shape, generator=generator) < 0.7
        return {
            "x": x.to(dtype).requires_grad_(),
            "offsets": offsets.to(dtype).requires_grad_(),
            "scales": scales.to(dtype).requires_grad_(),
            "axis": self.axis,
            "mask": mask if self.masked else None,
            "unit_mean": self.unit_mean,
            "count_padding": self.count_padding,
        }


@st.composite
def cases(draw: st.DrawFn) -> Case:
    """Any combination of features; rows of one value and empty batches among them."""
    shape = tuple(draw(st.lists(st.integers(1, 7), min_size=1, max_size=4)))
    axis = draw(st.integers(-len(shape), len(shape) - 1))
    if len(shape) > 1 and axis % len(shape) != 0 and draw(st.integers(0, 9)) == 0:
        shape = (0, *shape[1:])
    return Case(
        shape=shape,
        axis=axis,
        heads=draw(st.integers(1, shape[axis])),
        gaussians=draw(st.integers(1, 4)),
        masked=draw(st.booleans()),
        unit_mean=draw(st.booleans()),
        count_padding=draw(st.booleans()),
        seed=draw(st.integers(0, 1000)),
    )


named = {
    "plain": Case(),
    "channels": Case((2, 4, 12), axis=-1),
    "first axis": Case((9, 4), axis=0, heads=2),
    "map": Case((2, 7, 2, 3), axis=1),
    "rows of one": Case((4, 3), axis=1),
    "unit mean": Case(unit_mean=True),
    "mask": Case(masked=True),
    "mask and unit mean": Case(masked=True, unit_mean=True),
    "counted padding": Case(masked=True, count_padding=True),
    "empty batch": Case((0, 11, 3)),
}


def gradients(out: Tensor, inputs: dict[str, Any]) -> dict[str, Tensor]:
    """Gradients of a fixed random projection of `out`, by argument name."""
    cotangent = torch.randn(out.shape, generator=torch.Generator().manual_seed(1))
    leaves = {n: x for n, x in inputs.items() if isinstance(x, Tensor) and x.requires_grad}
    grads = torch.autograd.grad(out, list(leaves.values()), cotangent.to(out.dtype))
    return dict(zip(leaves, grads, strict=True))
