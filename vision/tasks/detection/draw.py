"""Detections painted on their frame."""

from __future__ import annotations

import numpy as np
import supervision as sv

from vision.results import Detections, Frame

PALETTE = sv.ColorPalette.from_hex(
    ["#0072B2", "#E69F00", "#009E73", "#D55E00", "#CC79A7", "#56B4E9", "#F0E442", "#999999"]
)
"""Okabe and Ito's colours, which most colour-blind people can tell apart."""


def draw(frame: Frame, result: Detections) -> Frame:
    """Paint boxes with label, score and identity.

    Args:
        frame: `(H, W, 3)` uint8 RGB; left as it is.
        result: detections in pixels of the frame.

    Returns:
        A painted copy. Tracked objects keep a colour each, others have their class's.
    """
    picture = np.ascontiguousarray(frame[:, :, ::-1])  # supervision paints BGR
    if not result.objects:
        return np.ascontiguousarray(picture[:, :, ::-1])
    detections = result.to_supervision()
    labels = [
        f"{d.label}{'' if d.track is None else f' #{d.track}'} {d.score:.2f}"
        for d in result.objects
    ]
    colours = np.array([d.category if d.track is None else d.track for d in result.objects])
    size = max(frame.shape[:2])
    thickness = max(1, round(size / 400))
    boxes = sv.BoxAnnotator(color=PALETTE, thickness=thickness)
    texts = sv.LabelAnnotator(
        color=PALETTE,
        text_color=sv.Color.WHITE,
        text_scale=max(0.35, size / 1800),
        text_thickness=1,
        text_padding=max(2, round(size / 240)),
    )
    picture = boxes.annotate(picture, detections, custom_color_lookup=colours)
    picture = texts.annotate(picture, detections, labels=labels, custom_color_lookup=colours)
    return np.ascontiguousarray(picture[:, :, ::-1])
