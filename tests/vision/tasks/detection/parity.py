"""Parity of the detection metrics with recorded figures of pycocotools."""

from __future__ import annotations

from collections.abc import Iterator

from tests.parity import Adapter, Check, Fixture
from vision.tasks.detection.metrics import NAMES, coco_metrics

METRIC = 1e-9


def check_metrics(fixture: Fixture) -> Iterator[Check]:
    """The twelve numbers, and AP by class (-1 for a class that is not in the truth)."""
    truth = fixture.data["gt"]
    for category in truth["categories"]:
        category.setdefault("name", str(category["id"]))
    report = coco_metrics(truth, fixture.data["dt"])
    for name, expected in zip(NAMES, fixture.data["stats"], strict=True):
        yield Check(name, report[name], expected, METRIC)
    names = {str(c["id"]): c["name"] for c in truth["categories"]}
    for category, expected in fixture.data["per_class_ap"].items():
        found = report["per_class"].get(names[category], {"AP": -1})
        yield Check(f"AP of class {category}", found["AP"], expected, METRIC)


PREFIXES: dict[str, Adapter] = {"metric_detection_": check_metrics}
