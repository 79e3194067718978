"""Procedures: which steps there are, and how they go when all goes well.

A procedure file is JSON that can be written by hand; `docs/mistakes.md` describes it:

    {
      "name": "tea",
      "examples": [
        ["boil water", "add leaves", "pour", "drink"],
        {"steps": ["add leaves", "boil water", "pour", "drink"], "kind": ["green", "sencha"]}
      ]
    }
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Sequence
from difflib import get_close_matches
from itertools import groupby
from pathlib import Path
from typing import Annotated, Any

from pydantic import (
    BaseModel,
    ConfigDict,
    Field,
    StringConstraints,
    ValidationError,
    ValidationInfo,
    field_validator,
    model_validator,
)

from vision.catalogue import weights_folder
from vision.errors import FoveateError
from vision.writing import write_whole

Step = Annotated[str, StringConstraints(strip_whitespace=True, min_length=1)]
"""Name of a step; spaces around it do not count."""


class Example(BaseModel):
    """The steps of one correct execution; a bare list of steps will do.

    A step that follows itself counts once, as it does where steps are recognised in video.
    """

    model_config = ConfigDict(extra="forbid", frozen=True)

    steps: tuple[Step, ...] = Field(min_length=1, description="names of the steps done, in order")
    id: str = Field(default="", description="where it comes from, such as the name of a video")
    kind: tuple[str, ...] = Field(
        default=(), description="what was made, from general to exact: ['crane', 'model a08']"
    )

    @model_validator(mode="before")
    @classmethod
    def _bare_list(cls, value: Any) -> Any:
        return {"steps": value} if isinstance(value, list | tuple) else value

    @field_validator("steps")
    @classmethod
    def _merged(cls, steps: tuple[str, ...]) -> tuple[str, ...]:
        return merged(steps)


class Trial(BaseModel):
    """The steps of an execution that was watched for mistakes; what evaluations measure on."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    steps: tuple[Step, ...] = Field(min_length=1, description="names of the steps done, in order")
    mistakes: tuple[int, ...] = Field(description="which of them are mistakes, counted from 0")
    id: str = Field(default="", description="where it comes from")
    kind: tuple[str, ...] = Field(default=(), description="what was made, as in the examples")

    @field_validator("mistakes")
    @classmethod
    def _within(cls, mistakes: tuple[int, ...], info: ValidationInfo) -> tuple[int, ...]:
        for place in mistakes:
            if not 0 <= place < len(info.data.get("steps", ())):
                raise ValueError(f"there is no step {place}")
        return mistakes


class Procedure(BaseModel):
    """Correct executions of one procedure, or of variants of it, and the steps there are."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    name: str = Field(min_length=1, description="what users call it")
    note: str = Field(default="", description="source and licence, in words")
    background: tuple[str, ...] = Field(
        default=(), description="classes of a recogniser that are no step, such as 'idle'"
    )
    examples: tuple[Example, ...] = Field(min_length=1, description="correct executions")
    steps: tuple[Step, ...] = Field(
        default=(),
        validate_default=True,
        description="names of all steps; those of the examples where left out",
    )

    trials: tuple[Trial, ...] = Field(default=(), description="executions to measure on")

    @field_validator("steps")
    @classmethod
    def _all_steps(cls, steps: tuple[str, ...], info: ValidationInfo) -> tuple[str, ...]:
        done = dict.fromkeys(s for e in info.data.get("examples", ()) for s in e.steps)
        steps = steps or tuple(done)
        for step in done:
            if step not in steps:
                raise ValueError(f"an example has {step!r}, {_hint(step, steps)}")
        if len(set(steps)) < len(steps):
            twice = next(s for s in steps if steps.count(s) > 1)
            raise ValueError(f"{twice!r} is listed twice")
        return steps

    def part(self, kind: Sequence[str]) -> Procedure:
        """What bears on one kind of thing: examples that share steps with it, however indirectly.

        Recipes that have no step in common with it are left out, toys with the same parts are not.
        The whole procedure where no example is of that kind.
        """
        steps = {s for e in self.examples if set(kind) & set(e.kind) for s in e.steps}
        if not steps:
            return self
        grown = 0
        while grown != len(steps):
            grown = len(steps)
            for example in self.examples:
                if not steps.isdisjoint(example.steps):
                    steps.update(example.steps)
        examples = tuple(e for e in self.examples if not steps.isdisjoint(e.steps))
        known = {s for e in self.examples for s in e.steps}
        return self.model_copy(
            update={
                "examples": examples,
                "steps": tuple(s for s in self.steps if s in steps or s not in known),
            }
        )

    def save(self, path: Path) -> None:
        """Write a procedure file; see `write_whole`."""
        content = self.model_dump(mode="json", exclude_defaults=True)
        write_whole(path, json.dumps(content, indent=1, ensure_ascii=False) + "\n")


def merged(steps: Iterable[str]) -> tuple[str, ...]:
    """Steps without those that repeat the one before."""
    return tuple(step for step, _ in groupby(steps))


def procedure_names() -> list[str]:
    """Names of the shipped procedures."""
    return sorted(path.stem for path in (weights_folder() / "procedures").glob("*.json"))


def load_procedure(name_or_path: str | Path) -> Procedure:
    """Read a procedure by the name of a shipped one, or from a JSON file.

    Raises:
        FoveateError: no such procedure, or a file that is not one; the message names the place.
    """
    name, path = str(name_or_path), Path(name_or_path)
    if name in procedure_names():
        path = weights_folder() / "procedures" / f"{name}.json"
    elif path.suffix != ".json" and not path.is_file():
        raise FoveateError(f"unknown procedure {name!r}, {_hint(name, procedure_names())}")
    return parse_procedure(read_json(path), path)


def parse_procedure(content: Any, source: Path | str) -> Procedure:
    """Check the content of a procedure file.

    Raises:
        FoveateError: it is not one; the message names the source and the place.
    """
    try:
        return Procedure.model_validate(content)
    except ValidationError as error:
        first = error.errors()[0]
        place = ".".join(str(part) for part in first["loc"])
        reason = first["msg"].removeprefix("Value error, ")
        raise FoveateError(f"{source} is no procedure: {place}: {reason}") from None


def read_json(path: Path) -> Any:
    """The content of a JSON file, with or without a byte order mark.

    Raises:
        FoveateError: there is none, or it cannot be read.
    """
    try:
        return json.loads(path.read_text(encoding="utf-8-sig"))
    except OSError as error:
        raise FoveateError(f"cannot read {path}: {error.strerror}") from None
    except (ValueError, RecursionError) as error:
        raise FoveateError(f"{path} is no JSON: {error}") from None


def _hint(name: str, known: Iterable[str]) -> str:
    known = list(known)
    near = get_close_matches(name, known, n=1)
    return f"did you mean {near[0]!r}?" if near else f"there are {', '.join(known)}"
