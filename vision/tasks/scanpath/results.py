"""What a scanpath predictor returns."""

from __future__ import annotations

from pydantic import BaseModel, ConfigDict, Field

from vision.results import Box, Result


class Fixation(BaseModel):
    """One look at one object."""

    model_config = ConfigDict(extra="forbid")

    x: float = Field(description="pixels of the source frame")
    y: float = Field(description="pixels of the source frame")
    start: float | None = Field(
        description="seconds since the first fixation began; null when the weights know no times"
    )
    duration: float | None = Field(description="seconds; null when the weights know no times")
    object: int = Field(description="index into the result's objects")
    log_probability: float = Field(description="of the object, given the path so far, in nats")
    stop_probability: float = Field(ge=0, le=1, description="of ending instead of this fixation")


class Scanpath(BaseModel):
    """One viewer's way through a picture."""

    model_config = ConfigDict(extra="forbid")

    fixations: list[Fixation]
    log_probability: float = Field(
        description="of all objects and of the end, in nats, at temperature 1"
    )
    ended: bool = Field(description="false when the path was cut at the longest allowed")


class Seen(BaseModel):
    """An object that can be looked at."""

    model_config = ConfigDict(extra="forbid")

    box: Box = Field(description="x1, y1, x2, y2 in pixels of the source frame")
    label: str | None = Field(description="class name, when known")
    target: bool = Field(default=False, description="whether it is what is looked for")


class Scanpaths(Result):
    """Sampled scanpaths over one image."""

    width: int = Field(description="width of the source frame in pixels")
    height: int = Field(description="height of the source frame in pixels")
    target: str | None = Field(description="what is looked for; null for free viewing")
    objects: list[Seen]
    paths: list[Scanpath]
    heat: list[list[float]] = Field(
        description="for each step, the chance of each object to be looked at next"
    )
