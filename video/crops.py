"""Each detection cut out of its frame and saved."""

from __future__ import annotations

from collections.abc import Callable
from math import ceil, floor
from pathlib import Path
from typing import TypeVar

from video.frames import Selection, SourceInfo, TimedFrame
from video.pictures import save_picture
from video.sources import file_name
from vision.results import Detections

D = TypeVar("D", bound=Detections)


def save_crops(info: SourceInfo, selection: Selection, stem: Path) -> Callable[[TimedFrame, D], D]:
    """A step that writes `<stem>-crops/<label>/<frame>-<object>.jpg`, for the `steps` of `run`.

    After tracking, the name tells the track too: `<frame>-<object>-track<id>.jpg`.
    """
    folder = stem.with_name(f"{stem.name}-crops")

    def save(frame: TimedFrame, result: D) -> D:
        height, width = frame.image.shape[:2]
        for place, found in enumerate(result.objects):
            x1, y1, x2, y2 = found.box
            left, top = max(0, floor(x1)), max(0, floor(y1))
            crop = frame.image[top : min(height, ceil(y2)), left : min(width, ceil(x2))]
            if crop.size:
                track = "" if found.track is None else f"-track{found.track}"
                label = file_name(found.label) or "unnamed"
                save_picture(folder / label / f"{frame.index:06}-{place:02}{track}.jpg", crop)
        return result

    return save
