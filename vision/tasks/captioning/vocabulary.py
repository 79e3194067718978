"""Words as numbers, and the words that name things."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterable, Sequence

from vision.tasks.captioning.model import END

UNKNOWN = "UNK"
"""What stands for every word that is not in the vocabulary."""

FUNCTION_WORDS = frozenset(
    {"a", "an", "and", "are", "as", "at", "by", "for", "from", "his", "her", "in", "is", "it"}
    | {"its", "next", "of", "on", "onto", "or", "some", "that", "the", "their", "them", "there"}
    | {"this", "to", "two", "three", "up", "very", "was", "while", "with"}
)
"""Words that a caption may well say twice."""

TOKEN = re.compile(r"[a-z0-9]+(?:'[a-z]+)?")


def tokenise(caption: str) -> list[str]:
    """Lower-cased runs of letters and digits, with an apostrophe and what follows it."""
    return TOKEN.findall(caption.lower())


class Vocabulary:
    """Words by number: 0 ends a caption, the last number stands for unknown words.

    Args:
        words: without the two.
    """

    def __init__(self, words: Sequence[str]) -> None:
        self.words = list(words)
        self._numbers = {word: i for i, word in enumerate(self.words, 1)}

    @classmethod
    def count(cls, captions: Iterable[Sequence[str]], least: int) -> Vocabulary:
        """The words that occur at least `least` times, most frequent first."""
        seen = Counter(word for caption in captions for word in caption)
        ranked = sorted(seen.items(), key=lambda item: (-item[1], item[0]))
        return cls([word for word, times in ranked if times >= least])

    def __len__(self) -> int:
        return len(self.words) + 2

    @property
    def unknown(self) -> int:
        """Number of what stands for unknown words."""
        return len(self.words) + 1

    def once(self) -> list[bool]:
        """Which numbers a caption should hold once at most: all but those of function words."""
        return [False, *(word not in FUNCTION_WORDS for word in self.words), True]

    def encode(self, tokens: Sequence[str], length: int) -> list[int]:
        """`length` numbers: the tokens', cut at `length`, then zeros."""
        numbers = [self._numbers.get(token, self.unknown) for token in tokens[:length]]
        return numbers + [END] * (length - len(numbers))

    def decode(self, numbers: Iterable[int]) -> list[str]:
        """The words of numbers, up to the first 0."""
        words = []
        for number in numbers:
            if number == END:
                break
            words.append(UNKNOWN if number == self.unknown else self.words[number - 1])
        return words
