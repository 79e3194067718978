"""Average precision and recall of segments on cases known by hand."""

import numpy as np
import pytest

from vision.errors import FoveateError
from vision.tasks.localization.metrics import (
    ANET_TIOUS,
    THUMOS_TIOUS,
    detection_map,
    proposal_recall,
)


def database(**videos):
    return {
        name: {
            "subset": "validation",
            "annotations": [{"segment": s, "label": label} for label, s in actions],
        }
        for name, actions in videos.items()
    }


def found(label, segment, score=0.9):
    return {"label": label, "segment": segment, "score": score}


TRUTH = database(a=[("run", [0, 10]), ("fall", [20, 30])], b=[("run", [5, 9])])
PERFECT = {
    "a": [found("run", [0, 10]), found("fall", [20, 30])],
    "b": [found("run", [5, 9])],
}


def test_thresholds_of_the_two_benchmarks():
    assert pytest.approx(np.arange(0.5, 1, 0.05)) == ANET_TIOUS
    assert pytest.approx([0.3, 0.4, 0.5, 0.6, 0.7]) == THUMOS_TIOUS


def test_perfect_detections():
    report = detection_map(TRUTH, PERFECT)
    assert report.classes == ("run", "fall")
    assert report.average == 1
    assert report.map.tolist() == [1] * 10


def test_an_overlap_equal_to_the_threshold_counts():
    results = {"a": [found("run", [0, 5])]}
    report = detection_map(database(a=[("run", [0, 10])]), results, (0.5, 0.6))
    assert report.ap.tolist() == [[1], [0]]


def test_an_action_is_found_once():
    results = {"a": [found("run", [0, 10], 0.9), found("run", [0, 10], 0.8)]}
    truth = database(a=[("run", [0, 10])], b=[("run", [0, 10])])
    assert detection_map(truth, results, (0.5,)).average == pytest.approx(0.5)
    second = {**results, "b": [found("run", [0, 10], 0.7)]}
    # right, wrong, right: precision 1 up to a recall of a half, then 2 / 3
    assert detection_map(truth, second, (0.5,)).average == pytest.approx(0.5 + 0.5 * 2 / 3)


def test_what_is_not_in_the_truth():
    stray = {**PERFECT, "a": [*PERFECT["a"], found("swim", [0, 10])]}
    assert detection_map(TRUTH, stray).average == 1  # a label that the truth does not have
    elsewhere = {**PERFECT, "c": [found("run", [0, 10], 1.0)]}
    assert detection_map(TRUTH, elsewhere).average < 1
    assert detection_map(TRUTH, elsewhere, blocked={"c"}).average == 1
    missed = detection_map(TRUTH, {"a": PERFECT["a"]})
    assert missed.ap[0].tolist() == [0.5, 1]
    assert detection_map(TRUTH, {}).average == 0


def test_duplicates_of_the_truth_are_a_choice():
    twice = database(a=[("run", [0, 10]), ("run", [0.0005, 10]), ("run", [4, 4])])
    results = {"a": [found("run", [0, 10])]}
    assert detection_map(twice, results).average == pytest.approx(1 / 3)
    assert detection_map(twice, results, deduplicate=True).average == 1


def test_only_the_subset_is_evaluated():
    mixed = {**TRUTH, "c": {"subset": "training", "annotations": TRUTH["a"]["annotations"]}}
    assert detection_map(mixed, PERFECT).average == 1
    with pytest.raises(FoveateError, match="subset 'testing'"):
        detection_map(mixed, PERFECT, subset="testing")


def test_recall_of_proposals():
    report = proposal_recall(TRUTH, PERFECT, max_proposals=100)
    assert report.recall[:, -1].tolist() == [1] * 10
    assert report.average[-1] == 1
    assert report.auc == pytest.approx(100 * (1 - report.counts[0] / report.counts[-1]), abs=1)


def test_recall_at_a_number_of_proposals():
    truth = database(a=[("run", [0, 10]), ("run", [20, 30])])
    results = {"a": [found("", [20, 30], 0.9), found("", [0, 1], 0.5), found("", [0, 10], 0.1)]}
    report = proposal_recall(truth, results)
    assert [report.at(n) for n in (0, 1, 2, 3, 50)] == [0, 0.5, 0.5, 1, 1]
    shared = proposal_recall(truth, results, max_proposals=2)
    assert shared.counts[-1] == 2
    assert shared.at(2) == 0.5
    everything = proposal_recall(truth, results, max_proposals=None)
    assert everything.counts[-1] == 3
    assert everything.average[-1] == 1


def test_recall_without_proposals():
    with pytest.raises(FoveateError, match="no proposal"):
        proposal_recall(TRUTH, {})
