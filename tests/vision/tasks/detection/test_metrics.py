"""COCO's numbers: against pycocotools' own on fixtures, and on cases known by hand."""

import pytest

from vision.tasks.detection.metrics import NAMES, coco_metrics


def truth_of(boxes):
    return {
        "images": [{"id": 1, "width": 100, "height": 100}],
        "categories": [{"id": 7, "name": "cup"}, {"id": 9, "name": "dog"}],
        "annotations": [
            {
                "id": n + 1,
                "image_id": 1,
                "category_id": category,
                "bbox": box,
                "area": box[2] * box[3],
                "iscrowd": 0,
            }
            for n, (category, box) in enumerate(boxes)
        ],
    }


TRUTH = truth_of([(7, [10, 10, 40, 40]), (9, [60, 60, 20, 20])])


def found(category, box, score=0.9):
    return {"image_id": 1, "category_id": category, "bbox": box, "score": score}


def test_perfect_detections_score_one():
    report = coco_metrics(TRUTH, [found(7, [10, 10, 40, 40]), found(9, [60, 60, 20, 20])])
    assert report["AP"] == pytest.approx(1)
    assert report["AR100"] == pytest.approx(1)
    assert report["APl"] == -1  # no large box in the truth
    assert report["per_class"] == {
        "cup": {"AP": pytest.approx(1), "AP50": pytest.approx(1)},
        "dog": {"AP": pytest.approx(1), "AP50": pytest.approx(1)},
    }


def test_nothing_found_scores_zero():
    report = coco_metrics(TRUTH, [])
    assert report["AP"] == 0
    assert report["AR100"] == 0
    assert set(NAMES) < set(report)


def test_the_wrong_class_counts_only_without_classes():
    results = [found(9, [10, 10, 40, 40]), found(7, [60, 60, 20, 20])]
    assert coco_metrics(TRUTH, results)["AP"] == 0
    assert coco_metrics(TRUTH, results, class_agnostic=True)["AP"] == pytest.approx(1)


def test_restricting_to_classes_and_pictures():
    results = [found(7, [10, 10, 40, 40])]
    assert coco_metrics(TRUTH, results)["AP"] == pytest.approx(0.5)
    assert coco_metrics(TRUTH, results, categories=[7])["AP"] == pytest.approx(1)
    agnostic = coco_metrics(TRUTH, results, categories=[7], class_agnostic=True)
    assert agnostic["AP"] == pytest.approx(1)  # the dog is not asked for
    assert coco_metrics(TRUTH, results, images=[1])["AP"] == pytest.approx(0.5)
