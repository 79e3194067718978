"""`foveate eval mistakes`: anticipators on executions with mistakes, beside what needs no model."""

from __future__ import annotations

import math
import re
from collections.abc import Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np

from vision.tasks.mistakes.anticipation import DEFAULT, Anticipator, make_anticipator
from vision.tasks.mistakes.anticipation.calibrate import MOST
from vision.tasks.mistakes.benchmarks import load_benchmark
from vision.tasks.mistakes.metrics import auc, flag_metrics
from vision.tasks.mistakes.procedure import Procedure, Trial
from vision.tasks.mistakes.settings import settings_of

NOTHING = "(no step was recognised)"
"""Stands for the steps of a video in which none was found; never flagged."""

YARDSTICKS = ("one-step", "preconditions")
"""Anticipators that are always measured beside the chosen ones."""


def evaluate(
    weights: str | None,
    *,
    data: str,
    train: str | None = None,
    videos: Path | None = None,
    anticipators: Sequence[str] | None = None,
    **options: Any,
) -> dict[str, Any]:
    """Measure anticipators on executions: on their true steps, or on steps recognised in video.

    Args:
        weights: recogniser of `videos`, by name or path; the default one when None.
        data: see `load_benchmark`.
        train: another source of correct executions.
        videos: folder with `<id>.mp4` of the test clips that the file `data` annotates, to
            measure from pixels; the last step recognised in a clip counts as its mistake.
        anticipators: names; the default one when None.
        options: settings of the anticipators, see `settings_of`.

    Returns:
        Numbers of `executions`, `steps`, `mistakes`, of mistakes at the first step and of known
        verbs, `recognition` figures where there are videos, and `rows`: `{name: metrics}` with
        `auc` where there is a ranking.

    Raises:
        FoveateError: no such data, nothing to learn from, or no such anticipator.
    """
    procedure = load_benchmark(data, train)
    recognition = None
    if videos is not None:
        trials, recognition = _recognised(weights, Path(data), videos)
        procedure = procedure.model_copy(update={"trials": trials})
    mistakes = np.array([i in t.mistakes for t in procedure.trials for i in range(len(t.steps))])
    told = _verb_unseen(procedure)
    report = {
        "data": data,
        "executions": len(procedure.trials),
        "examples": len(procedure.examples),
        "steps": len(mistakes),
        "mistakes": int(mistakes.sum()),
        "first_step_mistakes": sum(0 in t.mistakes for t in procedure.trials),
        "known_verb_mistakes": int((mistakes & ~told).sum()),
    }
    measure = partial(_measure, mistakes, told)
    rows = {"always flag": measure(np.ones(len(told), bool), None)}
    if (mistakes & told).any():
        rows["flag unseen verbs"] = measure(told, None)
    for name in dict.fromkeys((*YARDSTICKS, *(anticipators or (DEFAULT,)))):
        made = _Parts(procedure, name, settings_of(name, options))
        flags, surprise = made.judge()
        rows[name] = measure(flags, surprise) | made.notes()
    return report | {"recognition": recognition, "rows": rows}


def _recognised(
    weights: str | None, annotations: Path, videos: Path
) -> tuple[tuple[Trial, ...], dict[str, float]]:
    """Trials of the steps recognised in clips, and how well they were recognised."""
    from vision.tasks.mistakes.clips import recognise_clips
    from vision.tasks.mistakes.predict import MistakeChecker

    checker = MistakeChecker.from_weights(weights)
    clips, figures = recognise_clips(checker, annotations, videos, "test")
    trials = [
        Trial(
            steps=clip.steps or (NOTHING,),
            mistakes=(max(len(clip.steps) - 1, 0),) if clip.ends_with_mistake else (),
            id=clip.id,
            kind=clip.kind,
        )
        for clip in clips
    ]
    return tuple(trials), figures


class _Parts:
    """An anticipator for every part of a procedure that has steps of its own."""

    def __init__(self, procedure: Procedure, name: str, settings: Mapping[str, Any]) -> None:
        self.procedure, self.name, self.settings = procedure, name, settings
        self.made: dict[tuple[str, ...], Anticipator] = {}

    def judge(self) -> tuple[np.ndarray, np.ndarray]:
        """(N,) flags and surprise at all steps of all trials."""
        flags, surprises = [], []
        for trial in self.procedure.trials:
            anticipator = self._for(trial.kind)
            for place, step in enumerate(trial.steps):
                if step == NOTHING:
                    surprise = -MOST
                else:
                    surprise = anticipator.surprise(trial.steps[:place], step)
                flags.append(surprise > anticipator.threshold)
                surprises.append(min(surprise, MOST))
        return np.array(flags), np.array(surprises)

    def notes(self) -> dict[str, Any]:
        """Thresholds where there is one, and how often a language model gave no answer."""
        notes: dict[str, Any] = {}
        if len(self.made) == 1:
            notes["threshold"] = _number(next(iter(self.made.values())).threshold)
        asked = sum(getattr(a, "asked", 0) for a in self.made.values())
        if asked:
            notes["answers"] = asked
            notes["no_prediction"] = sum(getattr(a, "unanswered", 0) for a in self.made.values())
        return notes

    def _for(self, kind: Sequence[str]) -> Anticipator:
        part = self.procedure.part(kind)
        if part.steps not in self.made:
            self.made[part.steps] = make_anticipator(self.name, part, **self.settings)
        return self.made[part.steps].of_kind(kind)


def _measure(
    mistakes: np.ndarray, told: np.ndarray, flags: np.ndarray, surprise: np.ndarray | None
) -> dict[str, Any]:
    """Metrics of one row; `told` marks steps that their verb alone gives away."""
    subtle = mistakes & ~told
    row: dict[str, Any] = dict(flag_metrics(mistakes, flags))
    row["recall_known_verbs"] = float(flags[subtle].mean()) if subtle.any() else None
    if surprise is not None:
        row["auc"] = _number(auc(mistakes, surprise))
        kept = ~(mistakes & told)
        row["auc_known_verbs"] = _number(auc(mistakes[kept], surprise[kept]))
    return row


def _number(value: float) -> float | None:
    """None for what JSON has no number for."""
    return value if math.isfinite(value) else None


def _verb_unseen(procedure: Procedure) -> np.ndarray:
    """(N,) whether the verb of a trial's step, its first word, is in no example."""
    known = {_verb(s) for e in procedure.examples for s in e.steps} | {_verb(NOTHING)}
    return np.array([_verb(s) not in known for t in procedure.trials for s in t.steps])


def _verb(step: str) -> str:
    return re.split(r"[\s_-]+", step.strip(" -_").lower())[0]
