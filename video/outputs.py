"""Where a source's results go, and the care not to write over anything else."""

from __future__ import annotations

import os
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

from video.records import read_header
from video.sources import Source
from vision.errors import FoveateError


@dataclass(frozen=True)
class Outputs:
    """The outputs of one source, all named after it.

    Args:
        folder: that holds them; made if need be.
        source: whose results they are.
    """

    folder: Path
    source: Source

    @property
    def stem(self) -> Path:
        """What all outputs' paths begin with."""
        return self.folder / self.source.name

    @property
    def records(self) -> Path:
        """The JSON Lines."""
        return self.folder / f"{self.source.name}.jsonl"

    @property
    def video(self) -> Path:
        """The annotated video."""
        return self.folder / f"{self.source.name}.mp4"

    @property
    def painted(self) -> Path:
        """The annotated video, the one annotated picture, or the folder of several."""
        pictures = self.source.pictures
        if not pictures:
            return self.video
        return self.picture(pictures[0]) if len(pictures) == 1 else self.stem

    def picture(self, original: Path) -> Path:
        """The annotated form of a picture: alone beside the JSON Lines, else in a folder."""
        if len(self.source.pictures) == 1:
            return self.folder / f"{self.source.name}{original.suffix}"
        return self.stem / original.resolve().relative_to(self._shared)

    @cached_property
    def _shared(self) -> str:
        """The folder that the source's pictures have in common."""
        return os.path.commonpath([path.resolve().parent for path in self.source.pictures])

    def claim(self, *, paint: bool, beside: Sequence[Path] = ()) -> None:
        """Make the folder, and make sure that only earlier outputs are written over.

        Args:
            paint: whether there will be an annotated video or pictures.
            beside: other files that there may be.

        Raises:
            FoveateError: the folder cannot be made, holds other files under these names, or cannot
            hold files of these names.
        """
        try:
            self.folder.mkdir(parents=True, exist_ok=True)
        except OSError as error:
            raise FoveateError(f"cannot make {self.folder}: {error.strerror}") from None
        originals = self.source.pictures or (Path(self.source.location),)
        painted = [self.picture(path) for path in self.source.pictures] or [self.video]
        targets = [self.records, *(painted if paint else []), *beside]
        forbidden = {path.resolve() for path in originals}
        ours = read_header(self.records) is not None
        for target in targets:
            try:
                taken = target.resolve() in forbidden or (target.exists() and not ours)
            except OSError as error:  # such as too long a name
                raise FoveateError(f"cannot write {target}: {error.strerror}") from None
            if taken:
                raise FoveateError(f"{target} is not foveate's to replace; choose another output")
