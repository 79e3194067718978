"""Average precision of detected segments and recall of proposals, as ActivityNet evaluates them.

Truth and results have the forms of ActivityNet's files: a database
`{video: {"subset": ..., "annotations": [{"segment": [start, end], "label": ...}]}}` and results
`{video: [{"segment": [start, end], "label": ..., "score": ...}]}`, in seconds.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from vision.errors import FoveateError
from vision.tasks.localization.suppression import segment_iou

ANET_TIOUS = tuple(np.linspace(0.5, 0.95, 10).tolist())
"""ActivityNet: 0.5 to 0.95 in steps of 0.05."""

THUMOS_TIOUS = tuple(np.linspace(0.3, 0.7, 5).tolist())
"""THUMOS-14: 0.3 to 0.7 in steps of 0.1."""

Database = Mapping[str, Mapping[str, Any]]
Results = Mapping[str, Sequence[Mapping[str, Any]]]


@dataclass(frozen=True)
class DetectionReport:
    """Average precision of detected segments.

    Args:
        tious: T overlaps from which a detection counts.
        classes: C labels of the truth, in the order in which they appear.
        ap: `(T, C)` average precision in [0, 1].
    """

    tious: tuple[float, ...]
    classes: tuple[str, ...]
    ap: NDArray[np.float64]

    @property
    def map(self) -> NDArray[np.float64]:
        """`(T,)` mean over classes."""
        return self.ap.mean(axis=1)

    @property
    def average(self) -> float:
        """Mean over classes and overlaps."""
        return float(self.map.mean())


@dataclass(frozen=True)
class ProposalReport:
    """Recall against the number of proposals a video.

    Args:
        tious: T overlaps from which an action counts as found.
        counts: `(N,)` mean number of proposals a video.
        recall: `(T, N)` in [0, 1].
    """

    tious: tuple[float, ...]
    counts: NDArray[np.float64]
    recall: NDArray[np.float64]

    @property
    def average(self) -> NDArray[np.float64]:
        """`(N,)` mean recall over the overlaps."""
        return self.recall.mean(axis=0)

    def at(self, count: float) -> float:
        """AR@count: mean recall by `count` proposals a video, or by all where there are fewer."""
        reached = np.flatnonzero(self.counts <= count * (1 + 1e-9))
        return float(self.average[reached[-1]]) if len(reached) else 0.0

    @property
    def auc(self) -> float:
        """Area under `average` against `counts`, in percent of a recall of 1 up to the last count.

        The curve starts at the first count, so that a perfect method has 99 with 100 counts.
        """
        return float(100 * np.trapezoid(self.average, self.counts) / self.counts[-1])


def detection_map(
    database: Database,
    results: Results,
    tious: Sequence[float] = ANET_TIOUS,
    *,
    subset: str = "validation",
    deduplicate: bool = False,
    blocked: Collection[str] = (),
) -> DetectionReport:
    """Average precision of detections, by class and overlap.

    Every class's detections are gone through from the best score down. One is right when it
    overlaps an action of its class that no better one has taken. AP is the area under the
    precision envelope (VOC 2010). As ActivityNet's official evaluation, save that detections of
    a label that the truth does not hold are left out, where that one stops. A detection in a
    video outside the subset is wrong; a class without detections has 0.

    Args:
        database: the truth.
        results: the detections.
        tious: overlaps from which a detection counts.
        subset: of the database to evaluate on.
        deduplicate: remove from the truth actions given twice (same label, both ends within a
            millisecond) and those shorter than a millisecond, as OpenTAD and ActionFormer do; it
            changes figures on THUMOS.
        blocked: videos to leave out.

    Raises:
        FoveateError: the subset holds no action.
    """
    truth = _annotations(database, subset, blocked)
    if deduplicate:
        truth = {video: _without_duplicates(actions) for video, actions in truth.items()}
    classes = list(dict.fromkeys(a["label"] for actions in truth.values() for a in actions))
    if not classes:
        raise FoveateError(f"no annotated action in subset {subset!r}: nothing to evaluate on")
    ap = [
        _average_precision(
            {v: [a["segment"] for a in actions if a["label"] == c] for v, actions in truth.items()},
            [
                (video, result)
                for video, found in results.items()
                for result in found
                if video not in blocked and result["label"] == c
            ],
            np.asarray(tious),
        )
        for c in classes
    ]
    return DetectionReport(tuple(tious), tuple(classes), np.stack(ap, axis=1))


def proposal_recall(
    database: Database,
    results: Results,
    tious: Sequence[float] = ANET_TIOUS,
    *,
    subset: str = "validation",
    max_proposals: float | None = 100,
    blocked: Collection[str] = (),
) -> ProposalReport:
    """Recall of class-agnostic proposals against their mean number, at 100 numbers.

    The videos share `max_proposals` a video in proportion to how many proposals each has. As
    ActivityNet's official evaluation.

    Args:
        database: the truth.
        results: the proposals; labels are not read.
        tious: overlaps from which an action counts as found.
        subset: of the database to evaluate on.
        max_proposals: largest mean number of proposals a video; None for as many as there are.
        blocked: videos to leave out.

    Raises:
        FoveateError: the subset holds no action, or no video of it has a proposal.
    """
    truth = {v: a for v, a in _annotations(database, subset, blocked).items() if a}
    offered = sum(len(found) for video, found in results.items() if video not in blocked)
    if not truth or not any(results.get(video) for video in truth):
        raise FoveateError(f"no annotated action or no proposal in subset {subset!r}")
    budget = offered if max_proposals is None else max_proposals * len(truth)
    overlaps = []
    for video, actions in truth.items():
        found = _by_score(results.get(video, ()))
        found = found[: int(len(found) * (budget / offered))]
        segments = [p["segment"] for p in found]
        overlaps.append(segment_iou([a["segment"] for a in actions], segments))
    kept = sum(o.shape[1] for o in overlaps)
    if not kept:
        raise FoveateError(f"too few proposals in subset {subset!r} to share between its videos")
    parts = np.arange(1, 101) / 100 * (budget / kept)
    levels = np.asarray(tious)
    matched = np.zeros((len(levels), len(parts)))
    for o in overlaps:
        # best overlap of each action among the first 0, 1, 2, ... proposals
        best = np.maximum.accumulate(np.pad(o, ((0, 0), (1, 0)), constant_values=-1), axis=1)
        used = np.minimum((o.shape[1] * parts).astype(int), o.shape[1])
        matched += (best[None, :, used] >= levels[:, None, None]).sum(axis=1)
    recall = matched / sum(o.shape[0] for o in overlaps)
    return ProposalReport(tuple(tious), parts * (kept / len(truth)), recall)


def _annotations(
    database: Database, subset: str, blocked: Collection[str]
) -> dict[str, list[Mapping[str, Any]]]:
    return {
        video: list(entry["annotations"])
        for video, entry in database.items()
        if entry["subset"] == subset and video not in blocked
    }


def _without_duplicates(
    actions: Sequence[Mapping[str, Any]], tolerance: float = 1e-3
) -> list[Mapping[str, Any]]:
    kept: list[Mapping[str, Any]] = []
    for action in actions:
        start, end = action["segment"]
        double = any(
            action["label"] == other["label"]
            and abs(start - other["segment"][0]) <= tolerance
            and abs(end - other["segment"][1]) <= tolerance
            for other in kept
        )
        if not double and end - start >= tolerance:
            kept.append(action)
    return kept


def _by_score(results: Sequence[Any]) -> list[Any]:
    """Best first; equal scores in the order of the official evaluation's `argsort()[::-1]`."""
    order = np.array([r["score"] for r in results], dtype=np.float64).argsort()[::-1]
    return [results[i] for i in order]


def _average_precision(
    truth: Mapping[str, Sequence[Sequence[float]]],
    results: Sequence[tuple[str, Mapping[str, Any]]],
    tious: NDArray[np.float64],
) -> NDArray[np.float64]:
    """`(T,)` AP of one class: the segments of each video against all its results."""
    order = np.array([r["score"] for _, r in results], dtype=np.float64).argsort()[::-1]
    right = np.zeros((len(tious), len(results)))
    free = {video: np.ones((len(tious), len(s)), dtype=bool) for video, s in truth.items() if s}
    levels = np.arange(len(tious))
    for rank, i in enumerate(order):
        video, result = results[i]
        if video not in free:
            continue
        overlap = segment_iou(result["segment"], truth[video])[0]
        nearest = overlap.argsort()[::-1]
        candidates = np.where(free[video][:, nearest], overlap[nearest], -1)
        choice = candidates.argmax(axis=1)
        hit = candidates[levels, choice] >= tious
        right[hit, rank] = 1
        free[video][levels[hit], nearest[choice[hit]]] = False
    total = sum(len(segments) for segments in truth.values())
    return np.array([_area(row, total) for row in right])


def _area(right: NDArray[np.float64], total: int) -> float:
    """Area under the precision envelope over recall."""
    hits = right.cumsum()
    precision = np.concatenate([[0], hits / np.arange(1, len(right) + 1), [0]])
    recall = np.concatenate([[0], hits / total, [1]])
    envelope = np.maximum.accumulate(precision[::-1])[::-1]
    return float((np.diff(recall) * envelope[1:]).sum())
