"""From the end of a training to weights that ship: a temperature chosen, measured, catalogued."""

from __future__ import annotations

import math
from pathlib import Path

from vision.catalogue import read_weights
from vision.errors import FoveateError
from vision.release import arguments, enter, put, run, trial
from vision.tasks.scanpath.evaluate import evaluate, look_and_score, measure
from vision.tasks.scanpath.predict import Looker
from vision.tasks.scanpath.records import read_scanpaths

TEMPERATURES = (1.0, 0.9, 0.8, 0.7, 0.6, 0.5)
SAMPLES = 10
CLOSE = 0.005
"""Scores this close are alike; the warmest of them keeps paths the most various."""


def main() -> None:
    """Choose the temperature on validation data, and write the weights with their score."""
    parser = arguments(main.__doc__)
    parser.add_argument("--data", type=Path, required=True, help="validation scanpaths")
    parser.add_argument("--images", type=Path)
    parser.add_argument("--by", default="ScanMatch with time", help="metric that decides")
    parser.add_argument("--delta", type=float, default=math.inf, help="largest delta allowed")
    parser.add_argument("--keep-out", action="store_true", help="not into the catalogue")
    given = parser.parse_args()

    viewed = read_scanpaths(given.data)
    folder = given.images or given.data.parent
    looker = Looker.from_weights(str(given.weights))
    scores = {}
    for heat in TEMPERATURES:
        drawn, objects, _ = look_and_score(looker, viewed, folder, SAMPLES, 1, heat)
        row = measure(viewed, objects, drawn)
        if row.get("delta", 0.0) <= given.delta:
            scores[heat] = row[given.by]
        print(heat, {name: round(value, 4) for name, value in row.items()}, flush=True)
    if not scores:
        raise FoveateError(f"no temperature has a delta of at most {given.delta:g}")
    most = max(scores.values())
    best = max(heat for heat, score in scores.items() if score >= most - CLOSE)

    weights = read_weights(given.weights)
    target = given.into / given.weights.name
    metadata = {**weights.metadata, "temperature": best}
    with trial(weights.tensors, metadata) as path:
        report = evaluate(path, data=given.data, images=given.images)
    score = {
        given.by: round(report["rows"]["model"][given.by], 4),
        "nats a step": round(report["likelihood"]["nats"], 4),
    }
    if given.keep_out:
        put(target, weights.tensors, {**metadata, "score": score})
    else:
        enter(target, weights.tensors, metadata, score, default=given.default)
    print(f"{target}: temperature {best}, {score}")


if __name__ == "__main__":
    run(main)
