"""The captioner: a decoder of two LSTMs that attends to regions, and the cycle that trains it."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

import torch
from torch import Tensor, nn

from vision.tasks.captioning.attention import AttentionKind, SoftAttention
from vision.tasks.captioning.encoder import (
    PictureEncoder,
    PictureInputs,
    Scene,
    VideoEncoder,
    VideoInputs,
)

END = 0
"""Id of the token that begins and ends a caption."""


@dataclass(frozen=True)
class CaptionerConfig:
    """What it takes to rebuild a captioner. The defaults are the published ones.

    Args:
        words: size of the vocabulary, the end token included.
        classes: object classes without background.
        variant: `"picture"`, or `"video"` as published.
        length: most tokens of a caption.
        width: of the LSTMs.
        word_width: of word embeddings.
        attention_width: of queries and keys.
        region_width: of the features of regions (and of grid and picture).
        feature_width: of regions' features when classes are told.
        dropout: of everything but regions.
        region_dropout: of encoded regions.
        attention: how regions are compared with the decoder's state.
        temperature: of the decoder's attention when it is a dot product.
        localizer_temperature: of the localizer's attention, always a dot product.
        sampled_frames: frames of a segment that have regions.
        recurrent: what reads a segment's frames.
        recurrent_dropout: between its two layers.
        hide_low_scores: whether regions whose score was too low are never attended to. The
            published code attends to them, though it has set their boxes to zero.
    """

    words: int
    classes: int
    variant: Literal["picture", "video"] = "picture"
    length: int = 20
    width: int = 1024
    word_width: int = 512
    attention_width: int = 512
    region_width: int = 2048
    feature_width: int = 2048
    dropout: float = 0.5
    region_dropout: float = 0.5
    attention: AttentionKind = "additive"
    temperature: float = 1.0
    localizer_temperature: float = 1.0
    sampled_frames: int = 10
    recurrent: Literal["gru", "lstm"] = "gru"
    recurrent_dropout: float = 0.2
    hide_low_scores: bool = True


@dataclass(frozen=True)
class State:
    """Hidden and cell states `(B, R)` of the attention LSTM and the language LSTM."""

    attention: tuple[Tensor, Tensor]
    language: tuple[Tensor, Tensor]

    def select(self, index: Tensor) -> State:
        """Rows of the batch, in the order of `index`."""
        first, second = (
            (hidden[index], cell[index]) for hidden, cell in (self.attention, self.language)
        )
        return State(first, second)


@dataclass(frozen=True)
class Trace:
    """What training compares.

    Args:
        log_probs: `(B, L, V)` of the decoder's words.
        scores: `(B, L, N)` of its attention to regions, before the softmax.
        rebuilt: `(B, L, V)` log-probabilities of the reconstructor's words; None without cycle.
        localized: `(B, L, N)` the localizer's attention to regions; None without cycle.
    """

    log_probs: Tensor
    scores: Tensor
    rebuilt: Tensor | None = None
    localized: Tensor | None = None


class Decoder(nn.Module):
    """Two LSTM cells with attention between them (Anderson et al. 2018)."""

    def __init__(self, config: CaptionerConfig) -> None:
        super().__init__()
        width = config.width
        self.attention_lstm = nn.LSTMCell(config.word_width + 2 * width, width)
        self.attention = SoftAttention(
            width, config.attention_width, config.attention, config.temperature
        )
        self.language_lstm = nn.LSTMCell(2 * width, width)

    def begin(self, scene: Scene) -> State:
        """The state before the first word."""
        zero = torch.zeros_like(scene.overall)
        return State((zero, zero), (zero, zero))

    def read(self, word: Tensor, scene: Scene, state: State) -> tuple[Tensor, Tensor]:
        """State of the attention LSTM after a word's embedding `(B, E)`."""
        entry = torch.cat((state.language[0], scene.overall, word), 1)
        read: tuple[Tensor, Tensor] = self.attention_lstm(entry, state.attention)
        return read

    def speak(self, seen: Tensor, read: tuple[Tensor, Tensor], state: State) -> State:
        """State after what was `seen` `(B, R)`."""
        return State(read, self.language_lstm(torch.cat((seen, read[0]), 1), state.language))

    def forward(self, word: Tensor, scene: Scene, state: State) -> tuple[State, Tensor]:
        """One step.

        Args:
            word: `(B, E)` embedding of the word before.
            scene: what to look at.
            state: after the word before.

        Returns:
            The state, whose `language[0]` tells the next word, and the attention scores `(B, N)`.
        """
        read = self.read(word, scene, state)
        seen, scores = look(self.attention, read[0], scene)
        return self.speak(seen, read, state), scores


def look(attention: SoftAttention, query: Tensor, scene: Scene) -> tuple[Tensor, Tensor]:
    """Attend with one query to regions and, by the same layers, to the context.

    Returns:
        The sum of what both give `(B, R)`, and the regions' scores `(B, N)`.
    """
    regions, scores = attention(query, scene.region_keys, scene.regions, scene.hidden)
    context, _ = attention(query, scene.context_keys, scene.context)
    return regions + context, scores


class Captioner(nn.Module):
    """GVD-style captioner with cyclical training.

    Source: Ma et al., "Learning to Generate Grounded Visual Captions without Localization
    Supervision", ECCV 2020.

    Args:
        config: the architecture.
    """

    def __init__(self, config: CaptionerConfig) -> None:
        super().__init__()
        self.config = config
        variants = {"picture": PictureEncoder, "video": VideoEncoder}
        self.encoder = variants[config.variant](config)
        self.embed = nn.Sequential(
            nn.Embedding(config.words, config.word_width), nn.ReLU(), nn.Dropout(config.dropout)
        )
        self.decoder = Decoder(config)
        self.dropout = nn.Dropout(config.dropout)
        self.vocabulary = nn.Linear(config.width, config.words)
        self.localizer = SoftAttention(
            config.word_width, config.attention_width, "dot", config.localizer_temperature
        )

    def encode(self, inputs: PictureInputs | VideoInputs) -> Scene:
        """What the decoder looks at, the same for every word."""
        scene: Scene = self.encoder(inputs)
        return scene

    def step(self, word: Tensor, scene: Scene, state: State) -> tuple[Tensor, State, Tensor]:
        """One word further.

        Args:
            word: `(B,)` id of the word before; 0 to begin.
            scene: of `encode`.
            state: after the word before; of `decoder.begin` to begin.

        Returns:
            Log-probabilities of the next word `(B, V)`, the state, and the attention scores of
            the regions `(B, N)`.
        """
        state, scores = self.decoder(self.embed(word), scene, state)
        return self.words(state.language[0]), state, scores

    def words(self, hidden: Tensor) -> Tensor:
        """Log-probabilities `(..., V)` of the words that hidden states `(..., R)` tell."""
        logits: Tensor = self.vocabulary(self.dropout(hidden))
        return logits.log_softmax(-1)

    def forward(self, scene: Scene, target: Tensor, *, cycle: bool = True) -> Trace:
        """Teacher-forced captions, and their reconstruction from what their words localize.

        Args:
            scene: of `encode`.
            target: `(B, L)` word ids, 0 from the end on.
            cycle: whether to localize and reconstruct.
        """
        state = self.decoder.begin(scene)
        given = torch.cat((torch.full_like(target[:, :1], END), target[:, :-1]), 1)
        hidden, scores = [], []
        for word in self.embed(given).unbind(1):
            state, score = self.decoder(word, scene, state)
            hidden.append(state.language[0])
            scores.append(score)
        trace = Trace(self.words(torch.stack(hidden, 1)), torch.stack(scores, 1))
        return self._reconstruct(scene, given, trace) if cycle else trace

    def _reconstruct(self, scene: Scene, given: Tensor, trace: Trace) -> Trace:
        """Localize the words that the decoder says, and say the caption from what they see."""
        said = self.embed(trace.log_probs.argmax(2))
        state = self.decoder.begin(scene)
        hidden, localized = [], []
        for word, spoken in zip(self.embed(given).unbind(1), said.unbind(1), strict=True):
            seen, scores = look(self.localizer, spoken, scene)
            state = self.decoder.speak(seen, self.decoder.read(word, scene, state), state)
            hidden.append(state.language[0])
            localized.append(scores.softmax(1))
        rebuilt = self.words(torch.stack(hidden, 1))
        return Trace(trace.log_probs, trace.scores, rebuilt, torch.stack(localized, 1))
