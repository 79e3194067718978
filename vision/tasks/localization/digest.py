"""What happened in a video, in a few rows."""

from __future__ import annotations

from collections.abc import Iterable

from vision.tasks.localization.results import Actions


def digest(results: Iterable[Actions]) -> list[dict[str, str | int]]:
    """Summarise the actions of a video.

    Args:
        results: the one for the whole video.

    Returns:
        A row a label, the first to happen first: how often, for how long in all, when first and
        how sure at best.
    """
    rows: list[dict[str, str | int]] = []
    for result in results:
        for label in dict.fromkeys(a.label for a in result.actions):
            mine = [a for a in result.actions if a.label == label]
            rows.append(
                {
                    "label": label,
                    "times": len(mine),
                    "seconds": f"{sum(a.end - a.start for a in mine):.1f}",
                    "first": f"{mine[0].start:.1f} s",
                    "best score": f"{max(a.score for a in mine):.2f}",
                }
            )
    return rows
