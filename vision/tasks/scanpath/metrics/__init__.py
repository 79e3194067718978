"""Metrics of scanpaths.

A path of objects is a sequence of ids; a path of fixations is an array `(N, 2)` of x and y in
pixels, or `(N, 3)` with durations. Metrics of pairs take K predicted and V human paths and return
`(K, V)`: its mean is the mean over samples and viewers. `human_consistency` reads what viewers
score against each other from the same metric of `(human, human)`.
"""

from vision.tasks.scanpath.metrics.alignment import (
    edit_distances,
    human_consistency,
    sequence_scores,
)
from vision.tasks.scanpath.metrics.behaviour import (
    Behaviour,
    behaviour,
    behaviour_delta,
    bits_per_fixation,
    mean_behaviour,
    step_similarity,
)
from vision.tasks.scanpath.metrics.grid import (
    ScanMatch,
    cluster_symbols,
    map_symbols,
    string_edit_distances,
    time_delay_distances,
    time_delay_similarities,
    timed,
)
from vision.tasks.scanpath.metrics.multimatch import MULTIMATCH_NAMES, Grouping, multimatch
from vision.tasks.scanpath.metrics.search import (
    probability_mismatch,
    scanpath_ratio,
    search_cdf,
    steps_to_target,
)

__all__ = [
    "MULTIMATCH_NAMES",
    "Behaviour",
    "Grouping",
    "ScanMatch",
    "behaviour",
    "behaviour_delta",
    "bits_per_fixation",
    "cluster_symbols",
    "edit_distances",
    "human_consistency",
    "map_symbols",
    "mean_behaviour",
    "multimatch",
    "probability_mismatch",
    "scanpath_ratio",
    "search_cdf",
    "sequence_scores",
    "step_similarity",
    "steps_to_target",
    "string_edit_distances",
    "time_delay_distances",
    "time_delay_similarities",
    "timed",
]
