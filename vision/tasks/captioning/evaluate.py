"""`foveate eval captioning`: captions and their grounding on any annotated pictures."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Hashable, Iterator, Mapping
from pathlib import Path
from typing import Any

import torch

from vision.errors import FoveateError
from vision.tasks.captioning.baselines import consensus, nearest_captions
from vision.tasks.captioning.metrics import (
    GroundedPrediction,
    GroundedSentence,
    caption_scores,
    grounding_scores,
)
from vision.tasks.captioning.predict import BEAM, CaptionPredictor
from vision.tasks.captioning.regions import PictureRegions
from vision.tasks.captioning.results import Caption, Phrase
from vision.tasks.captioning.vocabulary import tokenise
from vision.tasks.detection.data import Pictures, load_json

BATCH = 8


def evaluate(
    weights: str | None,
    *,
    annotations: Path,
    images: Path,
    train_annotations: Path | None = None,
    train_images: Path | None = None,
    beam: int = BEAM,
    bootstrap: int = 1000,
    device: str | None = None,
) -> dict[str, Any]:
    """Caption annotated pictures and compare.

    Args:
        weights: catalogue name or path; the default captioner when None.
        annotations: COCO file with `captions`; grounding is judged where `annotations` holds
            boxes and captions say which of their words name a category (`grounding`).
        images: uncompressed tar or folder that holds the pictures.
        train_annotations: training pictures with captions, for the rows that need no model: one
            caption for all pictures, and the captions of the most similar training pictures.
        train_images: tar or folder that holds these.
        beam: hypotheses that are kept at each word.
        bootstrap: resamples of the pictures for 95 % intervals.
        device: where to run.

    Returns:
        `images`; `captions`: for each row its `scores` and `intervals` as fractions; and, where
        there are boxes, `grounding`: scores of the boxes that attention alone points to, and of
        those that are returned, which take the regions' classes into account.

    Raises:
        FoveateError: files that are missing, or hold no captions.
    """
    truth = _with_captions(annotations)
    predictor = CaptionPredictor.from_weights(weights, device=device)
    seen = dict(_look(predictor, Pictures(images, truth)))
    ids = list(seen)
    described = predictor_captions(predictor, seen, beam)
    references = _references(truth)
    rows: dict[str, dict[Hashable, str]] = {"captioner": {i: described[i].caption for i in ids}}
    if train_annotations is not None and train_images is not None:
        rows |= _floor(predictor, seen, train_annotations, train_images)
    report: dict[str, Any] = {"images": len(ids), "captions": {}}
    for name, said in rows.items():
        result = caption_scores(references, said, bootstrap=bootstrap)
        report["captions"][name] = {"scores": result.scores, "intervals": result.intervals}
    sentences = grounded_sentences(truth)
    if sentences:
        lemmas = predictor.named
        report["grounding"] = {
            name: grounding_scores(
                sentences,
                {i: grounded(described[i], lemmas, attention_alone=alone) for i in sentences},
                lemmas=lemmas,
            )
            for name, alone in (("attention", True), ("returned", False))
        }
    return report


def predictor_captions(
    predictor: CaptionPredictor, seen: Mapping[int, PictureRegions], beam: int
) -> dict[Hashable, Caption]:
    """Captions of pictures by id."""
    ids = list(seen)
    found: dict[Hashable, Caption] = {}
    for start in range(0, len(ids), BATCH):
        part = ids[start : start + BATCH]
        captions = predictor.describe([seen[i] for i in part], beam=beam)
        found |= dict(zip(part, captions, strict=True))
    return found


def grounded_sentences(truth: Mapping[str, Any]) -> dict[Hashable, list[GroundedSentence]]:
    """Reference captions of pictures with boxes.

    There is no link between a word and one box: any box of the word's category shows it.
    """
    names = {c["id"]: c["name"] for c in truth["categories"]}
    boxes: dict[tuple[int, int], list[list[float]]] = defaultdict(list)
    for a in truth["annotations"]:
        x, y, w, h = a["bbox"]
        boxes[a["image_id"], a["category_id"]].append([x, y, x + w, y + h])
    pictured = {image for image, _ in boxes}
    found: dict[Hashable, list[GroundedSentence]] = defaultdict(list)
    for caption in truth["captions"]:
        image = caption["image_id"]
        if image in pictured:
            entries = [
                (names[g["category_id"]], g["index"], box)
                for g in caption.get("grounding", [])
                for box in boxes[image, g["category_id"]]
            ]
            found[image].append(
                GroundedSentence(
                    tokens=tokenise(caption["caption"]),
                    labels=[label for label, _, _ in entries],
                    words=[word for _, word, _ in entries],
                    boxes=[box for _, _, box in entries],
                    frames=[0] * len(entries),
                )
            )
    return dict(found)


def grounded(
    result: Caption, named: Mapping[str, str], *, attention_alone: bool
) -> GroundedPrediction:
    """A caption's phrases and their boxes, as grounding metrics take them.

    Args:
        result: the caption.
        named: words that references are annotated by; phrases that end otherwise, such as "stop
            sign", are left out, since no reference could have them.
        attention_alone: take the most attended region instead of the one that was returned.
    """
    phrases = [p for p in result.phrases if p.box and tokenise(p.text)[-1] in named]

    def box(phrase: Phrase) -> list[float]:
        if not attention_alone:
            return list(phrase.box or ())
        best = max(range(len(phrase.attention)), key=phrase.attention.__getitem__)
        return list(result.regions[best].box)

    return GroundedPrediction(
        labels=[p.label for p in phrases],
        words=[len(tokenise(result.caption[: p.end])) - 1 for p in phrases],
        boxes=[[box(p)] for p in phrases],
    )


def _with_captions(path: Path) -> dict[str, Any]:
    truth: dict[str, Any] = load_json(path)
    for key in ("images", "annotations", "categories", "captions"):
        if key not in truth:
            raise FoveateError(f"{path} is no COCO file with captions: no {key!r}")
    described = {c["image_id"] for c in truth["captions"]}
    truth["images"] = [i for i in truth["images"] if i["id"] in described]
    if not truth["images"]:
        raise FoveateError(f"{path} has a caption for none of its pictures")
    return truth


def _references(truth: Mapping[str, Any]) -> dict[Hashable, list[str]]:
    found: dict[Hashable, list[str]] = {i["id"]: [] for i in truth["images"]}
    for caption in truth["captions"]:
        if caption["image_id"] in found:
            found[caption["image_id"]].append(caption["caption"])
    return found


def _look(predictor: CaptionPredictor, pictures: Pictures) -> Iterator[tuple[int, PictureRegions]]:
    for start in range(0, len(pictures), BATCH):
        rows = [pictures[i] for i in range(start, min(start + BATCH, len(pictures)))]
        found = predictor.regions.extract([image for _, image in rows])
        yield from zip((i for i, _ in rows), found, strict=True)


def _floor(
    predictor: CaptionPredictor, seen: Mapping[int, PictureRegions], path: Path, images: Path
) -> dict[str, dict[Hashable, str]]:
    """Captions by id that need no captioner."""
    truth = _with_captions(path)
    references = _references(truth)
    known = dict(_look(predictor, Pictures(images, truth)))
    captions = [references[i] for i in known]
    near = nearest_captions(
        torch.stack([p.overall for p in seen.values()]),
        torch.stack([p.overall for p in known.values()]),
        captions,
    )
    constant = consensus([caption for rows in captions for caption in rows])
    return {
        "nearest pictures": dict(zip(seen, near, strict=True)),
        "one for all": dict.fromkeys(seen, constant),
    }
