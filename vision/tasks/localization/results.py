"""What a localizer returns."""

from __future__ import annotations

from typing import Any

from pydantic import Field

from vision.results import Result


class Action(Result):
    """One action; while a video plays, the event that says that it is over."""

    label: str = Field(description="class name")
    start: float = Field(description="seconds of the source's clock")
    end: float = Field(description="seconds of the source's clock")
    score: float = Field(ge=0, le=1)
    delay: float = Field(ge=0, description="seconds of video from its end until it was final")


class Actions(Result):
    """The actions of a video, in order of their start."""

    start: float = Field(description="time of the first frame, in seconds of the source's clock")
    end: float = Field(description="time at which the last frame ends")
    labels: list[str] = Field(description="all classes that the localizer knows")
    actions: list[Action]

    def to_activitynet(self) -> list[dict[str, Any]]:
        """Convert to a video's entry in an ActivityNet result file, best score first."""
        ranked = sorted(self.actions, key=lambda a: -a.score)
        return [{"segment": [a.start, a.end], "label": a.label, "score": a.score} for a in ranked]
