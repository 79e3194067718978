"""`foveate eval localization`: mean average precision of weights on annotated videos."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from vision.errors import FoveateError
from vision.features import FeatureExtractor
from vision.tasks.localization.data import Track, load_tracks, read_annotations, subset_name
from vision.tasks.localization.floor import FLOORS
from vision.tasks.localization.metrics import (
    ANET_TIOUS,
    THUMOS_TIOUS,
    Database,
    Results,
    detection_map,
)
from vision.tasks.localization.model import LocalizationModel
from vision.tasks.localization.predict import load_model
from vision.tasks.localization.streaming import LiveStream, WindowStream, run_features

LEAST = 1e-3
"""Score from which on actions count, so that precision-recall curves are whole."""

DRAWS = 10
"""Draws of the guesses that need no model."""


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
    of the truth that the weights do not know count as missed. Beside the model stand the guesses
    of `floor.py`, mean of ten draws.

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
        `average_anet` (0.5 to 0.95), `per_class` `{label: average AP}`, `frames` (share of steps
        with the right class), `videos`, `actions`, and `floor` `{guesses: figures}`, where
        `frames` is the share of the commonest class. `delay` is the mean delay in seconds,
        `unknown_classes` are those of the truth that the weights do not know.

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
    if subset is not None:
        subset = subset_name(subset)
    elif "validation" in subsets:
        subset = "validation"
    if subset is not None and subset not in subsets:
        there = ", ".join(filter(None, subsets)) or "none"
        raise FoveateError(f"no subset {subset!r}; there is {there}")
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
    groups = _groups(database)
    if not groups:
        raise FoveateError("no annotated action: nothing to evaluate on")
    wanted = {a["label"] for entry in database.values() for a in entry["annotations"]}
    unknown = sorted(wanted - set(labels))
    extractor = FeatureExtractor(model.config.features, device)
    tracks = load_tracks(database, videos, [*labels, *unknown], extractor)
    results, right, delays = {}, {}, []
    for track in tracks:
        stream = LiveStream(model) if live else WindowStream(model, LEAST)
        found = run_features(stream, list(track.values))
        actions = [f.action(labels, track.start, track.rate) for f in found]
        delays += [a.delay for a in actions]
        results[track.video] = [
            {"segment": [a.start, a.end], "label": a.label, "score": a.score} for a in actions
        ]
        right[track.video] = model.step_classes(track.values) == track.targets()
    report = {}
    for name, members in groups.items():
        truth = {v: {**database[v], "subset": "this"} for v in members}
        mine = [track for track in tracks if track.video in members]
        report[name] = {
            **_precision(truth, {v: results[v] for v in members}, deduplicate),
            "frames": float(np.concatenate([right[v] for v in members]).mean()),
            "videos": len(members),
            "actions": sum(len(e["annotations"]) for e in truth.values()),
            "floor": _floor(truth, mine, deduplicate),
        }
    delay = float(np.mean(delays)) if delays else 0.0
    return {"groups": report, "delay": delay, "unknown_classes": unknown}


def _precision(truth: Database, results: Results, deduplicate: bool) -> dict[str, Any]:
    """Average precision of detections in videos whose subset is `"this"`."""
    report = detection_map(truth, results, THUMOS_TIOUS, subset="this", deduplicate=deduplicate)
    strict = detection_map(truth, results, ANET_TIOUS, subset="this", deduplicate=deduplicate)
    return {
        "mAP": dict(zip([f"{t:.1f}" for t in report.tious], report.map.tolist(), strict=True)),
        "average": report.average,
        "average_anet": strict.average,
        "per_class": dict(zip(report.classes, report.ap.mean(0).tolist(), strict=True)),
    }


def _floor(truth: Database, tracks: Sequence[Track], deduplicate: bool) -> dict[str, Any]:
    """Figures of what needs no model, mean of `DRAWS` draws."""
    spans = {t.video: (t.start, t.start + len(t.values) / t.rate) for t in tracks}
    counts = np.bincount(np.concatenate([t.targets() for t in tracks]))
    commonest = float(counts.max() / counts.sum())
    rows = {}
    for name, guess in FLOORS.items():
        draws = [
            _precision(truth, guess(truth, spans, np.random.default_rng(seed)), deduplicate)
            for seed in range(DRAWS)
        ]
        rows[name] = {**_mean(draws), "frames": commonest}
    return rows


def _mean(figures: Sequence[Any]) -> Any:
    """Mean of numbers, or of dicts that hold the same ones."""
    if isinstance(figures[0], dict):
        return {key: _mean([f[key] for f in figures]) for key in figures[0]}
    return float(np.mean(figures))


def _groups(database: Mapping[str, Mapping[str, Any]]) -> dict[str, list[str]]:
    """Videos by their source, joined copies apart."""
    groups: dict[str, list[str]] = {}
    for video, entry in database.items():
        name = str(entry.get("source") or "videos")
        if "concatenation_of" in entry:
            name += ", joined"
        groups.setdefault(name, []).append(video)
    return {name: v for name, v in groups.items() if any(database[x]["annotations"] for x in v)}
