"""What anticipators by language models have in common: asking, counting, remembering."""

from __future__ import annotations

import math
from abc import abstractmethod
from collections import Counter, OrderedDict
from collections.abc import Sequence
from textwrap import shorten

from vision.tasks.mistakes.anticipation.base import Anticipation, Anticipator
from vision.tasks.mistakes.anticipation.calibrate import MOST
from vision.tasks.mistakes.anticipation.prompts import (
    Prompter,
    Shots,
    Symbols,
    SymbolTable,
    Template,
)
from vision.tasks.mistakes.procedure import Procedure

REMEMBERED = 256
"""Answers that are kept: a step is judged and explained by one."""

REASONING_TOKENS = 400

REASON_SHOWN = 300
"""Characters of a reason that go into one line."""


class LanguageModel(Anticipator):
    """Draws answers from a language model; a step is expected if any of them names it.

    Args:
        procedure: the examples that go into the prompt.
        symbols: see `SymbolTable`.
        template: see `Prompter`.
        shots: see `Prompter`.
        reason: whether the model thinks first, in a call of its own.
        samples: answers that are drawn.
    """

    threshold = MOST

    def __init__(
        self,
        procedure: Procedure,
        *,
        symbols: Symbols = "alpha",
        template: Template = "default",
        shots: Shots = "same",
        reason: bool = False,
        samples: int = 5,
    ) -> None:
        self.procedure, self.reason, self.samples = procedure, reason, samples
        self.table = SymbolTable(procedure.steps, symbols)
        self.prompter = Prompter(self.table, template, shots)
        self.answers: Counter[str] = Counter()
        self._remembered: OrderedDict[object, Anticipation] = OrderedDict()

    @abstractmethod
    def complete(self, messages: list[dict[str, str]], *, count: int, tokens: int) -> list[str]:
        """Draw `count` answers of at most `tokens` tokens.

        Raises:
            FoveateError: the model is not there, does not answer in time, or answers no text.
        """

    @property
    def asked(self) -> int:
        """Answers drawn so far."""
        return self.answers.total()

    @property
    def unanswered(self) -> int:
        """Those of them that named no step."""
        return self.answers["none"]

    def expect(self, history: Sequence[str]) -> Anticipation:
        """Shares of the answers that name each step; empty where none names any."""
        key = (self.kind, tuple(history))
        if key not in self._remembered:
            if len(self._remembered) >= REMEMBERED:
                self._remembered.popitem(last=False)
            self._remembered[key] = self._ask(history)
        return self._remembered[key]

    def surprise(self, history: Sequence[str], step: str) -> float:
        """-log of the share of answers that name the step; infinite if none does."""
        share = self.expect(history).probability(step)
        return -math.log(share) if share else math.inf

    def explain(self, history: Sequence[str], step: str) -> str:
        """The model's reasons where it gave some, else what it expected."""
        expected = self.expect(history)
        if expected.rationale:
            return shorten(expected.rationale, REASON_SHOWN)
        if not expected.ranked:
            return "the language model named no step"
        return super().explain(history, step)

    def warnings(self) -> list[str]:
        """How often no step was named, if ever."""
        if not self.unanswered:
            return []
        return [f"{self.unanswered} of {self.asked} answers of the language model named no step"]

    def _ask(self, history: Sequence[str]) -> Anticipation:
        messages, reasons = self._conversation(history)
        longest = max(len(text) for text in self.table.written.values())
        drawn = self.complete(messages, count=self.samples, tokens=8 + longest // 2)
        read = [self.table.read(answer) for answer in drawn]
        self.answers.update("step" if step else "none" for step in read)
        return Anticipation.from_scores(Counter(step for step in read if step), reasons)

    def _conversation(self, history: Sequence[str]) -> tuple[list[dict[str, str]], str | None]:
        """What asks for the next step, and the reasons that the model gave before, if it did."""
        about = (self.procedure.examples, history, self.kind)
        if not self.reason:
            return self.prompter.messages(*about), None
        thinking = self.prompter.thinking(*about)
        (reasons,) = self.complete(thinking, count=1, tokens=REASONING_TOKENS)
        return self.prompter.answering(reasons, *about), reasons
