"""Tables on narrow and wide terminals, and in files."""

import io

import pytest
from rich.console import Console

from video.cli.tables import print_table

ROWS = [
    {"name": "a_name_that_is_typed_as_it_stands", "says": "some words that may be wrapped"},
    {"name": "[red]x", "says": 1},
]


def printed(width: int, *, terminal: bool) -> str:
    file = io.StringIO()
    console = Console(file=file, width=width, force_terminal=terminal, color_system=None)
    print_table(console, ROWS, whole="name")
    return file.getvalue()


@pytest.mark.parametrize("width", [10, 30, 60, 200])
@pytest.mark.parametrize("terminal", [False, True])
def test_nothing_is_cut(width: int, terminal: bool) -> None:
    text = printed(width, terminal=terminal)
    assert "a_name_that_is_typed_as_it_stands" in text
    assert "[red]x" in text
    assert all(word in text for word in ("some", "words", "wrapped"))


def test_a_table_is_as_wide_as_the_terminal_and_in_files_as_wide_as_it_is() -> None:
    assert max(map(len, printed(60, terminal=True).splitlines())) <= 60
    assert "some words that may be wrapped" in printed(60, terminal=False)
    assert max(map(len, printed(200, terminal=True).splitlines())) < 80
