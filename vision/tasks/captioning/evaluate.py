"""`foveate eval captioning`: captions and their grounding on any annotated pictures."""

from __future__ import annotations

from collections.abc import Callable, Hashable, Iterator, Mapping
from pathlib import Path
from typing import Any

import numpy as np
import torch

from vision.errors import FoveateError
from vision.results import Box
from vision.tasks.captioning.annotated import read_annotated
from vision.tasks.captioning.baselines import nearest_captions
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
from vision.tasks.detection.data import Pictures

BATCH = 8

DRAWS = 20
"""Draws of a region at random whose scores are averaged."""

Point = Callable[[Caption, Phrase], Box]
"""Chooses the box of a phrase."""


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
        train_annotations: training pictures with captions, for one more row that needs no
            captioner: the captions of the most similar of them.
        train_images: tar or folder that holds these.
        beam: hypotheses that are kept at each word.
        bootstrap: resamples of the pictures for 95 % intervals.
        device: where to run.

    Returns:
        `images`; `captions`: for each row its `scores` and `intervals` as fractions; and, where
        there are boxes, `grounding`: for each way to choose the boxes of phrases its scores.

    Raises:
        FoveateError: files that are missing, or hold no captions.
    """
    if (train_annotations is None) != (train_images is None):
        raise FoveateError("give --train-annotations and --train-images together, or neither")
    truth = read_annotated(annotations, images)
    references = truth.references
    predictor = CaptionPredictor.from_weights(weights, device=device)
    seen = dict(_look(predictor, truth.pictures))
    described = _describe(predictor, seen, beam)
    rows: dict[str, dict[Hashable, str]] = {
        "captioner": {i: result.caption for i, result in described.items()}
    }
    if train_annotations is not None and train_images is not None:
        rows["nearest pictures"] = _nearest(predictor, seen, train_annotations, train_images)
    if predictor.constant is not None:
        rows["one for all"] = dict.fromkeys(references, predictor.constant)
    scores = {
        name: caption_scores(references, said, bootstrap=bootstrap) for name, said in rows.items()
    }
    report: dict[str, Any] = {
        "images": len(seen),
        "captions": {
            name: {"scores": row.scores, "intervals": row.intervals} for name, row in scores.items()
        },
    }
    if min(len(texts) for texts in references.values()) > 1:
        report["captions"]["one person"] = _one_person(references)
    if truth.sentences:
        report["grounding"] = _grounding(truth.sentences, described, predictor.named)
    return report


def _describe(
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


def _one_person(references: Mapping[Hashable, list[str]]) -> dict[str, dict[str, Any]]:
    """Scores of one reference against the others, which are one less: mean over which one."""
    count = min(len(texts) for texts in references.values())
    scores = [
        caption_scores(
            {i: texts[:n] + texts[n + 1 :] for i, texts in references.items()},
            {i: texts[n] for i, texts in references.items()},
        ).scores
        for n in range(count)
    ]
    return {
        "scores": {k: float(np.mean([one[k] for one in scores])) for k in scores[0]},
        "intervals": {},
    }


def _grounding(
    sentences: Mapping[Hashable, list[GroundedSentence]],
    described: Mapping[Hashable, Caption],
    named: Mapping[str, str],
) -> dict[str, dict[str, dict[str, float]]]:
    """Scores of the boxes of phrases, by what chooses them: the captioner, and floors."""
    rng = np.random.default_rng(0)

    def scores(point: Point) -> dict[str, dict[str, float]]:
        said = {i: grounded(described[i], named, point) for i in sentences}
        return grounding_scores(sentences, said, lemmas=named, skip_unannotated=False)

    draws = [
        scores(lambda caption, _: caption.regions[rng.integers(len(caption.regions))].box)
        for _ in range(DRAWS)
    ]
    return {
        "returned": scores(lambda _, phrase: phrase.box or (0, 0, 0, 0)),
        "attention": scores(most_attended),
        "detector": scores(surest_of_label),
        "chance": {
            mode: {kind: float(np.mean([draw[mode][kind] for draw in draws])) for kind in kinds}
            for mode, kinds in draws[0].items()
        },
    }


def most_attended(caption: Caption, phrase: Phrase) -> Box:
    """The region that attention alone points to."""
    best = max(range(len(phrase.attention)), key=phrase.attention.__getitem__)
    return caption.regions[best].box


def surest_of_label(caption: Caption, phrase: Phrase) -> Box:
    """The detector's surest box of the phrase's class, or of any class, without attention."""
    return max(caption.regions, key=lambda r: (r.label == phrase.label, r.score)).box


def grounded(result: Caption, named: Mapping[str, str], point: Point) -> GroundedPrediction:
    """A caption's phrases and their boxes, as grounding metrics take them.

    Args:
        result: the caption.
        named: words that references are annotated by; phrases that end otherwise, such as "stop
            sign", are left out, since no reference could have them.
        point: what chooses a phrase's box.
    """
    phrases = [p for p in result.phrases if p.box and tokenise(p.text)[-1] in named]
    return GroundedPrediction(
        labels=[p.label for p in phrases],
        words=[len(tokenise(result.caption[: p.end])) - 1 for p in phrases],
        boxes=[[list(point(result, p))] for p in phrases],
    )


def _look(predictor: CaptionPredictor, pictures: Pictures) -> Iterator[tuple[int, PictureRegions]]:
    for start in range(0, len(pictures), BATCH):
        rows = [pictures[i] for i in range(start, min(start + BATCH, len(pictures)))]
        found = predictor.look([image for _, image in rows])
        yield from zip((i for i, _ in rows), found, strict=True)


def _nearest(
    predictor: CaptionPredictor, seen: Mapping[int, PictureRegions], path: Path, images: Path
) -> dict[Hashable, str]:
    """For each picture the consensus of the captions of the training pictures most like it."""
    truth = read_annotated(path, images)
    known = dict(_look(predictor, truth.pictures))
    near = nearest_captions(
        torch.stack([p.overall for p in seen.values()]),
        torch.stack([p.overall for p in known.values()]),
        [truth.references[i] for i in known],
    )
    return dict(zip(seen, near, strict=True))
