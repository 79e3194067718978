"""What was done in a video, and what was flagged, in a few rows."""

from __future__ import annotations

from collections.abc import Iterable

from vision.tasks.mistakes.results import Checked


def digest(results: Iterable[Checked]) -> list[dict[str, str]]:
    """A row a step, in order.

    Args:
        results: the result for the whole video.
    """
    return [
        {
            "start": f"{step.start:.1f} s",
            "end": "" if step.end is None else f"{step.end:.1f} s",
            "step": step.step,
            "score": f"{step.score:.2f}",
            "flag": "MISTAKE" if step.mistake else "",
            "expected": ", ".join(e.step for e in step.expected) if step.mistake else "",
            "why": step.why if step.mistake else "",
        }
        for result in results
        for step in result.steps
    ]
