"""What a captioner looks at: regions, the scene as a whole, and frames or grid cells."""

from __future__ import annotations

from dataclasses import dataclass, fields
from typing import TYPE_CHECKING, Self

import torch
from torch import Tensor, nn
from torch.nn.functional import layer_norm, relu

if TYPE_CHECKING:
    from vision.tasks.captioning.model import CaptionerConfig

SEGMENT = 50
"""Width of a video segment's place in its video, as the network takes it."""

LOCATION = 300
"""Width of a box's place in its picture."""

FRAME_WIDTH = 720.0
"""Pixels of the frames that video boxes are given in."""

STREAMS = (2048, 1024)
"""Widths of the two features of a video frame: appearance and motion."""


@dataclass(frozen=True)
class Batch:
    """Tensors of a batch that move and are indexed together, `(B, ...)` each."""

    def to(self, device: torch.device) -> Self:
        """The same on another device."""
        return type(self)(*(getattr(self, f.name).to(device) for f in fields(self)))

    def select(self, index: Tensor) -> Self:
        """Rows of the batch, in the order of `index`."""
        return type(self)(*(getattr(self, f.name)[index] for f in fields(self)))


@dataclass(frozen=True)
class PictureInputs(Batch):
    """Pictures as the network takes them.

    Args:
        overall: `(B, C)` feature of the whole picture.
        grid: `(B, T, C)` features of the cells of a coarse grid.
        regions: `(B, N, C)` features of the regions.
        boxes: `(B, N, 5)`: x1, y1, x2, y2 and area as shares of the picture's.
        labels: `(B, N)` int64 class that a detector gave from 1 on, 0 for none.
        confidence: `(B, N)` in [0, 1], how sure the detector is.
        hidden: `(B, N)` bool, padding.
    """

    overall: Tensor
    grid: Tensor
    regions: Tensor
    boxes: Tensor
    labels: Tensor
    confidence: Tensor
    hidden: Tensor


@dataclass(frozen=True)
class VideoInputs(Batch):
    """Segments of video as the published model takes them.

    Args:
        frames: `(B, T, 3072)` features of the frames: appearance 2048, motion 1024.
        window: `(B, 2)` int64, first frame of the segment and the first after it.
        segment: `(B, 4)`: number of the segment, segments of the video, start and end as shares
            of its duration.
        regions: `(B, N, C)` features of the regions.
        boxes: `(B, N, 5)`: x1, y1, x2, y2 in pixels of a 720 px wide frame, and the frame's number.
        count: `(B,)` int64 regions before the padding.
        low: `(B, N)` bool, regions whose score was too low, and padding.
    """

    frames: Tensor
    window: Tensor
    segment: Tensor
    regions: Tensor
    boxes: Tensor
    count: Tensor
    low: Tensor


@dataclass(frozen=True)
class Scene(Batch):
    """What the decoder looks at.

    Args:
        overall: `(B, R)`.
        regions: `(B, N, R)`, zero where hidden.
        region_keys: `(B, N, A)`, zero where hidden.
        hidden: `(B, N)` bool.
        context: `(B, T, R)` frames or grid cells.
        context_keys: `(B, T, A)`.
        detected: `(B, N, F)` the regions' own features, which classes are told by.
        class_scores: `(B, N, D + 1)` log-probabilities of classes, background first.
        shares: `(B, N, D + 1)` probabilities of classes, in which a detector has had its say.
    """

    overall: Tensor
    regions: Tensor
    region_keys: Tensor
    hidden: Tensor
    context: Tensor
    context_keys: Tensor
    detected: Tensor
    class_scores: Tensor
    shares: Tensor


def dense(inputs: int, outputs: int, dropout: float) -> nn.Sequential:
    """Linear layer, ReLU, dropout."""
    return nn.Sequential(nn.Linear(inputs, outputs), nn.ReLU(), nn.Dropout(dropout))


def normalised(*parts: Tensor) -> Tensor:
    """Parts beside each other, each by a layer norm without parameters."""
    return torch.cat([layer_norm(part, part.shape[-1:]) for part in parts], -1)


class RegionEncoder(nn.Module):
    """Regions, with their class and place, as attention takes them (section 3 of the paper).

    Args:
        config: of the captioner.
    """

    def __init__(self, config: CaptionerConfig) -> None:
        super().__init__()
        classes = config.classes + 1
        self.features = dense(config.region_width, config.feature_width, config.dropout)
        self.classes = nn.Embedding(classes, config.feature_width)
        self.class_dropout = nn.Dropout(config.dropout)
        self.class_bias = nn.Parameter(torch.zeros(classes))
        self.location = dense(5, LOCATION, config.dropout)
        width = config.feature_width + LOCATION + classes
        self.embed = dense(width, config.width, config.region_dropout)
        self.keys = nn.Linear(config.width, config.attention_width)

    def class_vectors(self, classes: Tensor) -> Tensor:
        """Vectors `(..., F)` of classes; their product with a region's is the class's score."""
        vectors: Tensor = self.class_dropout(relu(self.classes(classes)))
        return vectors

    def forward(
        self,
        features: Tensor,
        boxes: Tensor,
        hidden: Tensor,
        labels: Tensor | None = None,
        confidence: Tensor | None = None,
    ) -> dict[str, Tensor]:
        """Encode regions.

        Args:
            features: `(B, N, C)`.
            boxes: `(B, N, 5)` as shares of the picture (and of the number of frames).
            hidden: `(B, N)` bool.
            labels: `(B, N)` classes that a detector gave; 0 for none.
            confidence: `(B, N)` how much of a region's class is the detector's word.

        Returns:
            `regions`, `region_keys`, `detected`, `class_scores` and `shares` of a `Scene`.
        """
        shown = (~hidden)[..., None]
        detected = self.features(features) * shown
        every = torch.arange(len(self.class_bias), device=features.device)
        scores = detected @ self.class_vectors(every).T + self.class_bias
        scores = scores.masked_fill(~shown, -1e8).log_softmax(2)
        shares = scores.exp()
        if labels is not None and confidence is not None:
            sure = confidence[..., None]
            told = torch.zeros_like(shares).scatter(2, labels[..., None], 1.0)
            shares = torch.where((labels > 0)[..., None], sure * told + (1 - sure) * shares, shares)
        regions = self.embed(normalised(detected, self.location(boxes), shares)) * shown
        return {
            "regions": regions,
            "region_keys": self.keys(regions) * shown,
            "detected": detected,
            "class_scores": scores,
            "shares": shares,
        }


class PictureEncoder(nn.Module):
    """Pictures: regions, a coarse grid, and the picture as a whole.

    The grid stands where the published model has frames, so that a picture without regions still
    has something to attend to.
    """

    def __init__(self, config: CaptionerConfig) -> None:
        super().__init__()
        self.regions = RegionEncoder(config)
        self.overall = dense(config.region_width, config.width, config.dropout)
        self.grid = dense(config.region_width, config.width, config.dropout)
        self.context_keys = nn.Linear(config.width, config.attention_width)

    def forward(self, inputs: PictureInputs) -> Scene:
        """Encode a batch of pictures."""
        regions = self.regions(
            inputs.regions, inputs.boxes, inputs.hidden, inputs.labels, inputs.confidence
        )
        grid = self.grid(normalised(inputs.grid))
        return Scene(
            overall=self.overall(normalised(inputs.overall)),
            hidden=inputs.hidden,
            context=grid,
            context_keys=self.context_keys(grid),
            **regions,
        )


class FrameEncoder(nn.Module):
    """Frames of a segment, read forwards and backwards by a recurrent network."""

    def __init__(self, config: CaptionerConfig) -> None:
        super().__init__()
        self.streams = nn.ModuleList(
            dense(stream, config.width // 2, config.dropout) for stream in STREAMS
        )
        self.norm = nn.BatchNorm1d(config.width)
        recurrent = {"gru": nn.GRU, "lstm": nn.LSTM}[config.recurrent]
        self.recurrent = recurrent(
            config.width,
            config.width // 2,
            2,
            dropout=config.recurrent_dropout,
            bidirectional=True,
            batch_first=True,
        )

    def forward(self, frames: Tensor, outside: Tensor) -> Tensor:
        """Encode frames `(B, T, 3072)` to `(B, T, R)`, zero where they lie `outside` `(B, T)`."""
        parts = frames.split(STREAMS, 2)
        streams = [stream(part) for stream, part in zip(self.streams, parts, strict=True)]
        joined = self.norm(torch.cat(streams, 2).transpose(1, 2)).relu().transpose(1, 2)
        read: Tensor = self.recurrent(joined)[0]
        return read.masked_fill(outside[..., None], 0)


class VideoEncoder(nn.Module):
    """Segments of video: regions of some frames, and all frames (the published model).

    The mean over all frames includes those outside of the segment, as published.
    """

    def __init__(self, config: CaptionerConfig) -> None:
        super().__init__()
        self.regions = RegionEncoder(config)
        self.segment = dense(4, SEGMENT, config.dropout)
        self.overall = dense(sum(STREAMS) + SEGMENT, config.width, config.dropout)
        self.frames = FrameEncoder(config)
        self.context_keys = nn.Linear(config.width, config.attention_width)
        self.sampled_frames = config.sampled_frames
        self.hide_low_scores = config.hide_low_scores

    def hidden(self, inputs: VideoInputs) -> Tensor:
        """Regions `(B, N)` that must not be attended to."""
        numbers = torch.arange(inputs.low.shape[1], device=inputs.low.device)
        padding = numbers >= inputs.count[:, None]
        return padding | inputs.low if self.hide_low_scores else padding

    def forward(self, inputs: VideoInputs) -> Scene:
        """Encode a batch of segments."""
        hidden = self.hidden(inputs)
        scale = inputs.boxes.new_tensor([FRAME_WIDTH] * 4 + [self.sampled_frames])
        regions = self.regions(inputs.regions, inputs.boxes / scale, hidden)
        numbers = torch.arange(inputs.frames.shape[1], device=inputs.frames.device)
        outside = (numbers < inputs.window[:, :1]) | (numbers >= inputs.window[:, 1:])
        frames = self.frames(inputs.frames, outside)
        place = self.segment(inputs.segment)
        return Scene(
            overall=self.overall(normalised(inputs.frames.mean(1), place)),
            hidden=hidden,
            context=frames,
            context_keys=self.context_keys(frames),
            **regions,
        )
