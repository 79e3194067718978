"""Prompts are the published ones, and answers are read strictly."""

import pytest

from vision.errors import FoveateError
from vision.tasks.mistakes.anticipation.prompts import THINK, WORDS, Prompter, SymbolTable
from vision.tasks.mistakes.procedure import Procedure

CLASSES = ("attach-wheel", "attach-cabin", "attach-cabin_window", "detach-wheel")
TOYS = Procedure(
    name="toys",
    steps=CLASSES,
    examples=[
        {"steps": ["attach-wheel", "attach-cabin"], "kind": ["crane", "a08"]},
        {
            "steps": ["attach-cabin", "attach-cabin_window", "attach-wheel"],
            "kind": ["crane", "a09"],
        },
        {"steps": ["attach-wheel"], "kind": ["car", "a23"]},
    ],
).examples


def prompt(kind=("crane", "a08"), symbols="num", **style):
    prompter = Prompter(SymbolTable(CLASSES, symbols), **style)
    return prompter.context(TOYS, kind) + prompter.question(["attach-cabin"], kind)


def test_the_default_prompt():
    assert prompt() == (
        "Sequence type: a08\nInput Sequence:\n -1, 0\nNext Symbol:\n 1\n---\n"
        "Sequence type: a08\nInput Sequence:\n -1, 1\nNext Symbol:\n"
    )


def test_same_class_names_the_class_and_says_sequence():
    text = prompt(shots="class", symbols="alpha")
    assert text.count("Sequence type: crane") == 3
    assert "a08" not in text
    assert "Symbol" not in text
    assert text.endswith(" -1, attach-cabin\nNext Sequence:\n")


def test_an_unseen_toy_has_an_empty_context():
    assert prompt(("car", "a99")).count("---") == 0
    assert prompt(("crane", "a99"), shots="class").count("---") == 2


def test_no_kind_takes_all_examples_and_says_none():
    assert prompt(()).count("---") == 3
    assert prompt(()).count("Sequence type: None") == 1


@pytest.mark.parametrize("template", WORDS)
@pytest.mark.parametrize("symbols", ["num", "alpha", "emoji"])
def test_every_answer_in_a_prompt_is_read_back(template, symbols):
    table = SymbolTable(CLASSES, symbols)
    for step in CLASSES:
        assert table.read(f" {table.written[step]}\n---") == step
    text = prompt(template=template, symbols=symbols)
    assert text.count("---") == 1
    assert ("\N{WHITE RIGHT POINTING BACKHAND INDEX}" in text) == (symbols == "emoji")


def test_two_calls_of_thinking():
    prompter = Prompter(SymbolTable(CLASSES, "alpha"), template="toy")
    (first,) = prompter.thinking(TOYS, [], ("crane", "a08"))
    assert first["content"].endswith(THINK)
    assert 'Toy: "a08"' in first["content"]
    system, second = prompter.answering("Because.", TOYS, [], ("crane", "a08"))
    assert second["content"].startswith("Because.\n\nToy:")
    assert "next action" in system["content"]


@pytest.mark.parametrize(
    ("symbols", "answer", "step"),
    [
        ("num", " 2\n", "attach-cabin_window"),
        ("num", "[1], then 2", "attach-cabin"),
        ("num", "-1, 0", None),
        ("num", "17", None),
        ("num", "no idea", None),
        ("num", "", None),
        ("alpha", "Attach Cabin Window.", "attach-cabin_window"),
        ("alpha", "The next action is attach-cabin.", "attach-cabin"),
        ("alpha", "attach-wheels", None),
        ("alpha", "reattach-wheel", None),
        ("alpha", "attach", None),
        ("emoji", "maybe", None),
    ],
)
def test_answers(symbols, answer, step):
    assert SymbolTable(CLASSES, symbols).read(answer) == step


def test_forms_that_do_not_exist():
    with pytest.raises(FoveateError, match="num, alpha, emoji"):
        SymbolTable(CLASSES, "roman")
    with pytest.raises(FoveateError, match="unknown 'poem'"):
        Prompter(SymbolTable(CLASSES, "num"), template="poem")
    with pytest.raises(FoveateError, match="use num"):
        SymbolTable([str(i) for i in range(5000)], "emoji")
