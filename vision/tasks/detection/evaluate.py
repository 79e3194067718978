"""`foveate eval detection`: COCO metrics of weights on any annotated pictures."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from vision.errors import FoveateError
from vision.tasks.detection.coco import load_coco
from vision.tasks.detection.data import Pictures
from vision.tasks.detection.metrics import coco_metrics
from vision.tasks.detection.predict import Detector

BATCH = 16


def evaluate(
    weights: str | None,
    *,
    annotations: Path,
    images: Path,
    device: str | None = None,
    half: bool = False,
) -> dict[str, Any]:
    """Run a detector over annotated pictures and compare.

    Categories are matched by name. Classes of the truth that the weights do not know are named in
    the report and left out of its figures.

    Args:
        weights: catalogue name or path; the default detector when None.
        annotations: COCO instance file. Images with `labelled_categories` other than `"all"`
            count only for those categories. Images with `sequence_disjoint` give a second row.
        images: uncompressed tar or folder that holds the pictures.
        device: where to run.
        half: whether to compute in bfloat16.

    Returns:
        The twelve COCO numbers in [0, 1], `per_class` `{name: {AP, AP50}}`, and `subsets`: the
        twelve numbers of pictures labelled for all classes, of pictures from recordings unseen in
        training, where they differ from the whole, and without regard to class: there an object
        found under several names counts once, its other boxes as false alarms.

    Raises:
        FoveateError: files that are missing or no COCO annotations, or no class in common.
    """
    truth = load_coco(annotations)
    detector = Detector.from_weights(weights, device=device, half=half)
    ids = {c["name"]: c["id"] for c in truth["categories"]}
    known = {name: ids[name] for name, _ in detector.categories if name in ids}
    if not known:
        raise FoveateError(f"{annotations} has no class that the weights know")
    results = _detect(detector, Pictures(images, truth), known)
    return _report(truth, results, known)


def _detect(detector: Detector, pictures: Pictures, known: dict[str, int]) -> list[dict[str, Any]]:
    results: list[dict[str, Any]] = []
    for start in range(0, len(pictures), BATCH):
        rows = [pictures[i] for i in range(start, min(start + BATCH, len(pictures)))]
        found = detector.predict([image for _, image in rows], threshold=0.0, suppress=1.0)
        for (image_id, _), result in zip(rows, found, strict=True):
            for d, entry in zip(result.objects, result.to_coco(image_id), strict=True):
                if d.label in known:
                    results.append({**entry, "category_id": known[d.label]})
    return results


def _report(
    truth: dict[str, Any], results: list[dict[str, Any]], known: dict[str, int]
) -> dict[str, Any]:
    """Metrics over the known classes, each on the pictures that are labelled for it."""
    categories = sorted(known.values())
    present = {a["category_id"] for a in truth["annotations"]}
    report = coco_metrics(truth, _labelled(truth, results), categories=categories)
    report["images"] = len(truth["images"])
    report["unknown_classes"] = sorted(
        c["name"] for c in truth["categories"] if c["id"] in present and c["name"] not in known
    )
    subsets: dict[str, list[int] | None] = {}
    unseen = [i["id"] for i in truth["images"] if i.get("sequence_disjoint")]
    if 0 < len(unseen) < len(truth["images"]):
        subsets["recordings unseen in training"] = unseen
    whole = [i["id"] for i in truth["images"] if i.get("labelled_categories", "all") == "all"]
    if 0 < len(whole) < len(truth["images"]):
        subsets["pictures labelled for all classes"] = whole
    report["subsets"] = {
        name: coco_metrics(truth, results, images=images, categories=categories)
        for name, images in subsets.items()
    }
    report["subsets"]["class ignored"] = coco_metrics(
        truth, results, categories=categories, class_agnostic=True
    )
    for subset in report["subsets"].values():
        del subset["per_class"]
    return report


def _labelled(truth: dict[str, Any], results: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """Leave out detections of classes that their picture does not label."""
    labels = {i["id"]: i.get("labelled_categories", "all") for i in truth["images"]}
    return [
        r
        for r in results
        if labels[r["image_id"]] == "all" or r["category_id"] in labels[r["image_id"]]
    ]
