"""What was said of a video, in a few rows."""

from __future__ import annotations

from collections.abc import Iterable

from vision.tasks.captioning.results import Caption

MOST = 20
"""Rows at most."""


def digest(results: Iterable[Caption]) -> list[dict[str, str | int]]:
    """Summarise the captions of a source.

    Args:
        results: one for each frame that was looked at, in order; read once and not kept.

    Returns:
        A row for each caption that differs from the one before: the caption, how many frames in a
        row it was said of, and what it names. At most 20 rows, and one that counts the rest.
    """
    rows: list[dict[str, str | int]] = []
    more, last = 0, None
    for result in results:
        if result.caption == last and not more:
            rows[-1]["frames"] = int(rows[-1]["frames"]) + 1
        elif result.caption != last and len(rows) < MOST:
            things = dict.fromkeys(phrase.label for phrase in result.phrases)
            rows.append({"caption": result.caption, "frames": 1, "things": ", ".join(things)})
        elif result.caption != last:
            more += 1
        last = result.caption
    if more:
        rows.append({"caption": f"and {more} more", "frames": "", "things": ""})
    return rows
