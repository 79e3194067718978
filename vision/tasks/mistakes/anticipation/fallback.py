"""Going on with another anticipator where a language model fails."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Self

from vision.errors import FoveateError
from vision.tasks.mistakes.anticipation.base import Anticipation, Anticipator


class Fallback(Anticipator):
    """Asks the first anticipator, and the second where the first fails or predicts nothing.

    Surprise is measured from the threshold of whichever answered, so this one's threshold is 0.

    Args:
        first: what is asked.
        second: what answers instead.
    """

    threshold = 0.0

    def __init__(self, first: Anticipator, second: Anticipator) -> None:
        self.first, self.second = first, second
        self.failures: list[str] = []

    def of_kind(self, kind: Sequence[str]) -> Self:
        """Both of them for one kind; failures stay in one list."""
        other = super().of_kind(kind)
        other.first, other.second = self.first.of_kind(kind), self.second.of_kind(kind)
        return other

    def expect(self, history: Sequence[str]) -> Anticipation:
        """What the one that answers expects."""
        return self._answering(history).expect(history)

    def surprise(self, history: Sequence[str], step: str) -> float:
        """Surprise of the one that answers, less its threshold."""
        chosen = self._answering(history)
        return chosen.surprise(history, step) - chosen.threshold

    def explain(self, history: Sequence[str], step: str) -> str:
        """The reason of the one that answers."""
        return self._answering(history).explain(history, step)

    def warnings(self) -> list[str]:
        """Why the second answered, and what the first has to say."""
        return [*(f"{f}; went on without it" for f in self.failures), *self.first.warnings()]

    def _answering(self, history: Sequence[str]) -> Anticipator:
        if not self.failures:  # what failed once is not waited for at every step
            try:
                if self.first.expect(history).ranked:
                    return self.first
            except FoveateError as error:
                self.failures.append(str(error))
        return self.second
