"""Grounding of captions: whether the boxes given to object words show the objects.

F1 on generated sentences and accuracy on reference sentences, as ActivityNet-Entities and
Flickr30k-Entities evaluate them (Zhou et al., CVPR 2019).
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Hashable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch

from vision.errors import FoveateError
from vision.tasks.captioning.boxes import region_overlaps

MATCH = 0.5

Verdict = tuple[str, float | None]
"""Class of an object word, and 1 or 0; None for one that only `all` counts, as 0."""


@dataclass(frozen=True)
class GroundedSentence:
    """An annotated reference sentence; one entry for each pair of a box and a word it shows.

    Args:
        tokens: words of the sentence.
        labels: E classes, one an entry.
        words: E indices into `tokens`.
        boxes: E boxes xyxy in pixels.
        frames: E frames of the boxes; all 0 for an image.
    """

    tokens: Sequence[str]
    labels: Sequence[str]
    words: Sequence[int]
    boxes: Sequence[Sequence[float]]
    frames: Sequence[int]

    def entries(self, word: int) -> list[int]:
        """Entries of one word."""
        return [n for n, w in enumerate(self.words) if w == word]


@dataclass(frozen=True)
class GroundedPrediction:
    """Object words of a sentence and where they are said to be.

    Args:
        labels: P classes.
        words: P indices into the sentence's tokens.
        boxes: P lists of F boxes xyxy in pixels, one for each frame; F is 1 for an image.
    """

    labels: Sequence[str]
    words: Sequence[int]
    boxes: Sequence[Sequence[Sequence[float]]]


def grounding_scores(
    references: Mapping[Hashable, Sequence[GroundedSentence]],
    predictions: Mapping[Hashable, GroundedPrediction],
    *,
    lemmas: Mapping[str, str] | None = None,
    iou: float = MATCH,
    skip_unannotated: bool = True,
) -> dict[str, dict[str, float]]:
    """Precision, recall and F1 of the grounded words of generated sentences.

    Precision judges every predicted object word: right when its box overlaps a box of the first
    word of its class in the reference; left out when the reference has the word without a box;
    else hallucinated. Recall judges every annotated word by the first predicted word of its
    class. `all` counts hallucinated and missed words as wrong, `loc` leaves them out.

    Args:
        references: for each image or segment its annotated sentences. A prediction is judged
            against each in turn.
        predictions: for each image or segment the generated sentence.
        lemmas: lemma of a word; a word that is not in it is its own.
        iou: overlap above which a box is right.
        skip_unannotated: leave out sentences without any box, as ActivityNet-Entities does;
            Flickr30k-Entities counts words that they do not have as hallucinated.

    Returns:
        `{"all": ..., "loc": ...}`, each with `precision`, `recall` and `f1` (means over the
        classes of the judged references) and `precision_per_sent`, `recall_per_sent` and
        `f1_per_sent` (sums over sentences over the number of predicted ones, less those without
        an annotated word to judge). Where the published code divides 0 by 0 they are 0.
    """
    table = lemmas or {}
    precise: list[list[Verdict]] = []
    recalled: list[list[Verdict]] = []
    missed: list[Verdict] = []
    classes: set[str] = set()
    for key, sentences in references.items():
        for sentence in sentences:
            if skip_unannotated and not sentence.labels:
                continue
            prediction = predictions.get(key)
            if prediction is None:
                missed += [(label, 0.0) for label, _ in _words(sentence)]
                continue
            classes.update(sentence.labels)
            precise.append(list(_precision(sentence, prediction, table, iou)))
            recalled.append(list(_recall(sentence, prediction, iou)))
    return {
        mode: _summary(
            [_counted(verdicts, mode) for verdicts in precise],
            [_counted(verdicts, mode) for verdicts in recalled],
            missed,
            len(classes),
            sum(len(references.get(key, (None,))) for key in predictions),
        )
        for mode in ("all", "loc")
    }


def grounding_accuracy(
    references: Mapping[Hashable, Sequence[GroundedSentence]],
    predictions: Mapping[Hashable, Sequence[GroundedPrediction]],
    *,
    iou: float = MATCH,
) -> float:
    """Share of annotated words of the reference sentences whose box is right, mean over classes.

    Args:
        references: for each image or segment its annotated sentences.
        predictions: for each image or segment one prediction a sentence, whose `words` are words
            of that sentence. What is missing is wrong.
        iou: overlap above which a box is right.

    Raises:
        FoveateError: an image has predictions, but not one for each sentence.
    """
    verdicts: list[Verdict] = []
    for key, sentences in references.items():
        given = predictions.get(key)
        if given is not None and len(given) != len(sentences):
            raise FoveateError(
                f"{key}: {len(given)} predictions for {len(sentences)} sentences: give one for each"
            )
        for n, sentence in enumerate(sentences):
            for label, word in _words(sentence):
                hit = 0.0
                if given is not None and word in given[n].words:
                    at = list(given[n].words).index(word)
                    hit = _hit(given[n].boxes[at], sentence, word, iou)
                verdicts.append((label, hit))
    rates = _rates(verdicts)
    return float(np.mean(list(rates.values()))) if rates else 0.0


def _words(sentence: GroundedSentence) -> list[tuple[str, int]]:
    """Class and index of each annotated word."""
    return [(sentence.labels[sentence.entries(w)[0]], w) for w in dict.fromkeys(sentence.words)]


def _hit(
    boxes: Sequence[Sequence[float]], sentence: GroundedSentence, word: int, iou: float
) -> float:
    """Whether one of F boxes overlaps a box of the word on its frame."""
    entries = sentence.entries(word)
    truth = torch.tensor([list(sentence.boxes[n])[:4] for n in entries], dtype=torch.float32)
    frames = torch.tensor([sentence.frames[n] for n in entries])
    given = torch.tensor([list(box)[:4] for box in boxes], dtype=torch.float32)
    apart = torch.arange(len(given))[:, None] != frames
    return float(region_overlaps(given[None], truth[None], apart[None]).max() > iou)


def _precision(
    sentence: GroundedSentence,
    prediction: GroundedPrediction,
    lemmas: Mapping[str, str],
    iou: float,
) -> Iterable[Verdict]:
    annotated = set(sentence.words)
    plain = {
        lemmas.get(token, token)
        for n, token in enumerate(sentence.tokens)
        if n not in annotated and token
    }
    for label, boxes in zip(prediction.labels, prediction.boxes, strict=True):
        if label in sentence.labels:
            pairs = zip(sentence.labels, sentence.words, strict=True)
            first = min(word for name, word in pairs if name == label)
            yield label, _hit(boxes, sentence, first, iou)
        elif lemmas.get(label, label) not in plain:
            yield label, None


def _recall(
    sentence: GroundedSentence, prediction: GroundedPrediction, iou: float
) -> Iterable[Verdict]:
    labels = list(prediction.labels)
    for label, word in _words(sentence):
        if label in labels:
            yield label, _hit(prediction.boxes[labels.index(label)], sentence, word, iou)
        else:
            yield label, None


def _counted(verdicts: Iterable[Verdict], mode: str) -> list[tuple[str, float]]:
    return [(label, hit or 0.0) for label, hit in verdicts if hit is not None or mode == "all"]


def _rates(verdicts: Iterable[tuple[str, Any]]) -> dict[str, float]:
    by_class = defaultdict(list)
    for label, hit in verdicts:
        by_class[label].append(hit)
    return {label: float(np.mean(hits)) for label, hits in by_class.items()}


def _summary(
    precise: list[list[tuple[str, float]]],
    recalled: list[list[tuple[str, float]]],
    missed: list[Verdict],
    classes: int,
    predicted: int,
) -> dict[str, float]:
    precision = sum(_rates(v for verdicts in precise for v in verdicts).values())
    everything = [*(v for verdicts in recalled for v in verdicts), *missed]
    recall = sum(_rates(everything).values())
    per_sentence = np.array(
        [
            [p := _mean(precision_list), r := _mean(recall_list), _f1(p, r)]
            for precision_list, recall_list in zip(precise, recalled, strict=True)
            if recall_list
        ]
    ).reshape(-1, 3)
    counted = predicted - (len(recalled) - len(per_sentence))
    sums = per_sentence.sum(axis=0) / counted if counted > 0 else np.zeros(3)
    precision, recall = (x / classes if classes else 0.0 for x in (precision, recall))
    return {
        "precision": precision,
        "recall": recall,
        "f1": _f1(precision, recall),
        "precision_per_sent": float(sums[0]),
        "recall_per_sent": float(sums[1]),
        "f1_per_sent": float(sums[2]),
    }


def _mean(verdicts: list[tuple[str, float]]) -> float:
    return float(np.mean([hit for _, hit in verdicts])) if verdicts else 0.0


def _f1(precision: float, recall: float) -> float:
    total = precision + recall
    return 2 * precision * recall / total if total else 0.0
