"""Features of boxes: what a backbone's map holds in each."""

from __future__ import annotations

from torch import Tensor
from torchvision.ops import roi_align


def average_in_boxes(
    plane: Tensor, boxes: Tensor, size: tuple[float, float], cells: int = 1
) -> Tensor:
    """Average a map in boxes (RoIAlign, two by two samples a cell).

    Args:
        plane: `(C, h, w)`, covering the picture.
        boxes: `(N, 4)` xyxy, where the map is.
        size: width and height of the picture in the unit of the boxes: `(1, 1)` for shares.
        cells: cells a side into which a box is cut.

    Returns:
        `(N, C)` float32.
    """
    rows, columns = plane.shape[1:]
    scale = boxes.new_tensor([columns / size[0], rows / size[1]] * 2)
    pooled = roi_align(plane[None].float(), [boxes * scale], cells, sampling_ratio=2, aligned=True)
    return pooled.mean((2, 3))
