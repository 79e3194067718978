"""What a captioned source is exported as: COCO caption results, and subtitles of a video."""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from vision.results import Frame
from vision.tasks.captioning.results import Caption
from vision.writing import write_whole

if TYPE_CHECKING:
    from vision.tasks.base import SourceLike


@dataclass(frozen=True)
class Cue:
    """A caption and the seconds between which it is shown."""

    start: float
    end: float
    text: str


class CaptionFiles:
    """Writes `NAME-captions.json`, and of a video the same as `.srt` and `.vtt` too.

    Args:
        stem: path of the files without suffix.
        info: of the source.
    """

    def __init__(self, stem: Path, info: SourceLike) -> None:
        self.info = info
        kinds = ("json",) if info.pictures else ("json", "srt", "vtt")
        self.paths = [stem.with_name(f"{stem.name}-captions.{kind}") for kind in kinds]
        self.captions: list[tuple[str, float, str]] = []
        self.entries: list[dict[str, object]] = []

    def add(self, frame: Frame, time: float, name: str, result: Caption) -> None:
        """Take the caption of the next frame that was looked at.

        Args:
            frame: it.
            time: seconds of the source's clock.
            name: number of the frame, or name of the picture; the `image_id` of its entry, as an
                integer when it is one.
            result: its caption.
        """
        self.captions.append((name, time, result.caption))
        self.entries.append(result.to_coco(int(name) if name.isdecimal() else name))

    def close(self, result: None) -> list[Path]:
        """Write the files and name them."""
        texts = [json.dumps(self.entries, indent=1)]
        if not self.info.pictures:
            cues = self.cues()
            texts += [srt(cues), vtt(cues)]
        for path, text in zip(self.paths, texts, strict=True):
            write_whole(path, text)
        return self.paths

    def cues(self) -> list[Cue]:
        """One cue for each run of frames with the same caption, until the next begins."""
        begun: list[tuple[float, str]] = []
        for _, time, text in self.captions:
            if text and (not begun or begun[-1][1] != text):
                begun.append((time, text))
        if not begun:
            return []
        last = self.captions[-1][1]
        gap = last - self.captions[-2][1] if len(self.captions) > 1 else 1.0
        duration = self.info.duration
        end = duration if duration is not None and duration > last else last + gap
        ends = [start for start, _ in begun[1:]] + [end]
        return [Cue(start, until, text) for (start, text), until in zip(begun, ends, strict=True)]


def srt(cues: list[Cue]) -> str:
    """Cues as SubRip text."""
    return "\n".join(
        f"{n}\n{_clock(c.start, ',')} --> {_clock(c.end, ',')}\n{c.text}\n"
        for n, c in enumerate(cues, 1)
    )


def vtt(cues: list[Cue]) -> str:
    """Cues as WebVTT text."""
    shown = [f"{_clock(c.start, '.')} --> {_clock(c.end, '.')}\n{c.text}\n" for c in cues]
    return "\n".join(["WEBVTT\n", *shown])


def _clock(seconds: float, mark: str) -> str:
    """Seconds as `hh:mm:ss,mmm`."""
    thousandths = max(0, round(seconds * 1000))
    minutes, rest = divmod(thousandths, 60_000)
    hours, minutes = divmod(minutes, 60)
    return f"{hours:02}:{minutes:02}:{rest // 1000:02}{mark}{rest % 1000:03}"
