"""A language model on this machine, by transformers: it scores every step, it does not guess."""

from __future__ import annotations

import math
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import torch

from vision.errors import FoveateError
from vision.tasks.mistakes.anticipation.base import Anticipation
from vision.tasks.mistakes.anticipation.calibrate import leave_out_threshold
from vision.tasks.mistakes.anticipation.language import LanguageModel
from vision.tasks.mistakes.anticipation.reader import load_reader
from vision.tasks.mistakes.procedure import Procedure

CALIBRATION_FOLDS = 5


class LocalModel(LanguageModel):
    """The likelihood of the words of each step gives the distribution over all of them.

    A step is flagged when it is less likely than by chance among all steps, or, with `alpha`,
    beyond the threshold of executions left out of the prompt, which takes as many runs as the
    examples have steps.

    Args:
        procedure: the examples.
        llm: folder of a model, or a GGUF file.
        alpha: share of correct steps that may be flagged.
        style: keywords of `LanguageModel`.

    Raises:
        FoveateError: no such model, or transformers is not installed.
    """

    def __init__(
        self,
        procedure: Procedure,
        *,
        llm: str | None = None,
        alpha: float | None = None,
        **style: Any,
    ) -> None:
        super().__init__(procedure, **style)
        if llm is None:
            raise FoveateError("name the model by --llm: a folder or a GGUF file")
        self.reader = load_reader(Path(llm))
        self.threshold = math.log(len(procedure.steps))
        if alpha is not None:
            self.threshold = leave_out_threshold(
                procedure,
                lambda rest: LocalModel(rest, llm=llm, **style),
                alpha,
                folds=CALIBRATION_FOLDS,
            )

    def complete(self, messages: list[dict[str, str]], *, count: int, tokens: int) -> list[str]:
        """The likeliest continuation; `count` times the same."""
        return [self.reader.answer(messages, tokens)] * count

    def _ask(self, history: Sequence[str]) -> Anticipation:
        messages, reasons = self._conversation(history)
        steps = list(self.table.written)
        scores = self.reader.score(messages, [self.table.written[s] for s in steps])
        chances = torch.tensor(scores, dtype=torch.float64).softmax(0).tolist()
        return Anticipation.from_scores(dict(zip(steps, chances, strict=True)), reasons)
