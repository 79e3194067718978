"""Depthwise convolution of NHWC maps."""

from typing import Any

from torch import Tensor, nn


class DepthwiseConv(nn.Conv2d):
    """Depthwise convolution (B, H, W, C) -> (B, H, W, C) with zero padding and bias.

    An NHWC map seen as NCHW is in channels-last order, which the convolution takes as it is: no
    copy is made on the way in or out.

    Args:
        dim: channels C.
        kernel: odd side of the kernel.
        **factory: `device` and `dtype`.

    Raises:
        ValueError: the kernel is even, which cannot keep the size.
    """

    def __init__(self, dim: int, kernel: int, **factory: Any) -> None:
        if kernel % 2 == 0:
            raise ValueError(f"kernel must be odd, not {kernel}")
        super().__init__(dim, dim, kernel, padding=kernel // 2, groups=dim, **factory)

    def forward(self, x: Tensor) -> Tensor:
        """Convolve (B, H, W, C)."""
        x = x.permute(0, 3, 1, 2)
        x = self._conv_forward(x, self.weight, self.bias)
        return x.permute(0, 2, 3, 1)
