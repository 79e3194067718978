"""What checking a video against its procedure returns."""

from __future__ import annotations

from pydantic import BaseModel, ConfigDict, Field

from vision.results import Result


class Expected(BaseModel):
    """A step that could come next."""

    model_config = ConfigDict(extra="forbid")

    step: str
    probability: float = Field(ge=0, le=1)


class CheckedStep(Result):
    """A step that was recognised in the video, held against what was expected."""

    step: str = Field(description="what was seen")
    start: float = Field(description="seconds of the source's clock")
    end: float | None = Field(
        default=None, description="seconds; null in events, which are sent while the step goes on"
    )
    said: float = Field(description="when it was known: seconds, `start` and the delay")
    score: float = Field(ge=0, le=1, description="how sure the recogniser is of the step")
    mistake: bool = Field(description="whether the step is flagged")
    surprise: float | None = Field(
        description="how unexpected the step was, flagged above the threshold; null: infinitely"
    )
    expected: list[Expected] = Field(description="the likeliest steps, at most three")
    why: str = Field(description="the reason in one line")


class Checked(Result):
    """A whole video, checked."""

    procedure: str
    weights: str = Field(description="of the recogniser")
    note: str = Field(description="what recogniser and procedure were made from")
    threshold: float = Field(
        description="surprise above which a step is flagged; 0 where two anticipators take turns "
        "(`--fallback`): surprise then counts from the threshold of the one that answered"
    )
    start: float = Field(description="time of the first frame in seconds")
    end: float = Field(description="time of the last frame in seconds")
    steps: list[CheckedStep]

    @property
    def mistakes(self) -> list[CheckedStep]:
        """The steps that are flagged."""
        return [step for step in self.steps if step.mistake]
