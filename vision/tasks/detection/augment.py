"""Augmentation of pictures with boxes: placing on a canvas, mosaics, flips and colour."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING

import cv2
import numpy as np

if TYPE_CHECKING:
    from vision.tasks.detection.data import Sample

GREY = 114
"""Value of the canvas where no picture lies."""


@dataclass(frozen=True)
class AugmentConfig:
    """How training pictures are varied.

    Args:
        scale: smallest and largest size of a picture, relative to the one that fits the canvas.
        mosaic: probability of putting four pictures on one canvas.
        aspect: largest factor by which width is stretched against height, or the other way.
        flip: whether pictures are mirrored left to right.
        overhead: whether up and down mean nothing (pictures from above): mirrored and turned too.
        colour: strength of brightness, contrast and colour changes, 0 for none.
        grey: probability of taking the colour away.
    """

    scale: tuple[float, float] = (0.7, 1.6)
    mosaic: float = 0.4
    aspect: float = 1.15
    flip: bool = True
    overhead: bool = False
    colour: float = 0.3
    grey: float = 0.05


def augment(
    draw: Callable[[], Sample], size: int, config: AugmentConfig, rng: np.random.Generator
) -> Sample:
    """Make one training sample of `size` x `size` pixels.

    Args:
        draw: gives a picture; called once, or four times for a mosaic.
        size: side of the canvas in pixels.
        config: how to vary.
        rng: source of every random choice.
    """
    if rng.random() < config.mosaic:
        sample = _mosaic([draw() for _ in range(4)], size, config, rng)
    else:
        sample = place(draw(), (size, size), config, rng)
    if config.flip and rng.random() < 0.5:
        _mirror(sample)
    if config.overhead:
        if rng.random() < 0.5:
            _transpose(sample)
        if rng.random() < 0.5:
            _mirror(sample)
    sample.image = _recolour(sample.image, config, rng)
    return sample


def place(
    sample: Sample,
    canvas: tuple[int, int],
    config: AugmentConfig,
    rng: np.random.Generator,
    *,
    cover: bool = False,
) -> Sample:
    """Scale a picture at random and put it at a random place of a grey canvas (height, width).

    Size 1 fits inside the canvas or, with `cover`, covers it.

    What sticks out is cut off; boxes of which less than a third is left are dropped, or kept with
    weight 0 when a tenth is left (neither object nor background).
    """
    height, width = sample.image.shape[:2]
    fit = (max if cover else min)(canvas[0] / height, canvas[1] / width)
    scale = fit * np.exp(rng.uniform(*np.log(config.scale)))
    stretch = np.exp(rng.uniform(-1, 1) * np.log(config.aspect) / 2)
    scales = np.array([scale * stretch, scale / stretch])
    slack = np.array([canvas[1], canvas[0]]) - scales * [width, height]
    offset = slack * rng.random(2)
    matrix = np.array([[scales[0], 0, offset[0]], [0, scales[1], offset[1]]])
    image = cv2.warpAffine(
        sample.image,
        matrix,
        (canvas[1], canvas[0]),
        # Linear sampling skips pixels below half size.
        flags=cv2.INTER_AREA if scale < 0.6 else cv2.INTER_LINEAR,
        borderValue=(GREY, GREY, GREY),
    )
    boxes = sample.boxes.reshape(-1, 2, 2) * scales + offset
    area = np.prod(boxes[:, 1] - boxes[:, 0], axis=1)
    boxes = np.clip(boxes, 0, [canvas[1], canvas[0]])
    sides = boxes[:, 1] - boxes[:, 0]
    left = np.prod(sides, axis=1) / np.maximum(area, 1e-6)
    keep = (left > 0.1) & (sides.min(axis=1) > 2)
    weights = np.where(left > 0.33, sample.weights, 0).astype(np.float32)
    return type(sample)(
        image=image,
        boxes=boxes.reshape(-1, 4)[keep].astype(np.float32),
        labels=sample.labels[keep],
        weights=weights[keep],
        labelled=sample.labelled,
    )


def _mosaic(
    samples: list[Sample], size: int, config: AugmentConfig, rng: np.random.Generator
) -> Sample:
    """Four pictures around a random middle; a class is labelled where all four label it."""
    middle_x, middle_y = (rng.uniform(0.35, 0.65, 2) * size).astype(int)
    image = np.full((size, size, 3), GREY, np.uint8)
    boxes, labels, weights = [], [], []
    for n, sample in enumerate(samples):
        left, right = (0, middle_x) if n % 2 == 0 else (middle_x, size)
        top, bottom = (0, middle_y) if n < 2 else (middle_y, size)
        part = place(sample, (bottom - top, right - left), config, rng, cover=True)
        image[top:bottom, left:right] = part.image
        boxes.append(part.boxes + np.array([left, top, left, top], np.float32))
        labels.append(part.labels)
        weights.append(part.weights)
    return type(samples[0])(
        image=image,
        boxes=np.concatenate(boxes),
        labels=np.concatenate(labels),
        weights=np.concatenate(weights),
        labelled=np.logical_and.reduce([s.labelled for s in samples]),
    )


def _mirror(sample: Sample) -> None:
    sample.image = np.ascontiguousarray(sample.image[:, ::-1])
    width = sample.image.shape[1]
    sample.boxes[:, [0, 2]] = width - sample.boxes[:, [2, 0]]


def _transpose(sample: Sample) -> None:
    sample.image = np.ascontiguousarray(sample.image.transpose(1, 0, 2))
    sample.boxes = np.ascontiguousarray(sample.boxes[:, [1, 0, 3, 2]])


def _recolour(image: np.ndarray, config: AugmentConfig, rng: np.random.Generator) -> np.ndarray:
    """Change brightness, contrast and the balance of the channels by one table a channel."""
    if rng.random() < config.grey:
        grey = cv2.cvtColor(image, cv2.COLOR_RGB2GRAY)
        image = cv2.cvtColor(grey, cv2.COLOR_GRAY2RGB)
    if config.colour == 0:
        return image
    contrast = np.exp(rng.uniform(-1, 1) * config.colour)
    brightness = rng.uniform(-1, 1) * config.colour * 128
    tint = np.exp(rng.uniform(-1, 1, 3) * config.colour / 3)
    levels = np.arange(256)[:, None]
    table = (levels - 128) * contrast * tint + 128 + brightness
    return cv2.LUT(image, np.clip(table, 0, 255).astype(np.uint8)[None])
