"""MiniROAD: which step is being done now, frame by frame, from frame features.

A GRU over embedded features (An et al., ICCV 2023). Its state goes on from call to call, so that a
video may come in pieces; with `anticipation` it also says what the next frames will be.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import NamedTuple

from torch import Tensor, nn

from vision.catalogue import Weights

OFFICIAL = {
    "layer1.": "embed.",
    "f_classification.0.": "classify.",
    "anticipation_layer.0.": "anticipate.",
}
"""How the published checkpoints name what is ours; `gru` is the same."""

UNUSED = "f_actionness."
"""A head that published checkpoints may hold and that nothing reads."""


@dataclass(frozen=True)
class RecognizerConfig:
    """Architecture of a recogniser; the defaults are those of the published models.

    Args:
        features: size D of a frame's features; of RGB and flow together when both are used.
        classes: number K of classes.
        embed: size E of the embedded features.
        hidden: size H of the GRU's state.
        layers: of the GRU.
        dropout: of the embedded features.
        anticipation: number L of coming frames that are predicted too; 0 for none.
    """

    features: int
    classes: int
    embed: int = 2048
    hidden: int = 1024
    layers: int = 1
    dropout: float = 0.2
    anticipation: int = 0


class Recognition(NamedTuple):
    """What a recogniser says of T frames.

    Args:
        logits: `(B, T, K)`.
        anticipated: logits `(B, T, L, K)` of the L frames after each; None without anticipation.
        state: `(layers, B, H)`, to be given with the next frames.
    """

    logits: Tensor
    anticipated: Tensor | None
    state: Tensor


class MiniROAD(nn.Module):
    """Linear, LayerNorm, ReLU, dropout; GRU; ReLU; linear classifier.

    Args:
        config: sizes.
    """

    def __init__(self, config: RecognizerConfig) -> None:
        super().__init__()
        self.config = config
        self.embed = nn.Sequential(
            nn.Linear(config.features, config.embed),
            nn.LayerNorm(config.embed),
            nn.ReLU(),
            nn.Dropout(config.dropout),
        )
        self.gru = nn.GRU(config.embed, config.hidden, config.layers, batch_first=True)
        self.classify = nn.Linear(config.hidden, config.classes)
        self.anticipate = (
            nn.Linear(config.hidden, config.anticipation * config.hidden)
            if config.anticipation
            else None
        )

    def forward(self, features: Tensor, state: Tensor | None = None) -> Recognition:
        """Logits of every frame, and the state after the last.

        Args:
            features: `(B, T, D)`, frames in order; RGB before flow.
            state: `(layers, B, H)` from the frames before; None at the beginning of a video.
        """
        hidden, state = self.gru(self.embed(features), state)
        hidden = hidden.relu()
        anticipated = None
        if self.anticipate is not None:
            coming = self.anticipate(hidden).unflatten(-1, (self.config.anticipation, -1))
            anticipated = self.classify(coming.relu())
        return Recognition(self.classify(hidden), anticipated, state)


def translate(weights: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """Rename the tensors of a published checkpoint (MiniROAD, MiniROADA) to ours."""
    renamed = {}
    for name, tensor in weights.items():
        if name.startswith(UNUSED):
            continue
        start = next((old for old in OFFICIAL if name.startswith(old)), "")
        renamed[OFFICIAL.get(start, "") + name[len(start) :]] = tensor
    return renamed


def load_recognizer(model: MiniROAD, weights: Mapping[str, Tensor], name: str) -> None:
    """Fill a recogniser with weights, ours or published ones.

    Raises:
        FoveateError: they are of another architecture.
    """
    Weights(name, translate(weights), {}).fill(model)
