"""What a captioner returns."""

from __future__ import annotations

from typing import Any

import numpy as np
from pydantic import BaseModel, ConfigDict, Field

from vision.results import Box, Result


class CaptionRegion(BaseModel):
    """A box that the captioner could look at."""

    model_config = ConfigDict(extra="forbid")

    label: str | None = Field(description="class name, when a detector or the user gave one")
    score: float = Field(ge=0, le=1, description="how sure the label is")
    box: Box = Field(description="x1, y1, x2, y2 in pixels of the source frame")


class Phrase(BaseModel):
    """Words of a caption that name a thing, and where it was seen."""

    model_config = ConfigDict(extra="forbid")

    start: int = Field(description="first character in the caption")
    end: int = Field(description="first character after it")
    text: str = Field(description="the characters")
    label: str = Field(description="class that the words name")
    region: int | None = Field(description="number of the region; None when there are none")
    box: Box | None = Field(description="its box: x1, y1, x2, y2 in pixels of the source frame")
    mass: float = Field(
        ge=0, le=1, description="attention to this region and those that cover it by half"
    )
    attention: list[float] = Field(description="attention to each region; sums to 1")


class Caption(Result):
    """A caption of one image, and the boxes of what it names."""

    width: int = Field(description="width of the source frame in pixels")
    height: int = Field(description="height of the source frame in pixels")
    caption: str
    score: float = Field(description="mean log-probability of its words, in nats")
    phrases: list[Phrase]
    regions: list[CaptionRegion]

    def attention_map(self, phrase: Phrase, rows: int = 32, columns: int = 32) -> np.ndarray:
        """Where a phrase was looked for.

        Args:
            phrase: one of `phrases`.
            rows: of the map.
            columns: likewise.

        Returns:
            `(rows, columns)` float32 in [0, 1]: the attention of the regions that cover each cell,
            over the largest.
        """
        heat = np.zeros((rows, columns), np.float32)
        for region, weight in zip(self.regions, phrase.attention, strict=True):
            x1, y1, x2, y2 = region.box
            left, right = (round(x / self.width * columns) for x in (x1, x2))
            top, bottom = (round(y / self.height * rows) for y in (y1, y2))
            heat[top : max(bottom, top + 1), left : max(right, left + 1)] += weight
        return heat / max(float(heat.max()), 1e-12)

    def to_coco(self, image_id: int | str) -> dict[str, Any]:
        """Convert to an entry of a COCO caption results file."""
        return {"image_id": image_id, "caption": self.caption}
