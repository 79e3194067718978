"""Prompts that ask a language model for the next step, and the reading of its answers.

The forms of PREGO (three ways of writing steps, four of wording a prompt) and the system prompt
and the two calls of TI-PREGO.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Literal, get_args

from vision.errors import FoveateError
from vision.tasks.mistakes.procedure import Example

Symbols = Literal["num", "alpha", "emoji"]
Template = Literal["default", "unreferenced", "elaborate", "no-context", "toy"]
Shots = Literal["same", "class", "all", "none"]

SYSTEM = (
    "You are given sequences of actions. From the patterns in them, predict the next action of "
    "the last sequence. Answer with that action alone, written as actions are in the sequences."
)

THINK = (
    "Analyse the actions of the last sequence one by one. For each of them say what its immediate "
    "effect is and what its long-term consequence; do so for every action. Look for patterns and "
    "causal relations between them and the other sequences. Go step by step."
)

EMOJI = [
    chr(c) for c in (*range(0x1F400, 0x1F4FD), *range(0x1F300, 0x1F321), *range(0x1F680, 0x1F6C0))
]
POINTER = "\N{WHITE RIGHT POINTING BACKHAND INDEX}"


@dataclass(frozen=True)
class Words:
    """The lines of a block. `{kind}` in the first is what was made."""

    title: str
    sequence: str
    answer: str


WORDS: dict[str, Words] = {
    "default": Words("Sequence type: {kind}", "Input Sequence:", "Next Symbol:"),
    "unreferenced": Words("Context: {kind}", "Input:", "Output:"),
    "elaborate": Words(
        "Given the sequences of the following: {kind}",
        "Complete the following sequence:",
        "Sequence is completed with:",
    ),
    "no-context": Words("Sequence type: {kind}", "", ""),
    "toy": Words('Toy: "{kind}"', "Input Sequence:", "Next Symbol:"),
}


class SymbolTable:
    """How steps are written in prompts, and read from answers.

    Args:
        steps: names of all steps.
        symbols: `num` (their numbers), `alpha` (their names) or `emoji` (one picture each).

    Raises:
        FoveateError: no such form, or too many steps for it.
    """

    def __init__(self, steps: Sequence[str], symbols: Symbols) -> None:
        if symbols not in get_args(Symbols):
            raise FoveateError(f"symbols must be one of {', '.join(get_args(Symbols))}")
        if symbols == "emoji" and len(steps) > len(EMOJI):
            raise FoveateError(f"there are {len(EMOJI)} emoji for {len(steps)} steps: use num")
        forms = {
            "num": map(str, range(len(steps))),
            "alpha": iter(steps),
            "emoji": iter(EMOJI),
        }
        self.symbols = symbols
        self.written = dict(zip(steps, forms[symbols], strict=False))
        self.start = POINTER if symbols == "emoji" else "-1"
        self._read = {_plain(text): step for step, text in self.written.items()}
        longest = sorted(self._read, key=len, reverse=True)
        edge = "" if symbols == "emoji" else r"(?<!\w){}(?!\w)"
        names = "|".join(map(re.escape, longest))
        self._pattern = re.compile(edge.format(f"(?:{names})") if edge else names)

    def write(self, steps: Iterable[str]) -> str:
        """Steps after the sign of the beginning, separated by commas."""
        return ", ".join([self.start, *(self.written.get(s, s) for s in steps)])

    def read(self, answer: str) -> str | None:
        """The step that an answer names first; None for "no prediction".

        A number must be the first in the answer: what follows an unknown one is not trusted.
        """
        if self.symbols == "num":
            number = re.search(r"-?\d+", answer)
            return self._read.get(number[0]) if number else None
        found = self._pattern.search(_plain(answer))
        return self._read[found[0]] if found else None


def _plain(text: str) -> str:
    """Text as it is compared: case, hyphens, underscores and runs of spaces do not count."""
    return re.sub(r"[\s_-]+", " ", text.lower()).strip() if not text.lstrip("-").isdigit() else text


@dataclass(frozen=True)
class Prompter:
    """Writes prompts.

    Args:
        table: how steps are written.
        template: words of the blocks.
        shots: which examples go before the question: of the `same` kind, of the same `class` (the
            most general kind), `all`, or `none`.
    """

    table: SymbolTable
    template: Template = "default"
    shots: Shots = "same"

    def __post_init__(self) -> None:
        for value, known in ((self.template, WORDS), (self.shots, get_args(Shots))):
            if value not in known:
                raise FoveateError(f"unknown {value!r}; there are {', '.join(known)}")

    def chosen(self, examples: Sequence[Example], kind: Sequence[str]) -> list[Example]:
        """The examples that go into a prompt; none for a kind that was never seen."""
        if self.shots == "none":
            return []
        if self.shots == "all" or not kind:
            return list(examples)
        tag = kind[-1] if self.shots == "same" else kind[0]
        return [e for e in examples if tag in e.kind]

    def context(self, examples: Sequence[Example], kind: Sequence[str]) -> str:
        """The blocks of the examples: each a whole execution with its last step as the answer."""
        blocks = []
        for example in self.chosen(examples, kind):
            *before, last = example.steps
            question = self._block(before, example.kind)
            blocks.append(f"{question} {self.table.written[last]}\n---\n")
        return "".join(blocks)

    def question(self, history: Sequence[str], kind: Sequence[str]) -> str:
        """The block of the execution that goes on, up to where its answer begins."""
        return self._block(history, kind)

    def messages(
        self, examples: Sequence[Example], history: Sequence[str], kind: Sequence[str]
    ) -> list[dict[str, str]]:
        """The conversation that asks for the next step at once."""
        prompt = self.context(examples, kind) + self.question(history, kind)
        return _talk(SYSTEM, prompt)

    def thinking(
        self, examples: Sequence[Example], history: Sequence[str], kind: Sequence[str]
    ) -> list[dict[str, str]]:
        """The first of two calls: reasons, no answer."""
        prompt = self.context(examples, kind) + self.question(history, kind)
        return [{"role": "user", "content": f"{prompt}\n\n{THINK}"}]

    def answering(
        self, reasons: str, examples: Sequence[Example], history: Sequence[str], kind: Sequence[str]
    ) -> list[dict[str, str]]:
        """The second of two calls: the answer, given the reasons."""
        prompt = self.context(examples, kind) + self.question(history, kind)
        return _talk(SYSTEM, f"{reasons.strip()}\n\n{prompt}")

    def _block(self, steps: Sequence[str], kind: Sequence[str]) -> str:
        words = WORDS[self.template]
        name = (kind[0] if self.shots == "class" else kind[-1]) if kind else "None"
        answer = words.answer
        if self.shots == "class" and self.template == "default":
            answer = answer.replace("Symbol", "Sequence")
        title = words.title.format(kind=name)
        return f"{title}\n{words.sequence}\n {self.table.write(steps)}\n{answer}\n"


def _talk(system: str, prompt: str) -> list[dict[str, str]]:
    return [{"role": "system", "content": system}, {"role": "user", "content": prompt}]
