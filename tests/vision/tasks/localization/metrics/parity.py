"""Parity of suppression, proposals and metrics with recorded runs of the published code."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import numpy as np

from tests.parity import EXACT, Adapter, Check, Fixture
from vision.tasks.localization.metrics import (
    ANET_TIOUS,
    DetectionReport,
    detection_map,
    proposal_recall,
)
from vision.tasks.localization.proposals import proposals_duration_start, proposals_start_end
from vision.tasks.localization.suppression import batched_nms, soft_nms_bsn

METRIC = 1e-9
METHODS = ("hard", "linear", "gaussian", "gated")


def check_soft_nms(fixture: Fixture) -> Iterator[Check]:
    """Segments and scores in the order in which they are taken."""
    for i, case in enumerate(fixture.data["cases"]):
        given, wanted, params = case["input"], case["output"], case["params"]
        segments, scores = soft_nms_bsn(
            np.stack([given["xmin"], given["xmax"]], axis=1),
            given["score"],
            alpha=params["alpha"],
            low=params["t1"],
            high=params["t2"],
            keep=101,
            variant="bmn-pytorch",
        )
        yield Check(f"{i} starts", segments[:, 0].tolist(), wanted["xmin"], METRIC)
        yield Check(f"{i} ends", segments[:, 1].tolist(), wanted["xmax"], METRIC)
        yield Check(f"{i} scores", scores.tolist(), wanted["score"], METRIC)


def check_batched_nms(fixture: Fixture) -> Iterator[Check]:
    """Segments, scores and labels."""
    for i, case in enumerate(fixture.data["cases"]):
        given, wanted, params = case["input"], case["output"], case["params"]
        soft = params.get("use_soft_nms", True)
        segments, scores, labels = batched_nms(
            given["segments"],
            given["scores"],
            given["labels"],
            method=METHODS[params.get("method", 2)] if soft else "hard",
            iou=params.get("iou_threshold", 0.0),
            sigma=params.get("sigma", 0.5),
            min_score=params.get("min_score", 0.0),
            keep=params.get("max_seg_num", 100),
            multiclass=params.get("multiclass", True),
            voting=params.get("voting_thresh", 0.0),
            gate=(params.get("t1", 0.0), params.get("t2", 0.0)),
        )
        yield Check(f"{i} segments", segments, wanted["segments"], METRIC)
        yield Check(f"{i} scores", scores, wanted["scores"], METRIC)
        yield Check(f"{i} labels", labels.tolist(), wanted["labels"], EXACT)


def check_start_end(fixture: Fixture) -> Iterator[Check]:
    """Maps of the start, end layout to proposals."""
    for i, case in enumerate(fixture.data["cases"]):
        segments, scores = proposals_start_end(**_maps(case))
        yield from _proposals(i, case, segments, scores)


def check_duration_start(fixture: Fixture) -> Iterator[Check]:
    """Maps of the duration, start layout to proposals."""
    for i, case in enumerate(fixture.data["cases"]):
        segments, scores = proposals_duration_start(**_maps(case), keep=case["top_k"])
        yield from _proposals(i, case, segments, scores)


def check_detection(fixture: Fixture) -> Iterator[Check]:
    """Average precision, with duplicates in the truth and without."""
    for i, case in enumerate(fixture.data["cases"]):
        wanted = case["expected"]
        database, results, tious = case["database"], case["results"], wanted["tiou"]
        report = detection_map(database, results, tious)
        yield Check(f"{i} classes", list(report.classes), wanted["classes"], EXACT)
        yield Check(f"{i} AP", report.ap, wanted["ap"], METRIC)
        yield from _means(f"{i} ", report, wanted, "")
        single = detection_map(database, results, tious, deduplicate=True)
        yield from _means(f"{i} ", single, wanted, "dedup_")


def check_proposals(fixture: Fixture) -> Iterator[Check]:
    """Recall and its area."""
    for i, case in enumerate(fixture.data["cases"]):
        wanted = case["expected"]
        most = wanted["max_avg_nr_proposals"]
        tious = wanted.get("tiou", ANET_TIOUS)
        report = proposal_recall(case["database"], case["results"], tious, max_proposals=most)
        # the official AR@k is column k - 1, whatever number of proposals stands there
        recall = {k: report.average[int(k) - 1] for k in wanted["AR"]}
        yield Check(f"{i} AR", recall, wanted["AR"], METRIC)
        yield Check(f"{i} recall", report.average, wanted["avg_recall"], METRIC)
        yield Check(f"{i} counts", report.counts, wanted["proposals_per_video"], METRIC)
        area = report.auc * report.counts[-1] / 100
        yield Check(f"{i} area", area, wanted["area"], METRIC)
        yield Check(f"{i} AUC", report.auc, wanted["AUC_percent"], METRIC)
        yield Check(f"{i} last recall", report.recall[:, -1], wanted["recall_at_tiou"], METRIC)


def _maps(case: dict[str, Any]) -> dict[str, Any]:
    arrays = {
        "start": case["start"],
        "end": case["end"],
        "classification": case["cls_map"],
        "regression": case["reg_map"],
    }
    return {
        **{name: np.asarray(value, dtype=np.float32) for name, value in arrays.items()},
        "frames": case["duration_frame"],
        "seconds": case["duration_second"],
    }


def _proposals(
    i: int, case: dict[str, Any], segments: np.ndarray, scores: np.ndarray
) -> Iterator[Check]:
    wanted = case["final"]
    yield Check(f"{i} scores", scores, [p["score"] for p in wanted], METRIC)
    yield Check(f"{i} segments", segments, [p["segment"] for p in wanted], METRIC)


def _means(
    start: str, report: DetectionReport, wanted: dict[str, Any], name: str
) -> Iterator[Check]:
    yield Check(f"{start}{name}mAP", report.map, wanted[f"{name}mAP"], METRIC)
    average = wanted[f"{name}average_mAP"]
    yield Check(f"{start}{name}average mAP", report.average, average, METRIC)


PREFIXES: dict[str, Adapter] = {
    "metric_localization_softnms": check_soft_nms,
    "metric_localization_batched_nms": check_batched_nms,
    "metric_localization_infer_se": check_start_end,
    "metric_localization_infer_ds": check_duration_start,
    "metric_localization_detection": check_detection,
    "metric_localization_proposals": check_proposals,
}
