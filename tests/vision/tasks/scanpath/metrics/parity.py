"""Parity of scanpath metrics with recorded figures of the published code."""

from __future__ import annotations

import math
from collections.abc import Iterator
from typing import Any

import numpy as np

from tests.parity import EXACT, Adapter, Check, Fixture
from vision.tasks.scanpath.metrics import (
    Behaviour,
    Grouping,
    ScanMatch,
    behaviour,
    behaviour_delta,
    cluster_symbols,
    edit_distances,
    map_symbols,
    mean_behaviour,
    multimatch,
    probability_mismatch,
    scanpath_ratio,
    search_cdf,
    sequence_scores,
    step_similarity,
    steps_to_target,
    string_edit_distances,
    time_delay_distances,
    time_delay_similarities,
    timed,
)

METRIC = 1e-6


def check_sequence(fixture: Fixture) -> Iterator[Check]:
    for i, case in enumerate(fixture.data["cases"]):
        pair = [case["pred"]], [case["gt"]]
        yield Check(f"{i} score", sequence_scores(*pair, gap=case["gap"]), [[case["ss"]]], METRIC)
        for cost in (1, 2):
            found = edit_distances(*pair, substitution=cost)
            yield Check(f"{i} distance, substitution {cost}", found, [[case[f"lev{cost}"]]], EXACT)


def check_behaviour(fixture: Fixture) -> Iterator[Check]:
    for i, case in enumerate(fixture.data["cases"]):
        wanted = [case[k] for k in ("correct", "length", "search", "refix", "revisit")]
        yield Check(f"{i} path", list(behaviour(case["gaze"], case["target"])), wanted, METRIC)
    for i, case in enumerate(fixture.data["sets"]):
        human = mean_behaviour([[path] for path in case["gt"]], case["targets"])
        model = mean_behaviour(case["pred"], case["targets"])
        yield Check(f"set {i} human", list(human), case["gt_mean"], METRIC)
        yield Check(f"set {i} model", list(model), case["pred_mean"], METRIC)
        found = behaviour_delta(Behaviour(*model), Behaviour(*human), official=True)
        yield Check(f"set {i} delta", found, float(case["delta"]), METRIC)
    for i, case in enumerate(fixture.data["sim"]):
        yield Check(f"{i} SIM", step_similarity(case["prob"], case["gt"]), case["sim"], METRIC)


def check_scanmatch(fixture: Fixture) -> Iterator[Check]:
    for i, case in enumerate(fixture.data["cases"]):
        c = case["config"]
        scanmatch = ScanMatch(
            (c.get("Xres", 1024), c.get("Yres", 768)),
            (c.get("Xbin", 8), c.get("Ybin", 6)),
            c.get("Threshold", 3.5),
            c.get("GapValue", 0.0),
            c.get("TempBin") or None,
            tuple(c.get("Offset", (0, 0))),
        )
        for side in "ab":
            symbols = scanmatch.symbols(case[side]).tolist()
            yield Check(f"{i} symbols {side}", symbols, case[f"seq_{side}"], EXACT)
        yield Check(f"{i} score", scanmatch([case["a"]], [case["b"]]), [[case["score"]]], METRIC)


def check_multimatch(fixture: Fixture) -> Iterator[Check]:
    for i, case in enumerate(fixture.data["cases"]):
        pair, size = ([case["a"]], [case["b"]]), case["screensize"]
        for name in ("plain", "official_port_plain"):
            if name in case:
                yield Check(f"{i} {name}", multimatch(*pair, size), _five(case[name]), METRIC)
        if "grouped" in case:
            t = case["grouping"]
            found = multimatch(*pair, size, Grouping(t["TAmp"], t["TDir"], t["TDur"]))
            yield Check(f"{i} grouped", found, _five(case["grouped"]), METRIC)
    for i, case in enumerate(fixture.data.get("short", ())):
        found = multimatch([case["a"]], [case["b"]], case["screensize"], pad_short=True)
        yield Check(f"short {i}", found[..., :4], [[case["four"]]], METRIC)


def check_sed_stde(fixture: Fixture) -> Iterator[Check]:
    for i, case in enumerate(fixture.data["cases"]):
        pair, size = ([case["sim"]], [case["human"]]), (case["width"], case["height"])
        found = string_edit_distances(*pair, size, case["n"])
        yield Check(f"{i} SED", found, [[case["sed"]]], EXACT)
        for name in ("stde_xy", "stde_xyt"):
            yield Check(f"{i} {name}", time_delay_similarities(*pair, size), [[case[name]]], METRIC)
        for name in ("tde_k2", "tde_k2_hausdorff"):
            distances = time_delay_distances(*pair, 2, hausdorff=name.endswith("hausdorff"))
            yield Check(f"{i} {name}", distances, [[_number(case[name])]], METRIC)


def check_efficiency(fixture: Fixture) -> Iterator[Check]:
    for i, case in enumerate(fixture.data["cases"]):
        steps = steps_to_target(case["path"], case["bbox"])
        yield Check(f"{i} steps", steps, case["num_step"], EXACT)
        yield Check(
            f"{i} ratio", scanpath_ratio(case["path"], case["bbox"]), case["sp_ratio"], METRIC
        )
    for i, case in enumerate(fixture.data["cdf"]):
        cdf = search_cdf(case["num_steps"], case["max_step"])
        human = search_cdf(case["human_steps"], case["max_step"])
        yield Check(f"set {i} CDF", cdf, case["cdf"], METRIC)
        yield Check(f"set {i} human CDF", human, case["human_cdf"], METRIC)
        yield Check(f"set {i} TFP-AUC", cdf.sum(), case["tfp_auc"], METRIC)
        mismatch = probability_mismatch(cdf, human)
        yield Check(f"set {i} mismatch", mismatch, case["prob_mismatch"], METRIC)


def check_cluster(fixture: Fixture) -> Iterator[Check]:
    for i, case in enumerate(fixture.data["cases"]):
        width, height = case["size"]
        cell = case["seg_cell"]
        classes = np.repeat(np.repeat(case["seg_small"], cell[0], axis=0), cell[1], axis=1)
        classes = classes[:height, :width]
        paths = [np.array(p)[: case["truncate"]] for p in (case["pred"], *case["humans"].values())]
        clusters = [cluster_symbols(p, case["centres"]) for p in paths]
        semantic = [map_symbols(p, classes) for p in paths]
        for start, symbols in (("", clusters), ("sem", semantic)):
            long = [timed(s, p[:, 2], case["tempbin"]) for s, p in zip(symbols, paths, strict=True)]
            for end, strings in (("", symbols), ("_time", long)):
                pair = strings[:1], strings[1:]
                score, distance = sequence_scores(*pair).mean(), edit_distances(*pair).mean()
                yield Check(f"{i} {start}ss{end}", score, case[f"{start}ss{end}"], METRIC)
                yield Check(f"{i} {start}fed{end}", distance, case[f"{start}fed{end}"], METRIC)


def _number(value: float | None) -> float:
    return math.nan if value is None else value


def _five(values: list[Any] | None) -> list[Any]:
    return [[[_number(v) for v in values or [None] * 5]]]


PREFIXES: dict[str, Adapter] = {
    "metric_scanpath_sequence": check_sequence,
    "metric_scanpath_behaviour": check_behaviour,
    "metric_scanpath_scanmatch": check_scanmatch,
    "metric_scanpath_multimatch": check_multimatch,
    "metric_scanpath_sed_stde": check_sed_stde,
    "metric_scanpath_efficiency": check_efficiency,
    "metric_scanpath_cluster": check_cluster,
}
