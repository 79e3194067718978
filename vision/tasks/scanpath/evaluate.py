"""`foveate eval scanpath`: a model beside viewers, habits, saliency and chance."""

from __future__ import annotations

import math
from collections import defaultdict
from collections.abc import Callable, Sequence
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from vision.images import ImageStore
from vision.tasks.scanpath.baselines import (
    Habits,
    centre_path,
    random_path,
    saliency_path,
    target_path,
)
from vision.tasks.scanpath.data import Seen, collate, look_at_pictures, make_sample, objects_of
from vision.tasks.scanpath.losses import step_likelihood
from vision.tasks.scanpath.metrics import (
    MULTIMATCH_NAMES,
    ScanMatch,
    behaviour_delta,
    edit_distances,
    mean_behaviour,
    multimatch,
    sequence_scores,
)
from vision.tasks.scanpath.objects import Objects, grid_objects
from vision.tasks.scanpath.paths import drawn_paths
from vision.tasks.scanpath.predict import Looker
from vision.tasks.scanpath.records import Viewed, read_scanpaths
from vision.tasks.scanpath.scene import Steps

Paths = list[np.ndarray]
"""Paths over one picture, `(T, 3)` x, y in pixels and duration in ms."""

Maker = Callable[[Viewed, Habits, np.random.Generator], np.ndarray]
"""Makes one path without a model."""

CELLS = (6, 8)
"""Rows and columns of the grid whose cells are the symbols of free viewing."""

TIME_BIN = 50.0
"""Milliseconds of a symbol of ScanMatch with time."""

BATCH = 8


def evaluate(
    weights: str | None,
    *,
    data: Path,
    images: Path | None = None,
    samples: int = 20,
    seed: int = 0,
    temperature: float | None = None,
    device: str | None = None,
) -> dict[str, Any]:
    """Draw paths over pictures that people looked at, and compare every one with every viewer.

    Args:
        weights: catalogue name or path; the default scanpath model when None.
        data: scanpaths, see `read_scanpaths`.
        images: folder of the pictures; the data's own when None.
        samples: paths a picture.
        seed: of all draws.
        temperature: of draws; the weights' own when None.
        device: where to run.

    Returns:
        `rows`, by what made the paths: the metrics; `likelihood` of the viewers' paths under the
        model at temperature 1; `pictures`, `viewers`, `task`, `temperature`.

    Raises:
        FoveateError: files that are missing or hold no scanpaths.
    """
    viewed = read_scanpaths(data)
    looker = Looker.from_weights(weights, device=device)
    heat = looker.temperature if temperature is None else temperature
    folder = data.parent if images is None else images
    drawn, objects, likelihood = look_and_score(looker, viewed, folder, samples, seed, heat)
    rivals = _rivals(viewed, looker.habits, folder, samples, seed)
    rows = {"another viewer": measure(viewed, objects, [one.paths for one in viewed], human=True)}
    rows["model"] = measure(viewed, objects, drawn)
    for name, paths in rivals.items():
        rows[name] = measure(viewed, objects, paths)
    return {
        "task": "free viewing" if viewed[0].target is None else "search",
        "location": looker.config.location,
        "pictures": len(viewed),
        "viewers": sum(len(one.paths) for one in viewed),
        "samples": samples,
        "temperature": heat,
        "likelihood": likelihood,
        "rows": rows,
    }


@torch.inference_mode()
def look_and_score(
    looker: Looker,
    viewed: Sequence[Viewed],
    folder: Path,
    samples: int,
    seed: int,
    temperature: float,
) -> tuple[list[Paths], list[Objects], dict[str, float]]:
    """Draw paths over pictures, and score the viewers' own.

    Returns:
        Drawn paths and objects of each picture, and the likelihood: `nats` a step, the end
        included, `bits` gained a fixation over the habit of the middle, and `chance`, what uniform
        choice would have in nats.
    """
    drawn: list[Paths] = []
    objects: list[Objects] = []
    sums: defaultdict[str, float] = defaultdict(float)
    for start in range(0, len(viewed), BATCH):
        part = viewed[start : start + BATCH]
        seen = look_at_pictures(part, folder, looker.config, looker.features, looker.detector)
        own = [objects_of(one, seen.get(one.name), looker.config.grid) for one in part]
        for name, value in _viewers_likelihood(looker, part, own, seen).items():
            sums[name] += value
        drawn += _draw(looker, part, own, seen, samples, seed, temperature)
        objects += own
    scores = {
        "nats": sums["nats"] / sums["steps"],
        "bits": sums["bits"] / sums["fixations"],
        "chance": sums["chance"] / sums["steps"],
    }
    return drawn, objects, scores


def _viewers_likelihood(
    looker: Looker, viewed: Sequence[Viewed], objects: Sequence[Objects], seen: dict[str, Seen]
) -> dict[str, float]:
    """Sums over the viewers' `steps` and `fixations`: `nats`, `chance` and `bits`."""
    # Paths longer than a drawn one may be are scored whole.
    longest = max(len(path) for one in viewed for path in one.paths)
    whole = replace(looker.config, longest=longest)
    samples = [
        make_sample(one, own, seen.get(one.name), whole)
        for one, own in zip(viewed, objects, strict=True)
    ]
    scene, goal, paths = looker.to_device(collate(samples))
    steps = Steps.of_paths(paths.objects, paths.durations, scene.mask.shape[1])
    logits, _, _ = looker.model(looker.model.encode(scene), goal, steps)
    each, there = step_likelihood(logits, paths)
    sums: defaultdict[str, float] = defaultdict(float)
    for n, (one, own) in enumerate(zip(viewed, objects, strict=True)):
        count = len(one.paths)  # what follows is padding
        taken = there[n, :count].sum().item()
        sums["steps"] += taken
        sums["nats"] -= each[n, :count].sum().item()
        sums["chance"] += taken * math.log(len(own) + 1)
        chosen = paths.objects[n, :count]
        looks, chosen = chosen >= 0, chosen.clamp(min=0)
        among = logits[n, :count, :-1, : len(own)].log_softmax(-1)
        log = among.gather(-1, chosen[..., None]).squeeze(-1)
        bits = (log - habit_chances(own, looker.habits).to(log)[chosen]) / math.log(2)
        sums["bits"] += bits[looks].sum().item()
        sums["fixations"] += looks.sum().item()
    return sums


def _draw(
    looker: Looker,
    viewed: Sequence[Viewed],
    objects: Sequence[Objects],
    seen: dict[str, Seen],
    samples: int,
    seed: int,
    temperature: float,
) -> list[Paths]:
    """Paths that the model draws over each picture."""
    none = [np.empty((0, 3))] * samples
    ready = [
        make_sample(replace(one, paths=none), own, seen.get(one.name), looker.config)
        for one, own in zip(viewed, objects, strict=True)
    ]
    scene, goal, _ = looker.to_device(collate(ready))
    drawn = looker.draw(scene, goal, seed=seed, temperature=temperature)
    return [drawn_paths(drawn, n, own) for n, own in enumerate(objects)]


def habit_chances(objects: Objects, habits: Habits) -> Tensor:
    """Log-probability `(N,)` of objects by their area under the habit of the middle."""
    sides = np.array([objects.width, objects.height])
    away = (objects.centres / sides - habits.middle) / habits.spread
    density = -0.5 * (away**2).sum(1) + np.log((objects.sizes / sides).prod(1))
    return torch.from_numpy(density).log_softmax(0)


def _rivals(
    viewed: Sequence[Viewed], habits: Habits, folder: Path, samples: int, seed: int
) -> dict[str, list[Paths]]:
    """Paths of what a model must beat."""
    makers: dict[str, Maker] = {}
    if all(one.image is not None for one in viewed):
        makers["order of saliency"] = partial(_saliency_path, ImageStore(folder))
    if all(one.target is not None for one in viewed):
        makers["middle, then target"] = target_path
    makers |= {"middle of the picture": centre_path, "chance": random_path}
    return {
        name: [
            [maker(one, habits, np.random.default_rng((seed, n, k))) for k in range(samples)]
            for n, one in enumerate(viewed)
        ]
        for name, maker in makers.items()
    }


def _saliency_path(
    store: ImageStore, one: Viewed, habits: Habits, rng: np.random.Generator
) -> np.ndarray:
    assert one.image is not None
    return saliency_path(one, store.read(one.image), habits, rng)


def measure(
    viewed: Sequence[Viewed],
    objects: Sequence[Objects],
    paths: Sequence[Paths],
    *,
    human: bool = False,
) -> dict[str, float]:
    """Metrics of paths against the viewers of their picture: means over pairs, then pictures.

    Args:
        viewed: pictures with their viewers.
        objects: of each picture; the symbols of search. Free viewing has cells of a grid.
        paths: to be measured, of each picture.
        human: whether they are the viewers' own: none is compared with itself.
    """
    rows = []
    for one, own, drawn in zip(viewed, objects, paths, strict=True):
        if human and len(one.paths) < 2:
            continue
        symbols = own if one.target is not None else grid_objects(one.width, one.height, *CELLS)
        rows.append(_measure_picture(one, symbols, drawn, human=human))
    scores = {}
    for name in dict.fromkeys(name for row in rows for name in row):  # not all have durations
        known = [row[name] for row in rows if not math.isnan(row.get(name, math.nan))]
        if known:
            scores[name] = float(np.mean(known))
    searches = [n for n, one in enumerate(viewed) if one.target is not None]
    if searches:
        scores |= _behaviour(
            [viewed[n] for n in searches],
            [objects[n] for n in searches],
            [paths[n] for n in searches],
        )
    return scores


def _measure_picture(
    one: Viewed, symbols: Objects, drawn: Paths, *, human: bool
) -> dict[str, float]:
    def mean(table: np.ndarray) -> float:
        if human:  # each viewer beside the others
            table = np.where(np.eye(len(table), dtype=bool), np.nan, table)
        known = table[~np.isnan(table)]
        return float(known.mean()) if len(known) else math.nan

    size = (one.width, one.height)
    first, second = ([symbols.at(p[:, :2]) for p in group] for group in (drawn, one.paths))
    scores = {}
    if not any(np.isnan(path[:, 2]).any() for path in (*drawn, *one.paths)):
        scores["ScanMatch with time"] = mean(ScanMatch(size, time_bin=TIME_BIN)(drawn, one.paths))
    scores["ScanMatch"] = mean(ScanMatch(size)(drawn, one.paths))
    scores["SS"] = mean(sequence_scores(first, second))
    scores["ED"] = mean(edit_distances(first, second))
    ours, theirs = ([np.nan_to_num(p, nan=1.0) for p in group] for group in (drawn, one.paths))
    table = multimatch(ours, theirs, size)
    for n, name in enumerate(MULTIMATCH_NAMES):
        if name == "duration" and "ScanMatch with time" not in scores:
            continue
        scores[f"MM {name}"] = mean(table[..., n])
    return scores


def _behaviour(
    viewed: Sequence[Viewed], objects: Sequence[Objects], paths: Sequence[Paths]
) -> dict[str, float]:
    """How searches go, and how far from how viewers' do."""

    def means(groups: Sequence[Paths]) -> Any:
        trials = [
            [own.at(path[:, :2]) for path in group]
            for own, group in zip(objects, groups, strict=True)
        ]
        targets = [one.target for one in viewed if one.target is not None]
        return mean_behaviour(trials, targets)

    ours, theirs = means(paths), means([one.paths for one in viewed])
    return {**ours._asdict(), "delta": behaviour_delta(ours, theirs)}
