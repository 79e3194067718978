"""Identities across frames: ByteTrack as a step of the pipeline."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
from trackers import ByteTrackTracker

from video.frames import Selection, SourceInfo, TimedFrame
from vision.results import Detections


def track(threshold: float) -> Callable[[SourceInfo, Selection, Path], ByteTrack]:
    """A step that gives detections identities, for the `steps` of `video.pipeline.run`.

    Args:
        threshold: score from which an object begins a track: the detector's own threshold, or
            weak detectors would never begin one.
    """

    def tracking(info: SourceInfo, selection: Selection, stem: Path) -> ByteTrack:
        return ByteTrack(threshold, selection.rate(info) or 30.0)

    return tracking


class ByteTrack:
    """Tracks the objects of one video.

    Objects are matched by overlap with where each track is expected at the frame's own time, first
    those of good score, then the others. An object has no identity until it was seen twice running.

    Source: Zhang et al., "ByteTrack: Multi-Object Tracking by Associating Every Detection Box"
    (2022), algorithm 1.

    Args:
        threshold: score of a good object, which may begin a track.
        rate: frames/s that are looked at.
    """

    def __init__(self, threshold: float, rate: float) -> None:
        # A lost object may come back for a second, and in any case in the next two frames.
        patience = max(1.0, 2.5 / rate)
        self._tracker = ByteTrackTracker(
            lost_track_buffer=round(patience * 30),  # counted at 30 frames/s whatever the rate
            frame_rate=rate,
            track_activation_threshold=threshold,
            high_conf_det_threshold=threshold,
        )

    def __call__(self, frame: TimedFrame, result: Detections) -> Detections:
        """The detections with their tracks, in the order they came in."""
        detections = result.to_supervision()
        detections.data["place"] = np.arange(len(detections))
        tracked = self._tracker.update(detections, timestamp=frame.time)
        tracks: list[int | None] = [None] * len(result.objects)
        if len(tracked) and tracked.tracker_id is not None:
            for place, identity in zip(tracked.data["place"], tracked.tracker_id, strict=True):
                tracks[place] = int(identity) if identity >= 0 else None
        return result.with_tracks(tracks)
