"""COCO's box metrics by pycocotools."""

from __future__ import annotations

import contextlib
import io
from typing import Any

import numpy as np
from pycocotools.coco import COCO
from pycocotools.cocoeval import COCOeval

NAMES = (
    "AP",
    "AP50",
    "AP75",
    "APs",
    "APm",
    "APl",
    "AR1",
    "AR10",
    "AR100",
    "ARs",
    "ARm",
    "ARl",
)
"""The twelve numbers, in COCO's order. -1 means that the truth holds no such box."""


def coco_metrics(
    truth: dict[str, Any],
    results: list[dict[str, Any]],
    *,
    images: list[int] | None = None,
    categories: list[int] | None = None,
    class_agnostic: bool = False,
) -> dict[str, Any]:
    """Average precision and recall of detections.

    Args:
        truth: COCO instances (`images`, `annotations`, `categories`).
        results: COCO results (`image_id`, `category_id`, `bbox` as x, y, w, h, `score`).
        images: ids to evaluate on; all when None.
        categories: ids to evaluate on; all when None.
        class_agnostic: whether a box of any class may match.

    Returns:
        The twelve numbers by `NAMES` in [0, 1] (or -1), and `per_class`: `{name: {AP, AP50}}` of
        every class that has a box in the truth.
    """
    if class_agnostic and categories is not None:  # COCOeval would count all classes' boxes
        kept = [a for a in truth["annotations"] if a["category_id"] in categories]
        truth = {**truth, "annotations": kept}
    with contextlib.redirect_stdout(io.StringIO()):
        coco = COCO()
        coco.dataset = truth
        coco.createIndex()
        evaluation = COCOeval(coco, _results(coco, results), "bbox")
        if images is not None:
            evaluation.params.imgIds = sorted(images)
        if categories is not None:
            evaluation.params.catIds = sorted(categories)
        evaluation.params.useCats = int(not class_agnostic)
        evaluation.evaluate()
        evaluation.accumulate()
        evaluation.summarize()
    report: dict[str, Any] = {
        name: float(value) for name, value in zip(NAMES, evaluation.stats, strict=True)
    }
    report["per_class"] = {} if class_agnostic else _per_class(coco, evaluation)
    return report


def _results(coco: COCO, results: list[dict[str, Any]]) -> COCO:
    if results:
        return coco.loadRes(results)
    empty = COCO()  # loadRes cannot take an empty list
    empty.dataset = {**coco.dataset, "annotations": []}
    empty.createIndex()
    return empty


def _per_class(coco: COCO, evaluation: COCOeval) -> dict[str, dict[str, float]]:
    # precision: IoU thresholds x recalls x classes x areas x detection limits
    precision = evaluation.eval["precision"][:, :, :, 0, -1]
    table = {}
    for n, category in enumerate(evaluation.params.catIds):
        values = precision[:, :, n]
        if np.any(values > -1):
            at_half = values[0]
            table[coco.cats[category]["name"]] = {
                "AP": float(values[values > -1].mean()),
                "AP50": float(at_half[at_half > -1].mean()),
            }
    return table
