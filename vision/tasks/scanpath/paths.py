"""Drawn paths in pixels: as arrays, and as the records that users get."""

from __future__ import annotations

import numpy as np
from torch import Tensor

from vision.tasks.scanpath.objects import Objects
from vision.tasks.scanpath.results import Fixation, Scanpath, Scanpaths, Seen
from vision.tasks.scanpath.sampling import Drawn
from vision.tasks.scanpath.targets import Target


def drawn_paths(drawn: Drawn, number: int, objects: Objects) -> list[np.ndarray]:
    """Paths of one picture as `(T, 3)` x, y in pixels and duration in ms."""
    paths = []
    for spots, times, offsets in zip(
        drawn.objects[number].cpu().numpy(),
        drawn.durations[number].cpu().numpy(),
        drawn.offsets[number].cpu().numpy(),
        strict=True,
    ):
        length = int((spots >= 0).sum())
        chosen = spots[:length]
        points = objects.centres[chosen] + offsets[:length] * objects.sizes[chosen] / 2
        paths.append(np.column_stack((points, times[:length])).astype(np.float64))
    return paths


def to_record(
    drawn: Drawn, number: int, objects: Objects, match: Tensor, target: Target | None
) -> Scanpaths:
    """The record of one picture.

    Args:
        drawn: paths over a batch of pictures.
        number: of the picture in it.
        objects: of the picture.
        match: `(N,)` bool, which of them are the target.
        target: what was looked for; None for free viewing.
    """
    chances, stops = drawn.chances[number].tolist(), drawn.stops[number].tolist()
    spots = drawn.objects[number].tolist()
    paths = []
    longest = 0
    for p, path in enumerate(drawn_paths(drawn, number, objects)):
        times = path[:, 2] / 1000
        starts = np.concatenate(([0], times.cumsum()))
        known = not np.isnan(times).any()
        longest = max(longest, len(path))
        paths.append(
            Scanpath(
                fixations=[
                    Fixation(
                        x=round(x, 2),
                        y=round(y, 2),
                        start=round(float(starts[t]), 4) if known else None,
                        duration=round(float(times[t]), 4) if known else None,
                        object=spots[p][t],
                        log_probability=round(chances[p][t], 4),
                        stop_probability=round(stops[p][t], 4),
                    )
                    for t, (x, y) in enumerate(path[:, :2].tolist())
                ],
                log_probability=round(sum(chances[p]) + float(drawn.ends[number, p]), 4),
                ended=bool(drawn.whole[number, p]),
            )
        )
    seen = [
        Seen(box=(x1, y1, x2, y2), label=label, target=bool(found))
        for (x1, y1, x2, y2), label, found in zip(
            objects.boxes.round(2).tolist(), objects.labels, match.tolist(), strict=True
        )
    ]
    heat = drawn.maps[number, :longest, : len(objects)].cpu().double().numpy().round(4).tolist()
    return Scanpaths(
        width=objects.width,
        height=objects.height,
        target=None if target is None else target.text,
        objects=seen,
        paths=paths,
        heat=heat,
    )
