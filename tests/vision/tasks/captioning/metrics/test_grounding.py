"""Grounding scores on cases known by hand."""

import pytest

from vision.errors import FoveateError
from vision.tasks.captioning.metrics import (
    GroundedPrediction,
    GroundedSentence,
    grounding_accuracy,
    grounding_scores,
)

DOG, MAN, ELSEWHERE = [10, 10, 50, 50], [100, 100, 180, 300], [400, 400, 450, 450]
SENTENCE = GroundedSentence(
    tokens=["a", "man", "walks", "dogs", "near", "trees"],
    labels=["man", "dog"],
    words=[1, 3],
    boxes=[MAN, DOG],
    frames=[0, 0],
)
LEMMAS = {"dogs": "dog", "trees": "tree"}


def said(**boxes):
    return GroundedPrediction(list(boxes), list(range(len(boxes))), [[b] for b in boxes.values()])


def scores(prediction, **options):
    return grounding_scores({1: [SENTENCE]}, {1: prediction}, lemmas=LEMMAS, **options)


def test_all_right():
    found = scores(said(man=MAN, dog=DOG))
    for mode in ("all", "loc"):
        assert set(found[mode].values()) == {1.0}


def test_a_word_in_the_wrong_place_is_wrong_in_both():
    found = scores(said(man=MAN, dog=ELSEWHERE))
    for mode in ("all", "loc"):
        assert found[mode]["precision"] == found[mode]["recall"] == 0.5


def test_hallucinated_and_missed_words_count_in_all_alone():
    found = scores(said(man=MAN, horse=ELSEWHERE))
    assert found["all"]["precision"] == 0.5  # man right, horse wrong, over man and dog
    assert found["all"]["precision_per_sent"] == 0.5
    assert found["all"]["recall"] == found["all"]["recall_per_sent"] == 0.5
    assert found["loc"]["recall_per_sent"] == found["loc"]["precision_per_sent"] == 1


def test_words_that_the_reference_has_without_a_box_are_left_out():
    found = scores(said(man=MAN, dog=DOG, tree=ELSEWHERE))
    assert found["all"]["precision_per_sent"] == 1
    hallucinated = grounding_scores({1: [SENTENCE]}, {1: said(man=MAN, dog=DOG, tree=ELSEWHERE)})
    assert hallucinated["all"]["precision_per_sent"] == pytest.approx(2 / 3)


def test_a_missing_prediction_costs_recall():
    references = {1: [SENTENCE], 2: [SENTENCE]}
    found = grounding_scores(references, {1: said(man=MAN, dog=DOG)})
    assert found["all"]["precision"] == 1
    assert found["loc"]["recall"] == 0.5


def test_the_overlap_must_be_larger_than_the_threshold():
    # 41 x 20 of 41 x 41 pixels
    half = [10, 10, 50, 29]
    assert scores(said(dog=half), iou=0.48)["loc"]["recall_per_sent"] == 1
    assert scores(said(dog=half), iou=20 / 41)["loc"]["recall_per_sent"] == 0


def test_boxes_count_on_their_own_frame():
    video = GroundedSentence(["dog"], ["dog", "dog"], [0, 0], [DOG, MAN], [0, 1])
    on_second = GroundedPrediction(["dog"], [0], [[ELSEWHERE, MAN]])
    swapped = GroundedPrediction(["dog"], [0], [[MAN, DOG]])
    assert grounding_scores({1: [video]}, {1: on_second})["all"]["f1"] == 1
    assert grounding_scores({1: [video]}, {1: swapped})["all"]["f1"] == 0


def test_sentences_without_boxes():
    plain = GroundedSentence(["a", "dog"], [], [], [], [])
    references, predictions = {1: [SENTENCE], 2: [plain]}, {1: said(dog=DOG), 2: said(cat=DOG)}
    assert grounding_scores(references, predictions)["all"]["precision"] == 0.5
    assert grounding_scores(references, predictions)["all"]["precision_per_sent"] == 0.5
    strict = grounding_scores(references, predictions, skip_unannotated=False)
    assert strict["all"]["precision_per_sent"] == 1  # no annotated word: not a judged sentence


def test_nothing_to_judge_is_zero():
    found = grounding_scores({1: [SENTENCE]}, {1: said()})
    assert set(found["loc"].values()) == {0.0}
    assert set(grounding_scores({}, {})["all"].values()) == {0.0}
    assert grounding_accuracy({}, {}) == 0


def test_accuracy_on_reference_sentences_is_a_mean_over_classes():
    two = GroundedSentence(
        ["man", "man", "dog"], ["man", "man", "dog"], [0, 1, 2], [MAN, MAN, DOG], [0, 0, 0]
    )
    given = GroundedPrediction(["man", "dog"], [0, 2], [[MAN], [DOG]])
    assert grounding_accuracy({1: [two]}, {1: [given]}) == pytest.approx((0.5 + 1) / 2)
    assert grounding_accuracy({1: [two]}, {}) == 0
    with pytest.raises(FoveateError, match="2 predictions for 1 sentences"):
        grounding_accuracy({1: [two]}, {1: [given, given]})
