"""What was seen in a video, in a few rows."""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Iterable

from vision.results import Detections


def digest(results: Iterable[Detections]) -> list[dict[str, str | int]]:
    """Summarise the detections of a video.

    Args:
        results: one a frame, in order; read once and not kept.

    Returns:
        A row a label, the most frequent first: in how many frames it was seen, how many at most
        in one frame, its best score and, where objects were tracked, how many identities.
    """
    frames: Counter[str] = Counter()
    most: Counter[str] = Counter()
    best: defaultdict[str, float] = defaultdict(float)
    tracks: defaultdict[str, set[int]] = defaultdict(set)
    for result in results:
        seen = Counter(d.label for d in result.objects)
        frames.update(seen.keys())
        for label, count in seen.items():
            most[label] = max(most[label], count)
        for d in result.objects:
            best[d.label] = max(best[d.label], d.score)
            if d.track is not None:
                tracks[d.label].add(d.track)
    rows: list[dict[str, str | int]] = []
    for label, count in frames.most_common():
        row: dict[str, str | int] = {
            "label": label,
            "frames": count,
            "most at once": most[label],
            "best score": f"{best[label]:.2f}",
        }
        if tracks:
            row["identities"] = len(tracks[label])
        rows.append(row)
    return rows
