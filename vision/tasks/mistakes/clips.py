"""From pixels to steps on annotated clips: what a recogniser is chosen and measured by."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch

from vision.errors import FoveateError
from vision.tasks.mistakes.aggregate import (
    Windows,
    aggregate,
    levenshtein_similarity,
    runs,
    window_frames,
)
from vision.tasks.mistakes.data import ClipSet
from vision.tasks.mistakes.encoders import Encoder
from vision.tasks.mistakes.oad import mean, per_frame
from vision.tasks.mistakes.predict import MistakeChecker
from vision.tasks.mistakes.recognition import MiniROAD


@dataclass(frozen=True)
class RecognisedClip:
    """Steps of a clip by name: those recognised, and the true ones."""

    id: str
    kind: tuple[str, ...]
    steps: tuple[str, ...]
    truth: tuple[str, ...]
    ends_with_mistake: bool


def recognise_clips(
    checker: MistakeChecker, annotations: Path, videos: Path, split: str
) -> tuple[list[RecognisedClip], dict[str, float]]:
    """Run a recogniser over the annotated clips of a split.

    Args:
        checker: the recogniser.
        annotations: see `ClipSet`.
        videos: folder with `<id>.mp4`.
        split: key of the annotation file.

    Returns:
        The steps of each clip, and per-frame mAP and mcAP without background and the mean
        Levenshtein similarity of the steps, all in [0, 1].

    Raises:
        FoveateError: files that are missing, or other classes than the recogniser's.
    """
    clip_set, config = ClipSet.read(annotations), checker.config
    if clip_set.classes != config.classes:
        raise FoveateError(f"{annotations} has other classes than the weights {checker.name!r}")
    clips = clip_set.clips(split, videos, checker.encoder)
    scores = [frame_scores(checker.model, checker.encoder, clip.looks) for clip in clips]
    found = [recognised_steps(checker, s) for s in scores]
    background = [config.classes.index(name) for name in config.background]
    target = np.eye(len(config.classes))[np.concatenate([clip.labels for clip in clips])]
    rows = np.concatenate(scores)
    pairs = zip(found, clips, strict=True)
    figures = {
        "mAP": mean(per_frame(rows, target, metric="AP", ignore=background)),
        "mcAP": mean(per_frame(rows, target, metric="cAP", ignore=background)),
        "levenshtein": float(
            np.mean([levenshtein_similarity(ours, clip.steps) for ours, clip in pairs])
        ),
    }
    names = config.classes
    return [
        RecognisedClip(
            id=clip.id,
            kind=() if clip.variant is None else (clip.variant,),
            steps=tuple(names[k] for k in ours),
            truth=tuple(names[k] for k in clip.steps),
            ends_with_mistake=clip.ends_with_mistake,
        )
        for ours, clip in zip(found, clips, strict=True)
    ], figures


@torch.inference_mode()
def frame_scores(model: MiniROAD, encoder: Encoder, looks: np.ndarray) -> np.ndarray:
    """Class probabilities `(T, K)` of a whole clip, `looks` being what the encoder kept of it."""
    training = model.training
    features = torch.from_numpy(encoder.encode(looks)[0])[None]
    device = next(model.parameters()).device
    scores = model.eval()(features.to(device)).logits[0].softmax(-1)
    model.train(training)
    return scores.cpu().numpy()


def recognised_steps(checker: MistakeChecker, scores: np.ndarray) -> list[int]:
    """Classes of the steps of a whole clip from its class probabilities `(T, K)`."""
    config = checker.config
    background = [config.classes.index(name) for name in config.background]
    length = window_frames(config.window, checker.encoder.rate)
    return steps_of(aggregate(scores.argmax(1), length, config.windows), background)


def choose_window(
    scores: Sequence[np.ndarray],
    steps: Sequence[Sequence[int]],
    candidates: Sequence[float],
    windows: Windows,
    rate: float,
    background: Collection[int],
) -> tuple[float, dict[float, float]]:
    """The window whose steps are most like the true ones, the shortest of equally good ones.

    Args:
        scores: class probabilities `(T, K)` of each training clip.
        steps: true steps of each, without background.
        candidates: lengths to choose from in seconds.
        windows: kind of window.
        rate: frames a second.
        background: classes that are no step.

    Returns:
        Seconds, and the mean Levenshtein similarity of every length.
    """
    table = {}
    for seconds in candidates:
        length = window_frames(seconds, rate)
        found = [steps_of(aggregate(s.argmax(1), length, windows), background) for s in scores]
        pairs = zip(found, steps, strict=True)
        table[seconds] = float(np.mean([levenshtein_similarity(a, b) for a, b in pairs]))
    return max(table, key=lambda seconds: (table[seconds], -seconds)), table


def steps_of(labels: Iterable[int], background: Collection[int]) -> list[int]:
    """Steps of aggregated labels: without background, equal ones in a row as one."""
    return [run.label for run in runs(label for label in labels if label not in background)]
