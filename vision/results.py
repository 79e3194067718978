"""What predictors return: plain records that validate, serialise and document themselves."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Self

import numpy as np
from pydantic import BaseModel, ConfigDict, Field

if TYPE_CHECKING:
    import supervision

Frame = np.ndarray
"""An image: `(H, W, 3)` uint8, RGB."""

Box = tuple[float, float, float, float]


class Result(BaseModel):
    """Base of every task's result for one frame or one video."""

    model_config = ConfigDict(extra="forbid")

    def to_dict(self) -> dict[str, Any]:
        """The result as JSON-ready Python values."""
        return self.model_dump(mode="json")


class Detection(BaseModel):
    """One detected object."""

    model_config = ConfigDict(extra="forbid")

    label: str = Field(description="class name")
    category: int = Field(description="category id of the training annotations")
    score: float = Field(ge=0, le=1)
    box: Box = Field(description="x1, y1, x2, y2 in pixels of the source frame")
    track: int | None = Field(default=None, description="identity across frames, when tracked")


class Detections(Result):
    """Objects found in one image, best score first."""

    width: int = Field(description="width of the source frame in pixels")
    height: int = Field(description="height of the source frame in pixels")
    objects: list[Detection]

    def to_supervision(self) -> supervision.Detections:
        """Convert to `supervision.Detections` (N boxes; `class_name` in its data)."""
        import supervision

        tracks = [d.track for d in self.objects]
        tracked = any(t is not None for t in tracks)
        return supervision.Detections(
            xyxy=np.array([d.box for d in self.objects], dtype=np.float32).reshape(-1, 4),
            confidence=np.array([d.score for d in self.objects], dtype=np.float32),
            class_id=np.array([d.category for d in self.objects], dtype=int),
            tracker_id=np.array([-1 if t is None else t for t in tracks]) if tracked else None,
            data={"class_name": np.array([d.label for d in self.objects], dtype=object)},
        )

    def to_coco(self, image_id: int) -> list[dict[str, Any]]:
        """Convert to entries of a COCO results file (boxes as x, y, width, height)."""
        return [
            {
                "image_id": image_id,
                "category_id": d.category,
                "bbox": [d.box[0], d.box[1], d.box[2] - d.box[0], d.box[3] - d.box[1]],
                "score": d.score,
            }
            for d in self.objects
        ]

    def with_tracks(self, tracks: list[int | None]) -> Self:
        """A copy whose objects carry these identities, in the order of `objects`."""
        objects = [
            d.model_copy(update={"track": t}) for d, t in zip(self.objects, tracks, strict=True)
        ]
        return self.model_copy(update={"objects": objects})
