"""What was looked at, in a few rows."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable

from vision.tasks.scanpath.results import Scanpaths


def digest(results: Iterable[Scanpaths]) -> list[dict[str, str | int]]:
    """Summarise scanpaths.

    Args:
        results: one a picture, in order; read once and not kept.

    Returns:
        A row a label, the most fixated first: its share of fixations, in how many paths it was
        looked at, and the mean step of the first look.
    """
    fixations: defaultdict[str, int] = defaultdict(int)
    firsts: defaultdict[str, list[int]] = defaultdict(list)
    paths = 0
    for result in results:
        for path in result.paths:
            paths += 1
            first: dict[str, int] = {}
            for step, fixation in enumerate(path.fixations, 1):
                label = result.objects[fixation.object].label or "elsewhere"
                fixations[label] += 1
                first.setdefault(label, step)
            for label, step in first.items():
                firsts[label].append(step)
    total = sum(fixations.values())
    return [
        {
            "label": label,
            "fixations": f"{100 * count / total:.0f} %",
            "paths": f"{len(firsts[label])} of {paths}",
            "first look": f"step {sum(firsts[label]) / len(firsts[label]):.1f}",
        }
        for label, count in sorted(fixations.items(), key=lambda row: -row[1])
    ]
