"""Anticipation: which step is expected next, from examples and the steps done so far.

    anticipator = make_anticipator("choice", load_procedure("tea.json"))
    verdict = judge(anticipator, history=["boil water"], step="drink")

`anticipate(history, examples, classes)` is the one call behind which all of them stand.
"""

from vision.tasks.mistakes.anticipation.base import Anticipation, Anticipator, Judgement, judge
from vision.tasks.mistakes.anticipation.registry import (
    ANTICIPATORS,
    DEFAULT,
    anticipate,
    make_anticipator,
)

__all__ = [
    "ANTICIPATORS",
    "DEFAULT",
    "Anticipation",
    "Anticipator",
    "Judgement",
    "anticipate",
    "judge",
    "make_anticipator",
]
