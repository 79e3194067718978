"""Parity of caption and grounding scores with recorded figures of the published code."""

from __future__ import annotations

import shutil
from collections.abc import Iterator

from tests.parity import EXACT, Adapter, Check, Fixture
from vision.tasks.captioning.metrics import (
    anet_predictions,
    anet_references,
    caption_scores,
    flickr_predictions,
    flickr_references,
    grounding_accuracy,
    grounding_scores,
    tokenize,
)

METRIC = 1e-6
BLEU = ("B@1", "B@2", "B@3", "B@4")
MEANS = ("CIDEr", "ROUGE_L", "METEOR")


def check_text(fixture: Fixture) -> Iterator[Check]:
    """Tokens, scores and scores by image; METEOR where Java is installed."""
    data, wanted = fixture.data, fixture.data["expected"]
    order = data["order"]
    for kind in ("references", "hypotheses"):
        for key in order:
            tokens = [tokenize(text) for text in data[f"{kind}_raw"][key]]
            yield Check(f"tokens of {kind} {key}", tokens, data[f"{kind}_tokenized"][key], EXACT)
    report = caption_scores(
        {key: data["references_raw"][key] for key in order},
        {key: data["hypotheses_raw"][key][0] for key in order},
    )
    for n, name in enumerate(BLEU):
        yield Check(name, report.scores[name], wanted["Bleu"][n], METRIC)
        yield Check(f"{name} by image", report.per_image[name], wanted["Bleu_per_image"][n], METRIC)
    for name in MEANS:
        if name in wanted and (name != "METEOR" or shutil.which("java")):
            yield Check(name, report.scores[name], wanted[name], METRIC)
            found = report.per_image[name]
            yield Check(f"{name} by image", found, wanted[f"{name}_per_image"], METRIC)


def check_anet(fixture: Fixture) -> Iterator[Check]:
    """ActivityNet-Entities: generated and reference sentences."""
    data, wanted = fixture.data, fixture.data["expected"]
    references = anet_references(data["reference"]["annotations"], _split(data))
    predictions = anet_predictions(data["submission"]["results"])
    found = grounding_scores(references, predictions, lemmas=data["lemmas"], iou=data["iou_thresh"])
    accuracy = grounding_accuracy(
        references, {key: [p] for key, p in predictions.items()}, iou=data["iou_thresh"]
    )
    yield Check("accuracy", accuracy, wanted["gt_localization_accuracy"], METRIC)
    yield from _scores(found, wanted)


def check_flickr(fixture: Fixture) -> Iterator[Check]:
    """Flickr30k-Entities: generated and reference sentences."""
    data, wanted = fixture.data, fixture.data["expected"]
    references = flickr_references(data["reference"]["annotations"], _split(data))
    generated = flickr_predictions(data["submission_generated"]["results"])
    found = grounding_scores(
        references,
        {key: given[0] for key, given in generated.items()},
        lemmas=data["lemmas"],
        iou=data["iou_thresh"],
        skip_unannotated=False,
    )
    given = flickr_predictions(data["submission_gt"]["results"])
    accuracy = grounding_accuracy(references, given, iou=data["iou_thresh"])
    yield Check("accuracy", accuracy, wanted["gt_localization_accuracy"], METRIC)
    yield from _scores(found, wanted)


def _split(data: dict) -> set[str]:
    return {str(key) for key in data["split_ids"][data["split"]]}


def _scores(found: dict[str, dict[str, float]], wanted: dict) -> Iterator[Check]:
    for mode in ("all", "loc"):
        for name, value in wanted[mode].items():
            yield Check(f"{mode} {name}", found[mode][name], value, METRIC)


PREFIXES: dict[str, Adapter] = {
    "metric_captioning_text": check_text,
    "metric_captioning_grd_anet": check_anet,
    "metric_captioning_grd_flickr": check_flickr,
}
