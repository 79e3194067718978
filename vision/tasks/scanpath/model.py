"""Scanpaths over any number of objects: an encoder of objects, a decoder of fixations.

The design follows OAT (Fang et al., ECCV 2024): fixations are a sequence of objects that a pointer
chooses. Beyond it, places are continuous, the target may be told by its looks or its label alone,
what was visited and when is an input, and each fixation has a duration and a place in its box.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, replace

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from vision.catalogue import Weights
from vision.tasks.scanpath.features import FeatureConfig
from vision.tasks.scanpath.layers import DecoderBlock, EncoderBlock, KeyValue
from vision.tasks.scanpath.patches import PatchCNN
from vision.tasks.scanpath.scene import Encoded, Goal, Scene, Steps

FREQUENCIES = 4
LOUD = 4.0
"""Factor of what tells of the target: it matters at one step of many, and would be learnt late."""

PAIRS = 13
"""Features of a step and an object, see `_pairs`."""


@dataclass(frozen=True)
class ScanpathConfig:
    """What it takes to rebuild a scanpath model.

    Args:
        features: backbone features of boxes; None for layouts without pictures.
        patch_width: length of what the small network sees in boxes, beside them; 0 for none.
        patch_size: side in pixels to which it gets the boxes.
        labels: names that objects and targets may have.
        named: whether viewers know the labels of objects that they have not looked at; where a
            target's label is its own, that tells its place.
        width: of tokens.
        heads: of attention.
        encoder_layers: how many.
        decoder_layers: how many.
        dropout: everywhere.
        longest: most fixations of a path.
        durations: whether fixations have durations.
        location: whether the model is told where the target is.
        grid: rows and columns of patches where a picture has no objects.
    """

    features: FeatureConfig | None = None
    patch_width: int = 0
    patch_size: int = 32
    labels: tuple[str, ...] = ()
    named: bool = True
    width: int = 128
    heads: int = 4
    encoder_layers: int = 2
    decoder_layers: int = 2
    dropout: float = 0.2
    longest: int = 24
    durations: bool = True
    location: bool = False
    grid: tuple[int, int] = (12, 16)


class ScanpathModel(nn.Module):
    """Scores the next object, the end, and how a fixation lies in time and space.

    Args:
        config: the architecture.
        feature_width: length of a box's backbone features; 0 for none.
    """

    def __init__(self, config: ScanpathConfig, feature_width: int = 0) -> None:
        super().__init__()
        self.config = config
        width, shape = config.width, (config.width, config.heads, config.dropout)
        looks = feature_width + config.patch_width
        self.register_buffer("mean", torch.zeros(feature_width))
        self.register_buffer("std", torch.ones(feature_width))
        self.mean: Tensor
        self.std: Tensor
        self.cnn = PatchCNN(config.patch_width, levels=3) if config.patch_width else None
        self.looks = (
            nn.Sequential(nn.Dropout(config.dropout), nn.Linear(looks, width)) if looks else None
        )
        self.place = nn.Linear(4 + 4 * FREQUENCIES, width)
        self.label = nn.Embedding(1 + len(config.labels), width, padding_idx=0)
        self.encoder = nn.ModuleList(EncoderBlock(*shape) for _ in range(config.encoder_layers))
        self.encoded = nn.LayerNorm(width)

        self.begin = nn.Parameter(torch.randn(width) * 0.02)
        self.fixated = nn.Linear(width, width)
        self.when = nn.Linear(5, width)
        self.goal = nn.Linear(width, width)
        self.decoder = nn.ModuleList(DecoderBlock(*shape) for _ in range(config.decoder_layers))
        self.decoded = nn.LayerNorm(width)

        self.ask, self.answer = nn.Linear(width, width), nn.Linear(width, width + 1)
        self.pair, self.mood = nn.Linear(PAIRS, 32), nn.Linear(width, 32)
        self.weigh = nn.Linear(32, 1)
        self.stop = nn.Linear(width, 1)
        self.landing = nn.Sequential(
            nn.Linear(2 * width, 64), nn.GELU(), nn.Dropout(config.dropout), nn.Linear(64, 6)
        )

    def appearance(self, features: Tensor | None, patches: Tensor | None) -> Tensor | None:
        """Looks `(..., C)` of boxes from what is known of them; None when nothing is."""
        parts = []
        if len(self.mean):
            assert features is not None
            parts.append((features - self.mean) / self.std)
        if self.cnn is not None:
            assert patches is not None
            parts.append(self.cnn(patches))
        if self.looks is None:
            return None
        looks: Tensor = self.looks(torch.cat(parts, -1))
        return looks

    def encode(self, scene: Scene) -> Encoded:
        """Encode the objects of pictures, whatever is looked for."""
        centres = scene.places[..., :2]
        distance = torch.cdist(centres, centres)
        sizes = scene.places[..., 2:].clamp(min=1e-3).log()
        waves = centres[..., None] * (math.pi * 2.0 ** torch.arange(FREQUENCIES).to(centres))
        code = torch.cat((waves.sin().flatten(-2), waves.cos().flatten(-2)), -1)
        tokens = self.place(torch.cat((centres, sizes + 2, code), -1)) + self.label(scene.labels)
        looks = self.appearance(scene.features, scene.patches)
        looks = self.label(scene.labels) if looks is None else looks + self.label(scene.labels)
        tokens = tokens + looks
        for block in self.encoder:
            tokens = block(tokens, distance, scene.mask)
        tokens = self.encoded(tokens)
        keyvalues = [
            block.objects.remember(tokens)
            for block in self.decoder
            if isinstance(block, DecoderBlock)
        ]
        return Encoded(tokens, looks, scene.places, scene.mask, keyvalues)

    def aim(self, goal: Goal) -> Tensor:
        """What a target looks like, `(B, P, C)`; zero for free viewing."""
        wanted: Tensor = self.label(goal.labels)
        if goal.features is not None and self.looks is not None:
            there = (goal.features != 0).any(-1, keepdim=True)
            looks = (goal.features - self.mean) / self.std
            if self.cnn is not None:  # a target is told by backbone features alone
                looks = F.pad(looks, (0, self.config.patch_width))
            wanted = wanted + self.looks(looks) * there
        return wanted

    def forward(
        self,
        encoded: Encoded,
        goal: Goal,
        steps: Steps,
        kept: list[KeyValue] | None = None,
    ) -> tuple[Tensor, Tensor, list[KeyValue]]:
        """Score what comes after each step.

        Args:
            encoded: of `encode`.
            goal: what is looked for.
            steps: the steps; all of a path, or those after the ones kept.
            kept: what this function returned last for earlier steps.

        Returns:
            Logits `(B, P, T, N + 1)`, the last column being the end; states `(B, P, T, C)` for
            `land`; and what to keep.
        """
        aim = self.aim(goal)
        x = self._read(encoded, goal, steps) + self.goal(aim)[:, :, None]
        keep = []
        for n, block in enumerate(self.decoder):
            x, memory = block(
                x, encoded.keyvalues[n], encoded.mask, None if kept is None else kept[n]
            )
            keep.append(memory)
        state = self.decoded(x)
        answer = self.answer(encoded.tokens)
        scores = torch.einsum("bptc,bnc->bptn", self.ask(state), answer[..., :-1])
        scores = scores / math.sqrt(self.config.width) + answer[:, None, None, :, -1]
        pairs = self.pair(self._pairs(encoded, goal, aim, steps)) + self.mood(state)[..., None, :]
        scores = scores + self.weigh(F.gelu(pairs)).squeeze(-1)
        scores = scores.masked_fill(~encoded.mask[:, None, None], -torch.inf)
        return torch.cat((scores, self.stop(state)), -1), state, keep

    def _read(self, encoded: Encoded, goal: Goal, steps: Steps) -> Tensor:
        """Tokens `(B, P, T, C)` of the steps: what was fixated, for how long, and when."""
        began = steps.objects < 0
        current = steps.objects.clamp(min=0)
        batch = torch.arange(len(current), device=current.device)[:, None, None]
        token = self.fixated(encoded.tokens[batch, current])
        token = torch.where(began[..., None], self.begin, token)
        found = goal.match.gather(-1, current.flatten(2)) * ~began
        timed = ~steps.durations.isnan() & ~began
        log = torch.where(timed, (steps.durations.nan_to_num().clamp(min=20) / 245).log(), 0.0)
        elapsed, index = steps.elapsed / 1000, steps.index.expand_as(current)
        when = torch.stack((log, elapsed, timed.float(), (index + 1).log(), LOUD * found), -1)
        read: Tensor = token + self.when(when)
        return read

    def _pairs(self, encoded: Encoded, goal: Goal, aim: Tensor, steps: Steps) -> Tensor:
        """Way from the last fixation to each object, and its visits: `(B, P, T, N, 13)`."""
        centres, sizes = encoded.places[..., :2], encoded.places[..., 2:]
        batch = torch.arange(len(centres), device=centres.device)[:, None, None]
        began = steps.objects < 0
        here = centres[batch, steps.objects.clamp(min=0)] * ~began[..., None]
        way = centres[:, None, None] - here[..., None, :]
        distance = way.norm(dim=-1)
        visited = (steps.last > 0).float()
        since = (steps.index[:, None] - steps.last).float()
        apart = torch.cdist(centres, centres)[:, None] + 9 * (1 - goal.known[..., None])
        near = (-4 * apart.amin(-2)).exp()
        likeness = F.cosine_similarity(aim[:, :, None], encoded.looks[:, None], dim=-1)
        shape = distance.shape
        return torch.stack(
            (
                way[..., 0],
                way[..., 1],
                distance,
                (-4 * distance).exp(),
                visited,
                visited * (-since / 2).exp(),
                visited * (since < 1),
                steps.visits.float().clamp(max=4) / 4,
                sizes.clamp(min=1e-3).log().sum(-1)[:, None, None].expand(shape) / 2 + 2,
                began[..., None].float().expand(shape),
                LOUD * likeness[:, :, None].expand(shape),
                LOUD * goal.known[:, :, None].expand(shape),
                near[:, :, None].expand(shape),
            ),
            -1,
        )

    def land(self, encoded: Encoded, state: Tensor, objects: Tensor) -> tuple[Tensor, Tensor]:
        """How a fixation of a chosen object lies in time and in its box.

        Args:
            encoded: of `encode`.
            state: `(B, P, T, C)` of `forward`.
            objects: `(B, P, T)` chosen.

        Returns:
            Means and deviations `(B, P, T, 3)`: of the duration's logarithm (ms), and of x and y
            from the box's centre in half its width and height.
        """
        batch = torch.arange(len(objects), device=objects.device)[:, None, None]
        chosen = encoded.tokens[batch, objects.clamp(min=0)]
        mean, spread = self.landing(torch.cat((state, chosen), -1)).unflatten(-1, (2, 3)).unbind(-2)
        centre = mean.new_tensor((5.5, 0.0, 0.0))
        return mean + centre, F.softplus(spread) + 0.05


def load_scanpath(model: ScanpathModel, weights: Weights) -> None:
    """Fill a model with weights; FoveateError when they are of another architecture."""
    own = {k: v for k, v in weights.tensors.items() if not k.startswith("features.")}
    replace(weights, tensors=own).fill(model)
