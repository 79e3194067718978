"""Which words of a caption name things."""

import pytest

from vision.tasks.captioning.phrases import Name, find_names

CLASSES = ["person", "bear", "teddy bear", "tennis racket", "stop sign", "bottle"]
NAMED = {
    "man": "person",
    "bear": "bear",
    "teddy": "teddy bear",
    "racket": "tennis racket",
    "racquet": "tennis racket",
    "bottles": "bottle",
}


@pytest.mark.parametrize(
    ("caption", "expected"),
    [
        ("a man with a racket", [Name(1, 1, "person"), Name(4, 4, "tennis racket")]),
        ("a tennis racket", [Name(1, 2, "tennis racket")]),
        ("a tennis racquet", [Name(1, 2, "tennis racket")]),
        ("racket", [Name(0, 0, "tennis racket")]),
        ("a teddy bear and a bear", [Name(1, 2, "teddy bear"), Name(5, 5, "bear")]),
        ("a red stop sign", [Name(2, 3, "stop sign")]),
        ("two bottles", [Name(1, 1, "bottle")]),
        ("a stop", []),
        ("", []),
    ],
)
def test_words_that_name_a_class_are_found(caption, expected):
    assert find_names(caption.split(), NAMED, CLASSES) == expected
