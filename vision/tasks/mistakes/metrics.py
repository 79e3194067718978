"""How well mistakes are told: counts, shares that do not depend on how frequent they are, AUC."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from typing import Any

import numpy as np
from numpy.typing import ArrayLike
from scipy.stats import rankdata


def flag_metrics(mistakes: ArrayLike, flags: ArrayLike) -> dict[str, float]:
    """Compare flags with mistakes; the positive class is "mistake".

    Args:
        mistakes: for each step whether it is one.
        flags: for each step whether it was flagged.

    Returns:
        `tp`, `fp`, `fn`, `tn`, `precision`, `recall`, `f1`, `accuracy`, `balanced_precision`
        TPR / (TPR + FPR), `f1b`, its harmonic mean with recall, `youden` TPR - FPR, and `mean_f1`
        of correct steps and mistakes. A share of nothing is 0.
    """
    truth, said = np.asarray(mistakes, bool), np.asarray(flags, bool)
    tp, fp = int((truth & said).sum()), int((~truth & said).sum())
    fn, tn = int((truth & ~said).sum()), int((~truth & ~said).sum())
    recall, false_alarms = _share(tp, tp + fn), _share(fp, fp + tn)
    precision = _share(tp, tp + fp)
    balanced = _share(recall, recall + false_alarms)
    f1 = _mean(precision, recall)
    return {
        "tp": tp,
        "fp": fp,
        "fn": fn,
        "tn": tn,
        "precision": precision,
        "recall": recall,
        "f1": f1,
        "accuracy": _share(tp + tn, len(truth)),
        "balanced_precision": balanced,
        "f1b": _mean(balanced, recall),
        "youden": recall - false_alarms,
        "mean_f1": (f1 + _mean(_share(tn, tn + fn), _share(tn, tn + fp))) / 2,
    }


def set_metrics(
    steps: Mapping[str, Sequence[int]], sets: Mapping[str, Sequence[Collection[Any]]]
) -> dict[str, float]:
    """The published measure of videos that end with their only mistake (PREGO).

    A step matches when it is among those anticipated for it. Every last step is the mistake,
    whatever was expected.

    Args:
        steps: of each video, the steps done.
        sets: of each video and step, the anticipated ones.

    Returns:
        `flag_metrics`, and `ratio`, `count` and `samples`: matches over steps, and both numbers.
    """
    mistakes, flags = [], []
    for video, done in steps.items():
        for place, (step, expected) in enumerate(zip(done, sets[video], strict=True)):
            mistakes.append(place == len(done) - 1)
            flags.append(step not in expected)
    matches = flags.count(False)
    return {
        **flag_metrics(mistakes, flags),
        "ratio": _share(matches, len(flags)),
        "count": matches,
        "samples": len(flags),
    }


def auc(mistakes: ArrayLike, surprise: ArrayLike) -> float:
    """Chance that a mistake surprises more than a correct step, ties counting half.

    Returns:
        0 to 1; NaN where there are no mistakes or no correct steps.
    """
    truth = np.asarray(mistakes, bool)
    positives, negatives = int(truth.sum()), int((~truth).sum())
    if not positives or not negatives:
        return float("nan")
    ranks = rankdata(surprise)[truth].sum()
    return float((ranks - positives * (positives + 1) / 2) / (positives * negatives))


def _share(part: float, whole: float) -> float:
    return part / whole if whole else 0.0


def _mean(a: float, b: float) -> float:
    """Harmonic mean."""
    return _share(2 * a * b, a + b)
