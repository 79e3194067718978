"""`foveate eval localization`: mean average precision of weights on annotated videos."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np

from vision.errors import FoveateError
from vision.features import FeatureExtractor
from vision.tasks.localization.data import load_tracks, read_annotations
from vision.tasks.localization.metrics import ANET_TIOUS, THUMOS_TIOUS, detection_map
from vision.tasks.localization.model import LocalizationModel
from vision.tasks.localization.predict import load_model
from vision.tasks.localization.streaming import LiveStream, WindowStream, run_features

LEAST = 1e-3
"""Score from which on actions count, so that precision-recall curves are whole."""


def evaluate(
    weights: str | None,
    *,
    annotations: Path,
    videos: Path,
    subset: str | None = None,
    live: bool = False,
    deduplicate: bool = False,
    device: str | None = None,
) -> dict[str, Any]:
    """Run a localizer over annotated videos and compare.

    Videos go through the same stream as live ones; features are computed once and kept. Classes
    of the truth that the weights do not know count as missed.

    Args:
        weights: catalogue name or path; the default localizer when None.
        annotations: ActivityNet-style file.
        videos: folder of its videos.
        subset: of the annotations; when None, `"validation"` where there is one, else all.
        live: measure the causal per-frame head.
        deduplicate: remove from the truth what is given twice, as OpenTAD and ActionFormer do.
        device: where features are made.

    Returns:
        `groups` `{name: figures}`, one a source of videos (`source`) and one of joined copies
        (`concatenation_of`); figures hold `mAP` `{tIoU: value}` for 0.3 to 0.7, `average`,
        `average_anet` (0.5 to 0.95), `frames` (share of steps with the right class), `videos`,
        `actions` and `per_class` `{label: average AP}`. `delay` is the mean delay in seconds.

    Raises:
        FoveateError: files that are missing or of another form, or nothing to evaluate on.
    """
    model, labels, _ = load_model(weights)
    database = choose(read_annotations(annotations), subset)
    return measure(
        model, labels, database, videos, live=live, deduplicate=deduplicate, device=device
    )


def choose(
    database: Mapping[str, Mapping[str, Any]], subset: str | None
) -> dict[str, dict[str, Any]]:
    """The videos of a subset; see `evaluate`."""
    subsets = sorted({entry["subset"] for entry in database.values()})
    if subset is None and "validation" in subsets:
        subset = "validation"
    if subset is not None and subset not in subsets:
        raise FoveateError(f"no subset {subset!r}; there is {', '.join(subsets)}")
    return {v: dict(e) for v, e in database.items() if subset in (None, e["subset"])}


def measure(
    model: LocalizationModel,
    labels: list[str],
    database: Mapping[str, dict[str, Any]],
    videos: Path,
    *,
    live: bool = False,
    deduplicate: bool = False,
    device: str | None = None,
) -> dict[str, Any]:
    """What `evaluate` returns, of a model and chosen videos."""
    extractor = FeatureExtractor(model.config.features, device)
    tracks = load_tracks(database, videos, labels, extractor)
    results, right, delays = {}, {}, []
    for track in tracks:
        stream = LiveStream(model) if live else WindowStream(model, LEAST)
        found = run_features(stream, list(track.values))
        start = track.start
        actions = [f.action(labels, start, track.rate) for f in found]
        delays += [a.delay for a in actions]
        results[track.video] = [
            {"segment": [a.start, a.end], "label": a.label, "score": a.score} for a in actions
        ]
        likely = model.step_classes(track.values)
        right[track.video] = likely == track.targets()
    groups = {}
    for name, members in _groups(database).items():
        truth = {v: {**database[v], "subset": "this"} for v in members}
        mine = {v: results[v] for v in members}
        report = detection_map(truth, mine, THUMOS_TIOUS, subset="this", deduplicate=deduplicate)
        strict = detection_map(truth, mine, ANET_TIOUS, subset="this", deduplicate=deduplicate)
        groups[name] = {
            "mAP": dict(zip([f"{t:.1f}" for t in report.tious], report.map.tolist(), strict=True)),
            "average": report.average,
            "average_anet": strict.average,
            "frames": float(np.concatenate([right[v] for v in members]).mean()),
            "videos": len(members),
            "actions": sum(len(e["annotations"]) for e in truth.values()),
            "per_class": dict(zip(report.classes, report.ap.mean(0).tolist(), strict=True)),
        }
    return {"groups": groups, "delay": float(np.mean(delays)) if delays else 0.0}


def _groups(database: Mapping[str, Mapping[str, Any]]) -> dict[str, list[str]]:
    """Videos by their source, joined copies apart."""
    groups: dict[str, list[str]] = {}
    for video, entry in database.items():
        name = str(entry.get("source", "videos"))
        if "concatenation_of" in entry:
            name += ", joined"
        groups.setdefault(name, []).append(video)
    return {name: v for name, v in groups.items() if any(database[x]["annotations"] for x in v)}
