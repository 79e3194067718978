"""The anticipators by name."""

from __future__ import annotations

from collections.abc import Sequence
from difflib import get_close_matches
from typing import Any

from vision.errors import FoveateError
from vision.tasks.base import resolve
from vision.tasks.mistakes.anticipation.base import Anticipation, Anticipator
from vision.tasks.mistakes.procedure import Example, Procedure

PACKAGE = "vision.tasks.mistakes.anticipation"

ANTICIPATORS = {
    "choice": f"{PACKAGE}.choice:Choice",
    "mixture": f"{PACKAGE}.mixture:Mixture",
    "preconditions": f"{PACKAGE}.memory:Preconditions",
    "one-step": f"{PACKAGE}.memory:OneStep",
    "n-gram": f"{PACKAGE}.memory:NGram",
    "graph": f"{PACKAGE}.graph:LearnedGraph",
    "transformer": f"{PACKAGE}.transformer:SmallTransformer",
    "openai": f"{PACKAGE}.chat:HttpModel",
    "transformers": f"{PACKAGE}.local:LocalModel",
}
"""Name -> class; it is called with a procedure and its own settings as keywords."""

DEFAULT = "choice"
"""What judges steps when nothing else is named: needs no weights and no network."""


def make_anticipator(
    name: str, procedure: Procedure, *, kind: Sequence[str] = (), **settings: Any
) -> Anticipator:
    """Make an anticipator from the examples of a procedure; its threshold comes from them alone.

    Args:
        name: a key of `ANTICIPATORS`.
        procedure: steps and correct executions.
        kind: what is being made, from general to exact, where the examples say theirs.
        settings: keywords of the class, such as `alpha` or, for language models, `model`.

    Raises:
        FoveateError: no such anticipator, or one that cannot be made.
    """
    if name not in ANTICIPATORS:
        near = get_close_matches(name, ANTICIPATORS, n=1)
        hint = f"did you mean {near[0]!r}?" if near else f"there are {', '.join(ANTICIPATORS)}"
        raise FoveateError(f"unknown anticipator {name!r}; {hint}")
    anticipator: Anticipator = resolve(ANTICIPATORS[name])(procedure, **settings)
    return anticipator.of_kind(kind)


def anticipate(
    history: Sequence[str],
    examples: Sequence[Example],
    classes: Sequence[str],
    *,
    by: str = DEFAULT,
    kind: Sequence[str] = (),
    **settings: Any,
) -> Anticipation:
    """Say which step comes next.

    Args:
        history: steps done so far, oldest first.
        examples: correct executions.
        classes: names of all steps.
        by: a key of `ANTICIPATORS`.
        kind: what is being made, from general to exact.
        settings: keywords of that anticipator.

    Returns:
        Steps with probabilities, likeliest first, and the reasons where the anticipator gives any.
    """
    procedure = Procedure(name="examples", examples=tuple(examples), steps=tuple(classes))
    return make_anticipator(by, procedure, kind=kind, **settings).expect(history)
