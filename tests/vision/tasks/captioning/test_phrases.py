"""Which words of a caption name things."""

import pytest
import torch

from vision.tasks.boxes import LabelledBox
from vision.tasks.captioning.phrases import Grounding, Name, find_names
from vision.tasks.captioning.regions import PictureRegions

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


def grounding(labels, shares):
    """Of regions side by side, with the detector's labels and scores."""
    regions = [
        LabelledBox((10.0 * n, 0.0, 10.0 * n + 9, 9.0), *label) for n, label in enumerate(labels)
    ]
    none = torch.zeros(len(regions), 4)
    picture = PictureRegions(99, 9, regions, none, none, none[0])
    return Grounding(picture, torch.tensor(shares), ["person", "bear"])


@pytest.mark.parametrize(
    ("labels", "expected"),
    [
        ([("bear", 0.9), ("person", 0.8), ("person", 0.2)], 1),  # attention times score
        ([("bear", 0.9), ("bear", 0.8), ("person", 0.1)], 2),  # the only one of the class
        ([("bear", 0.9), ("bear", 0.8), ("bear", 0.1)], 0),  # none: attention alone
        ([(None, 0.0), (None, 0.0), (None, 0.0)], 1),  # nobody named them: the captioner's share
        ([("ghost", 0.9), ("ghost", 0.9), ("ghost", 0.9)], 1),  # a class that it does not know
    ],
)
def test_a_phrase_gets_the_region_that_is_attended_to_and_of_its_class(labels, expected):
    shares = [[0.1, 0.1, 0.8], [0.1, 0.8, 0.1], [0.1, 0.6, 0.3]]
    found = grounding(labels, shares)("person", torch.tensor([0.5, 0.3, 0.2]))
    assert found["region"] == expected
    assert found["box"][0] == 10 * expected
    assert found["attention"] == [0.5, 0.3, 0.2]
    assert found["mass"] == found["attention"][expected]
