"""What a localized video is exported as: ActivityNet JSON, CSV, and a timeline."""

from __future__ import annotations

import csv
import io
import json
from pathlib import Path
from typing import TYPE_CHECKING, Any

import cv2

from vision.errors import FoveateError
from vision.results import Frame
from vision.tasks.localization.data import read_annotations
from vision.tasks.localization.results import Actions
from vision.tasks.localization.timeline import Span, paint_timeline
from vision.writing import write_whole

if TYPE_CHECKING:
    from vision.tasks.base import SourceLike


class LocalizationFiles:
    """Writes `NAME-actions.json`, `NAME-actions.csv` and `NAME-timeline.png`.

    Args:
        stem: path of the files without suffix; its name is the video's in the JSON.
        info: of the source.
        truth: ActivityNet-style annotations; what they say of the video, by its name, is painted
            in the timeline, above the prediction.

    Raises:
        FoveateError: the annotations are missing, or do not name the video.
    """

    def __init__(self, stem: Path, info: SourceLike, *, truth: Path | None = None) -> None:
        self.name = stem.name
        self.paths = [
            stem.with_name(f"{stem.name}-{end}")
            for end in ("actions.json", "actions.csv", "timeline.png")
        ]
        self.truth = None if truth is None else _truth_of(stem.name, truth)

    def close(self, result: Actions) -> list[Path]:
        """Write the files of a whole video and name them."""
        contents: tuple[str | bytes, ...] = (
            json.dumps(activitynet(self.name, result), indent=1),
            table(result),
            cv2.imencode(".png", self._timeline(result)[:, :, ::-1])[1].tobytes(),
        )
        for path, content in zip(self.paths, contents, strict=True):
            write_whole(path, content)
        return self.paths

    def _timeline(self, result: Actions) -> Frame:
        labels = list(dict.fromkeys([*result.labels, *(a["label"] for a in self.truth or ())]))
        rows = []
        if self.truth is not None:
            spans = [
                Span(a["segment"][0], a["segment"][1], labels.index(a["label"]), a["label"])
                for a in self.truth
            ]
            rows.append(("truth", spans))
        spans = [Span(a.start, a.end, labels.index(a.label), a.label) for a in result.actions]
        rows.append(("prediction", spans))
        return paint_timeline(rows, result.start, result.end, labels)


def activitynet(video: str, result: Actions) -> dict[str, Any]:
    """A result file in the form of the ActivityNet challenge."""
    return {
        "version": "VERSION 1.3",
        "results": {video: result.to_activitynet()},
        "external_data": {},
    }


def table(result: Actions) -> str:
    """The actions as CSV, in order of their start."""
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow(["start", "end", "label", "score", "delay"])
    for a in result.actions:
        writer.writerow([a.start, a.end, a.label, a.score, a.delay])
    return text.getvalue()


def _truth_of(name: str, truth: Path) -> list[dict[str, Any]]:
    database = read_annotations(truth)
    for video, entry in database.items():
        if name in (video, Path(str(entry.get("file") or video)).stem):
            annotations: list[dict[str, Any]] = entry["annotations"]
            return annotations
    raise FoveateError(f"{truth} says nothing of {name!r}; name the video as there")
