"""The Object-level Attention Transformer as published (Fang et al., ECCV 2024), for its weights.

`model` holds what this task uses by default; this file keeps to the published behaviour,
its look-ups by lattice and its special tokens included.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Literal

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from vision.errors import FoveateError
from vision.tasks.scanpath.oat_places import LearnedPlaces, Rule, SinusoidPlaces
from vision.tasks.scanpath.patches import PatchCNN


@dataclass(frozen=True)
class OATConfig:
    """The published arguments under readable names; defaults are those of the authors' script.

    Args:
        rows: of the lattice of objects.
        columns: of the lattice.
        width: of tokens (`emb_size`); half is appearance, half place.
        heads: of attention.
        hidden: of the feed-forward parts.
        encoder_layers: how many.
        decoder_layers: how many.
        places: `"learned"`, or the rule of the sinusoid.
        alpha: parameter of that rule.
        wide_rows: rows of the sinusoid at 0, 1.6 and 3.2 (`changeX`).
        pointer: whether objects are pointed at (`CA_version` 3) or told by number (0).
        pointer_heads: of the pointer (`CA_head`).
        pointer_scale: its scores are divided by the root of this (`CA_dk`).
        levels: of the patches' spatial pyramid (`spp`).
        dropout: everywhere.
    """

    rows: int
    columns: int
    width: int = 512
    heads: int = 4
    hidden: int = 512
    encoder_layers: int = 4
    decoder_layers: int = 4
    places: Literal["learned"] | Rule = "learned"
    alpha: float = 0.9
    wide_rows: bool = False
    pointer: bool = True
    pointer_heads: int = 2
    pointer_scale: int = 512
    levels: int = 0
    dropout: float = 0.1

    @property
    def objects(self) -> int:
        """How many objects there are; their ids are 0 … N - 1."""
        return self.rows * self.columns

    @property
    def end(self) -> int:
        """Id of the end of a path."""
        return self.objects

    @property
    def pad(self) -> int:
        """Id that fills up short paths."""
        return self.objects + 1

    @property
    def begin(self) -> int:
        """Id before the first fixation."""
        return self.objects + 2


class TimeCode(nn.Module):
    """Adds the usual sinusoid over steps, then dropout."""

    def __init__(self, width: int, dropout: float, longest: int = 5000) -> None:
        super().__init__()
        angles = torch.arange(longest)[:, None] * torch.exp(
            -torch.arange(0, width, 2) * math.log(10000) / width
        )
        code = torch.stack((angles.sin(), angles.cos()), -1).flatten(1)[:, :width]
        self.register_buffer("pos_embedding", code[:, None], persistent=False)
        self.pos_embedding: Tensor
        self.dropout = nn.Dropout(dropout)

    def forward(self, x: Tensor) -> Tensor:
        """Add to tokens `(T, B, C)`."""
        summed: Tensor = self.dropout(x + self.pos_embedding[: len(x)])
        return summed


class PointerScore(nn.Module):
    """One head of the pointer: how well each encoder token suits each decoder token."""

    def __init__(self, width: int, scale: int) -> None:
        super().__init__()
        self.decode_fc = nn.Linear(width, width)
        self.encode_fc = nn.Linear(width, width)
        self.scale = scale

    def forward(self, decoded: Tensor, encoded: Tensor) -> Tensor:
        """Scores `(T, B, S + 1)`, the last column zero, of `(T, B, C)` against `(S, B, C)`."""
        scores = torch.einsum("tbc,sbc->tbs", self.decode_fc(decoded), self.encode_fc(encoded))
        return F.pad(scores, (0, 1)) / math.sqrt(self.scale)


class Pointer(nn.Module):
    """Pointer heads, and how they are merged."""

    def __init__(self, width: int, heads: int, scale: int) -> None:
        super().__init__()
        self.cross_attentions = nn.ModuleList(PointerScore(width, scale) for _ in range(heads))
        self.readout = nn.Linear(heads, 1)

    def forward(self, decoded: Tensor, encoded: Tensor) -> Tensor:
        """Logits `(T, B, S + 1)` of decoder tokens `(T, B, C)` over encoder tokens `(S, B, C)`."""
        return point(self.cross_attentions, self.readout, decoded, encoded)


def point(heads: nn.ModuleList, readout: nn.Module, decoded: Tensor, encoded: Tensor) -> Tensor:
    """Logits of a pointer's heads, merged; one head is not merged though it has the weights."""
    scores = [head(decoded, encoded) for head in heads]
    if len(scores) == 1:
        return scores[0]
    merged: Tensor = readout(torch.stack(scores, -1)).squeeze(-1)
    return merged


class OAT(nn.Module):
    """Encoder over objects, decoder over fixations, pointer from one to the other.

    Parameters have the published names. Tokens come step first: `(L, B, C)`.

    Args:
        config: the architecture.
        table: `(K, D)` learned place table; the published state dict does not hold it.

    Raises:
        FoveateError: learned places without a table.
    """

    def __init__(self, config: OATConfig, table: Tensor | None = None) -> None:
        super().__init__()
        self.config = config
        half = config.width // 2
        self.cnn_embedding = PatchCNN(half, config.levels)
        if config.places == "learned":
            if table is None:
                raise FoveateError("OAT with learned places needs its place table")
            self.places: nn.Module = LearnedPlaces(table, half)
        else:
            self.places = SinusoidPlaces(
                half, config.places, config.alpha, wide_rows=config.wide_rows
            )
        shape = (config.width, config.heads, config.hidden, config.dropout)
        self.transformer_encoder = nn.TransformerEncoder(
            nn.TransformerEncoderLayer(*shape), config.encoder_layers, enable_nested_tensor=False
        )
        self.transformer_decoder = nn.TransformerDecoder(
            nn.TransformerDecoderLayer(*shape), config.decoder_layers
        )
        self.onedpositional_encoding = TimeCode(config.width, config.dropout)
        if config.pointer:
            pointer = Pointer(config.width, config.pointer_heads, config.pointer_scale)
            self.cross_attentions, self.readout = pointer.cross_attentions, pointer.readout
        else:
            self.generator = nn.Linear(config.width, config.objects + 2)
        for parameter in self.parameters():
            if parameter.ndim > 1:
                nn.init.xavier_uniform_(parameter)

    def coordinates(self, ids: Tensor, target: Tensor) -> Tensor:
        """Row, column and target flag `(L, B, 3)` of ids `(L, B)` with targets `(B,)`.

        Specials fall outside the lattice; the beginning lies in its middle.
        """
        config = self.config
        place = torch.stack(
            (ids // config.columns, ids % config.columns, (ids == target).long()), -1
        ).float()
        middle = place.new_tensor((config.rows / 2, config.columns / 2, 0.0))
        return torch.where((ids == config.begin)[..., None], middle, place)

    def encode(self, patches: Tensor, target: Tensor) -> Tensor:
        """Encode objects and, after them, the target once more.

        Args:
            patches: `(B, N, H, W, 3)` in [0, 1].
            target: `(B,)` ids.

        Returns:
            `(N + 1, B, C)`.
        """
        batch, count = patches.shape[:2]
        ids = torch.arange(count, device=patches.device)[:, None].expand(-1, batch)
        ids = torch.cat((ids, target[None]))
        appearance = self.cnn_embedding(patches)
        shown = torch.cat((appearance, appearance[torch.arange(batch), target][:, None]), 1)
        place = self.places(self.source_coordinates(ids, target))
        encoded: Tensor = self.transformer_encoder(torch.cat((shown.transpose(0, 1), place), -1))
        return encoded

    def source_coordinates(self, ids: Tensor, target: Tensor) -> Tensor:
        """Coordinates of encoder tokens `(N + 1, B)`: only the last, the target, has the flag."""
        place = self.coordinates(ids, target)
        place[:-1, :, 2] = 0
        place[-1, :, 2] = 1
        return place

    def decode(
        self, encoded: Tensor, patches: Tensor, target: Tensor, ids: Tensor, special: Tensor
    ) -> Tensor:
        """Logits of the next fixation after each of the ids.

        Args:
            encoded: of `encode`.
            patches: `(B, N, H, W, 3)` in [0, 1].
            target: `(B,)` ids.
            ids: `(T, B)`: the beginning, then fixated objects.
            special: `(T, B)` brightness of the blank patch of ids that are no objects.

        Returns:
            `(T, B, N + 2)`: objects, then the end, then padding.
        """
        columns = torch.arange(len(patches), device=patches.device)
        real = ids < self.config.objects
        shown = patches[columns, ids.clamp(max=self.config.objects - 1)]
        shown = torch.where(real[..., None, None, None], shown, special[..., None, None, None])
        place = self.places(self.coordinates(ids, target))
        tokens = self.onedpositional_encoding(torch.cat((self.cnn_embedding(shown), place), -1))
        length = len(ids)
        later = torch.ones(length, length, dtype=torch.bool, device=ids.device).triu(1)
        decoded = self.transformer_decoder(
            tokens,
            encoded,
            tgt_mask=later,
            tgt_key_padding_mask=(ids == self.config.pad).T,
        )
        if not self.config.pointer:
            logits: Tensor = self.generator(decoded)
            return logits
        return point(self.cross_attentions, self.readout, decoded, encoded)

    def forward(self, patches: Tensor, target: Tensor, ids: Tensor) -> Tensor:
        """Teacher forcing: logits `(T, B, N + 2)` after each of `ids` `(T, B)`.

        Patches of special ids are white, as in the published training.
        """
        encoded = self.encode(patches, target)
        return self.decode(encoded, patches, target, ids, torch.ones(ids.shape).to(patches))


def oat_loss(logits: Tensor, labels: Tensor, pad: int) -> Tensor:
    """Mean cross entropy of logits `(T, B, N + 2)` against ids `(T, B)`, padding left out."""
    return F.cross_entropy(logits.flatten(0, 1), labels.flatten(), ignore_index=pad)


@torch.inference_mode()
def oat_path(
    model: OAT,
    patches: Tensor,
    target: int,
    longest: int,
    *,
    sample: bool = False,
    temperature: float = 1.0,
    generator: torch.Generator | None = None,
    human: list[int] | None = None,
) -> tuple[list[int], list[float]]:
    """Decode one path as published: the first step must be an object, nothing may be padding.

    Args:
        model: in evaluation mode.
        patches: `(N, H, W, 3)` in [0, 1].
        target: id.
        longest: most fixations.
        sample: draw from the softmax rather than take the largest.
        temperature: of the draw.
        generator: of the draw; torch's own when None.
        human: a viewer's path, to be charged for with cross entropy at each step and its end.

    Returns:
        Ids up to the end, and the losses against `human`.
    """
    config = model.config
    batch = patches[None]
    aim = torch.tensor([target], device=patches.device)
    encoded = model.encode(batch, aim)
    ids = [config.begin]
    labels = None if human is None else [*human, config.end]
    losses: list[float] = []
    done: int | None = None
    # The published loop looks at specials as white at first and as black once decoding has begun.
    while len(ids) <= longest:
        step = len(ids) - 1
        # After its end the published loop goes on for one step more than it charges for: it
        # shows in the random numbers of the next path.
        if done is not None and (labels is None or step > len(labels)):
            break
        special = torch.zeros(len(ids), 1).to(patches)
        special[0] = 1.0
        decoded = model.decode(encoded, batch, aim, torch.tensor(ids)[:, None].to(aim), special)
        allowed = decoded[-1, 0, : config.objects + (step > 0)]
        if labels is not None and step < len(labels):
            losses.append(F.cross_entropy(allowed, torch.tensor(labels[step]).to(aim)).item())
        if sample:
            odds = (allowed / temperature).softmax(0)
            chosen = int(torch.multinomial(odds, 1, generator=generator))
        else:
            chosen = int(allowed.argmax())
        if chosen == config.end and done is None:
            done = step
        ids.append(chosen)
    return ids[1 : None if done is None else done + 1], losses
