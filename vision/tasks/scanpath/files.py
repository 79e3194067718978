"""What scanpaths are exported as: CSV, JSON of the format they are learnt from, moving pictures."""

from __future__ import annotations

import csv
import glob
import io
import json
from collections.abc import Iterator, Sequence
from fractions import Fraction
from pathlib import Path
from typing import TYPE_CHECKING, Any

import av
import cv2
import numpy as np
from PIL import Image

from vision.errors import FoveateError
from vision.results import Frame
from vision.tasks.scanpath.draw import paint_path, paint_target, times
from vision.tasks.scanpath.results import Scanpath, Scanpaths
from vision.writing import whole_file, write_whole

if TYPE_CHECKING:
    from vision.tasks.base import SourceLike

COLUMNS = (
    *("picture", "time", "path", "step", "x", "y", "start", "duration"),
    *("object", "label", "log_probability", "stop_probability"),
)
RATE = 10
"""Frames a second of animations."""

LONGEST_SIDE = 640
"""Pixels, of animations and heat maps."""

LINGER = 1.0
"""Seconds for which the whole path stays at the end of an animation."""


class LookFiles:
    """Writes `NAME-scanpaths.csv` and `NAME-scanpaths.json`, and more for each looked-at frame.

    Args:
        stem: path of the files without suffix.
        info: of the source.
        animation: `"gif"` or `"mp4"`: the first path as it goes, in `NAME-FRAME.gif` or `.mp4`.
        heatmap: whether to write where each step may go, in `NAME-FRAME-heat.png`.

    Raises:
        FoveateError: another kind of animation.
    """

    def __init__(
        self,
        stem: Path,
        info: SourceLike,
        *,
        animation: str | None = None,
        heatmap: bool = False,
    ) -> None:
        if animation not in (None, "gif", "mp4"):
            raise FoveateError(f"--animation takes gif or mp4, not {animation!r}")
        self.stem, self.animation, self.heatmap = stem, animation, heatmap
        self.tables = [self._name("", f"scanpaths.{kind}") for kind in ("csv", "json")]
        self.paths = [*self.tables, *self._paths(info.pictures)]
        self.written: list[Path] = []
        self.images: list[dict[str, Any]] = []
        self.rows: list[list[Any]] = []

    def add(self, frame: Frame, time: float, name: str, result: Scanpaths) -> None:
        """Take the next frame that was looked at, and write its moving picture and heat map.

        Args:
            frame: `(H, W, 3)` uint8 RGB.
            time: seconds of the source's clock.
            name: number of the frame, or name of the picture.
            result: its scanpaths.
        """
        self.rows += [[name, round(time, 4), *row] for row in table(result)]
        self.images.append(to_data(name, result))
        if self.animation and result.paths:
            path = self._name(name, f"scanpath.{self.animation}")
            write = write_gif if self.animation == "gif" else write_mp4
            write(path, animate(frame, result))
            self.written.append(path)
        if self.heatmap:
            path = self._name(name, "heat.png")
            _, content = cv2.imencode(".png", heat_steps(frame, result)[:, :, ::-1])
            write_whole(path, content.tobytes())
            self.written.append(path)

    def close(self, result: None) -> list[Path]:
        """Write the tables and name all files."""
        text = io.StringIO()
        csv.writer(text).writerows([COLUMNS, *self.rows])
        contents = (text.getvalue(), json.dumps({"images": self.images}))
        for path, content in zip(self.tables, contents, strict=True):
            write_whole(path, content)
        return [*self.tables, *self.written]

    def _paths(self, pictures: Sequence[str]) -> Iterator[Path]:
        """Files of single frames: of pictures all, of a video those that are there already."""
        ends = [f"scanpath.{self.animation}"] if self.animation else []
        for end in [*ends, "heat.png"] if self.heatmap else ends:
            if pictures:
                yield from (self._name(name, end) for name in pictures)
            else:
                number = "[0-9]" * 6
                pattern = f"{glob.escape(self.stem.name)}-{number}-{end}"
                yield from self.stem.parent.glob(pattern)

    def _name(self, frame: str, end: str) -> Path:
        # A single picture has its name in the stem already.
        parts = (self.stem.name, frame if frame != self.stem.name else "", end)
        return self.stem.with_name("-".join(part for part in parts if part))


def table(result: Scanpaths) -> list[list[Any]]:
    """Rows of fixations: the columns of the CSV after picture and time."""
    return [
        [
            number,
            step,
            f.x,
            f.y,
            f.start,
            f.duration,
            f.object,
            result.objects[f.object].label,
            f.log_probability,
            f.stop_probability,
        ]
        for number, path in enumerate(result.paths)
        for step, f in enumerate(path.fixations)
    ]


def to_data(name: str, result: Scanpaths) -> dict[str, Any]:
    """A picture as `read_scanpaths` takes it: boxes as x, y, width, height, times in ms."""
    objects = [
        {"id": n, "label": seen.label, "bbox": [x1, y1, x2 - x1, y2 - y1]}
        for n, seen in enumerate(result.objects)
        for x1, y1, x2, y2 in [seen.box]
    ]
    found = [n for n, seen in enumerate(result.objects) if seen.target]
    return {
        "id": name,
        "image": None,
        "width": result.width,
        "height": result.height,
        "task": "free-viewing" if result.target is None else "search",
        "objects": objects,
        "target": {"object": found[0], "name": result.target} if found else None,
        "scanpaths": [
            {
                "subject": number,
                "fixations": [
                    {
                        "x": f.x,
                        "y": f.y,
                        "start": _thousandths(f.start),
                        "duration": _thousandths(f.duration),
                        "object": f.object,
                    }
                    for f in path.fixations
                ],
            }
            for number, path in enumerate(result.paths)
        ],
    }


def _thousandths(seconds: float | None) -> float | None:
    return None if seconds is None else round(1000 * seconds, 1)


def animate(frame: Frame, result: Scanpaths) -> list[Frame]:
    """The first path as it goes, ten pictures a second, in real time."""
    small, scaled = shrink(frame, result)
    paint_target(small, scaled)
    path = scaled.paths[0]
    start, duration = times(path)[-1] if path.fixations else (0.0, 0.0)
    pictures = []
    for number in range(int((start + duration) * RATE) + 1):
        picture = small.copy()
        paint_path(picture, path, now=number / RATE)
        pictures.append(picture)
    whole = small.copy()
    paint_path(whole, path)
    return pictures + [whole] * round(LINGER * RATE)


def heat_steps(frame: Frame, result: Scanpaths, columns: int = 4) -> Frame:
    """A sheet of the frame under the chances of every step's objects, step by step."""
    small, scaled = shrink(frame, result)
    height, width = small.shape[:2]
    tiles = []
    for number, chances in enumerate(scaled.heat, 1):
        heat: np.ndarray = np.zeros((height, width), np.float32)
        for chance, seen in zip(chances, scaled.objects, strict=True):
            x1, y1, x2, y2 = (round(value) for value in seen.box)
            area = max(1, (x2 - x1) * (y2 - y1))
            heat[max(0, y1) : y2, max(0, x1) : x2] += chance / area
        heat = cv2.GaussianBlur(heat, (0, 0), max(height, width) / 40)
        heat = heat / max(float(heat.max()), 1e-12)
        colours = cv2.applyColorMap((255 * heat).astype(np.uint8), cv2.COLORMAP_INFERNO)
        share = 0.25 + 0.6 * heat[..., None]
        tile = (share * colours[..., ::-1] + (1 - share) * small).astype(np.uint8)
        scale = max(height, width) / 500
        cv2.putText(
            tile,
            str(number),
            (round(8 * scale), round(24 * scale)),
            cv2.FONT_HERSHEY_SIMPLEX,
            0.8 * scale,
            (255, 255, 255),
            max(1, round(2 * scale)),
            cv2.LINE_AA,
        )
        tiles.append(tile)
    if not tiles:
        return small
    columns = min(columns, len(tiles))
    tiles += [np.zeros_like(small)] * (-len(tiles) % columns)
    rows = [np.concatenate(tiles[n : n + columns], 1) for n in range(0, len(tiles), columns)]
    return np.concatenate(rows)


def shrink(frame: Frame, result: Scanpaths) -> tuple[Frame, Scanpaths]:
    """A frame and its result at a size that is handy to send."""
    scale = min(1.0, LONGEST_SIDE / max(frame.shape[:2]))
    # Even sides, which video needs.
    size = tuple(max(2, 2 * round(side * scale / 2)) for side in (frame.shape[1], frame.shape[0]))
    small = cv2.resize(frame, size, interpolation=cv2.INTER_AREA)
    across, down = size[0] / frame.shape[1], size[1] / frame.shape[0]
    paths = [
        Scanpath(
            fixations=[
                f.model_copy(update={"x": f.x * across, "y": f.y * down}) for f in path.fixations
            ],
            log_probability=path.log_probability,
            ended=path.ended,
        )
        for path in result.paths
    ]
    objects = [
        seen.model_copy(update={"box": (x1 * across, y1 * down, x2 * across, y2 * down)})
        for seen in result.objects
        for x1, y1, x2, y2 in [seen.box]
    ]
    update = {"width": size[0], "height": size[1], "paths": paths, "objects": objects}
    return small, result.model_copy(update=update)


def write_gif(path: Path, pictures: list[Frame]) -> None:
    """Write an endless GIF; it appears whole."""
    # One palette for all pictures: colours would flicker with one each.
    sheet = Image.fromarray(pictures[-1]).quantize(128)
    frames = [Image.fromarray(picture).quantize(palette=sheet) for picture in pictures]
    with whole_file(path) as partial:
        frames[0].save(
            partial,
            format="GIF",
            save_all=True,
            append_images=frames[1:],
            duration=1000 // RATE,
            loop=0,
        )


def write_mp4(path: Path, pictures: list[Frame]) -> None:
    """Write H.264; it appears whole."""
    options = {"movflags": "+faststart"}
    with (
        whole_file(path) as partial,
        av.open(str(partial), "w", format="mp4", options=options) as container,
    ):
        stream = container.add_stream("libx264", rate=Fraction(RATE))
        stream.height, stream.width = pictures[0].shape[:2]
        stream.pix_fmt = "yuv420p"
        for picture in pictures:
            container.mux(stream.encode(av.VideoFrame.from_ndarray(picture, format="rgb24")))
        container.mux(stream.encode())
