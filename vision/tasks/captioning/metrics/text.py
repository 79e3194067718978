"""Scores of captions by pycocoevalcap: BLEU, CIDEr, ROUGE-L, and METEOR where Java is installed."""

from __future__ import annotations

import importlib.util
import shutil
from collections.abc import Callable, Hashable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cache, partial
from typing import Any

import numpy as np
from numpy.typing import NDArray

from vision.errors import FoveateError
from vision.tasks.captioning.metrics.tokens import tokenize

ORDERS = 4
"""BLEU counts runs of 1 to 4 words."""

Statistic = Callable[[NDArray[np.intp]], float]
"""A score of a sample of the images, given by index."""


@dataclass(frozen=True)
class CaptionScores:
    """Scores of one caption an image. Tables of the field show a hundred times these.

    Args:
        scores: `B@1` to `B@4`, `CIDEr`, `ROUGE_L` and, where Java is installed, `METEOR`.
        per_image: the same for each image, in the order of the references.
        intervals: 95 % bootstrap intervals over images, where asked for. The document
            frequencies of CIDEr stay those of all images.
    """

    scores: dict[str, float]
    per_image: dict[str, list[float]]
    intervals: dict[str, tuple[float, float]] = field(default_factory=dict)


def caption_scores(
    references: Mapping[Hashable, Sequence[str]],
    hypotheses: Mapping[Hashable, str],
    *,
    meteor: bool | None = None,
    bootstrap: int = 0,
    seed: int = 0,
) -> CaptionScores:
    """Score one caption an image against its reference captions.

    Texts are tokenised by `tokenize`, so that only METEOR needs Java. CIDEr takes its document
    frequencies from the references given: with few images it is higher than on all of COCO, and
    with one image it is 0.

    Args:
        references: for each image one caption or more.
        hypotheses: for each of the same images a caption, which may be empty.
        meteor: whether to compute METEOR; None does where Java is installed.
        bootstrap: resamples of the images for `intervals`, such as 1000; 0 for none.
        seed: of the resampling.

    Raises:
        FoveateError: pycocoevalcap is not installed, METEOR is asked for without Java, there is
            no image, an image lacks its caption or its references, or no reference has a word.
    """
    _require(references, hypotheses, meteor)
    from pycocoevalcap.bleu.bleu_scorer import BleuScorer
    from pycocoevalcap.cider.cider import Cider
    from pycocoevalcap.rouge.rouge import Rouge

    truth = {key: [tokenize(text) for text in texts] for key, texts in references.items()}
    given = {key: [tokenize(hypotheses[key])] for key in references}
    if not any(text for texts in truth.values() for text in texts):
        raise FoveateError("no reference has a word: nothing to score captions against")
    scores: dict[str, float] = {}
    per_image: dict[str, NDArray[np.float64]] = {}
    statistics: dict[str, Statistic] = {}

    bleu = BleuScorer(n=ORDERS)
    for key, texts in truth.items():
        bleu += (given[key][0], texts)
    total, by_image = bleu.compute_score(option="closest")
    counts = _bleu_counts(bleu)
    for n in range(ORDERS):
        name = f"B@{n + 1}"
        scores[name], per_image[name] = float(total[n]), np.array(by_image[n])
        statistics[name] = partial(_bleu_of_sample, counts, n)

    means = {"CIDEr": Cider(), "ROUGE_L": Rouge()}
    if meteor or (meteor is None and shutil.which("java")):
        means["METEOR"] = _meteor()
    for name, metric in means.items():
        score, values = metric.compute_score(truth, given)
        scores[name], per_image[name] = float(score), np.array(values)
        statistics[name] = partial(_mean_of_sample, per_image[name])

    return CaptionScores(
        scores,
        {name: values.tolist() for name, values in per_image.items()},
        _intervals(statistics, len(truth), bootstrap, seed),
    )


def _require(
    references: Mapping[Hashable, Sequence[str]],
    hypotheses: Mapping[Hashable, str],
    meteor: bool | None,
) -> None:
    if importlib.util.find_spec("pycocoevalcap") is None:
        raise FoveateError("caption scores need pycocoevalcap: pip install 'foveate[captions]'")
    if meteor and not shutil.which("java"):
        raise FoveateError("METEOR needs Java: install a Java runtime, or leave METEOR out")
    if not references:
        raise FoveateError("no image to score captions of")
    for key, texts in references.items():
        if key not in hypotheses:
            raise FoveateError(f"image {key}: no caption to score")
        if not texts:
            raise FoveateError(f"image {key}: no reference caption")


@cache
def _meteor() -> Any:
    """One process for all: it reads its tables for ten seconds."""
    from pycocoevalcap.meteor.meteor import Meteor

    return Meteor()


def _bleu_counts(scorer: Any) -> NDArray[np.float64]:
    """`(images, 2 + 2 * ORDERS)`: length, closest reference length, right and all runs by order."""
    rows = []
    for counts in scorer.ctest:
        length = counts["testlen"]
        closest = min((abs(n - length), n) for n in counts["reflen"])[1]
        rows.append([length, closest, *counts["correct"], *counts["guess"]])
    return np.array(rows, dtype=np.float64)


def _mean_of_sample(values: NDArray[np.float64], sample: NDArray[np.intp]) -> float:
    return float(values[sample].mean())


def _bleu_of_sample(counts: NDArray[np.float64], n: int, sample: NDArray[np.intp]) -> float:
    """BLEU of n + 1 words from the sums of `_bleu_counts`, with pycocoevalcap's constants."""
    sums = counts[sample].sum(axis=0)
    length, closest = sums[:2]
    right, runs = sums[2 : 3 + n], sums[2 + ORDERS : 3 + ORDERS + n]
    precision = ((right + 1e-15) / (runs + 1e-9)).prod() ** (1 / (n + 1))
    ratio = (length + 1e-15) / (closest + 1e-9)
    return float(precision * (np.exp(1 - 1 / ratio) if ratio < 1 else 1))


def _intervals(
    statistics: Mapping[str, Statistic], images: int, resamples: int, seed: int
) -> dict[str, tuple[float, float]]:
    if not resamples:
        return {}
    samples = np.random.default_rng(seed).integers(images, size=(resamples, images))
    intervals = {}
    for name, statistic in statistics.items():
        low, high = np.percentile([statistic(sample) for sample in samples], (2.5, 97.5))
        intervals[name] = (float(low), float(high))
    return intervals
