"""Captions from a captioner: greedy, and by beam search."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from vision.tasks.captioning.encoder import Scene
from vision.tasks.captioning.model import END, Captioner


@dataclass(frozen=True)
class Hypothesis:
    """One caption.

    Args:
        words: `(T,)` int64 ids without the end token.
        log_probs: `(T',)` of each token, the end token included where it was said.
        attention: `(T, N)` attention to regions that produced each word.
        score: what ranks it: the sum of `log_probs`, over its length to the power of the penalty.
    """

    words: Tensor
    log_probs: Tensor
    attention: Tensor
    score: float


@torch.no_grad()
def greedy(model: Captioner, scene: Scene, *, unknown: int | None = None) -> tuple[Tensor, Tensor]:
    """Say the best word at each step.

    Args:
        model: in evaluation mode.
        scene: of `encode`.
        unknown: id of the word for unknown words, whose place the second best takes.

    Returns:
        Words `(B, L)`, which count up to the first 0, and the attention to regions `(B, L, N)`
        that produced them.
    """
    state = model.decoder.begin(scene)
    word = torch.full((len(scene.overall),), END, device=scene.overall.device)
    words, attention = [], []
    for _ in range(model.config.length):
        log_probs, state, scores = model.step(word, scene, state)
        if unknown is not None:
            log_probs = _without(log_probs, unknown)
        word = log_probs.argmax(1)
        words.append(word)
        attention.append(scores.softmax(1))
    return torch.stack(words, 1), torch.stack(attention, 1)


def _without(log_probs: Tensor, word: int) -> Tensor:
    hidden = log_probs.clone()
    hidden[:, word] = -torch.inf
    return hidden


def _without_repeats(log_probs: Tensor, said: Tensor, once: Tensor) -> Tensor:
    """Forbid words `(V,)` of `once` where they are among those `said` `(B, t)`."""
    repeats = torch.zeros_like(log_probs, dtype=torch.bool).scatter(1, said, True)
    return log_probs.masked_fill(repeats & once, -torch.inf)


@dataclass
class _Beam:
    """The live hypotheses of all pictures, `K` rows each; dead rows have a sum of -inf."""

    sums: Tensor  # (B, K)
    words: Tensor  # (B, K, t)
    log_probs: Tensor  # (B, K, t)
    attention: Tensor  # (B, K, t, N)


@torch.no_grad()
def beam_search(
    model: Captioner,
    scene: Scene,
    size: int,
    *,
    unknown: int | None = None,
    once: Tensor | None = None,
    penalty: float = 0.0,
    first_finished: bool = False,
) -> list[list[Hypothesis]]:
    """Keep the best `size` beginnings at each step.

    Args:
        model: in evaluation mode.
        scene: of `encode`.
        size: hypotheses that are kept.
        unknown: id of the word for unknown words, which is then never said.
        once: `(V,)` bool, words that no caption says twice.
        penalty: power of the length by which sums of log-probabilities are divided.
        first_finished: rank captions by when they ended instead of by score. The published
            routine stored views of its running scores and overwrote them, so that it returned
            the first one to end.

    Returns:
        For each picture its finished captions, best first, at most `size`.
    """
    count, regions = scene.hidden.shape
    device = scene.overall.device
    rows = torch.arange(count, device=device)
    wide = scene.select(rows.repeat_interleave(size))
    state = model.decoder.begin(wide)
    word = torch.full((count * size,), END, device=device)
    sums = torch.full((count, size), -torch.inf, device=device)
    sums[:, 0] = 0  # all rows are alike before the first word
    beam = _Beam(
        sums,
        torch.empty(count, size, 0, dtype=torch.long, device=device),
        torch.empty(count, size, 0, device=device),
        torch.empty(count, size, 0, regions, device=device),
    )
    finished: list[list[tuple[int, Hypothesis]]] = [[] for _ in range(count)]
    for step in range(model.config.length):
        log_probs, state, scores = model.step(word, wide, state)
        if unknown is not None:
            log_probs = _without(log_probs, unknown)
        if once is not None:
            log_probs = _without_repeats(log_probs, beam.words.flatten(0, 1), once)
        weights = scores.softmax(1).view(count, size, 1, regions)
        beam.attention = torch.cat((beam.attention, weights), 2)
        parents = _extend(beam, log_probs.view(count, size, -1))
        state = state.select((rows[:, None] * size + parents).flatten())
        word = beam.words[:, :, -1].flatten()
        last = step == model.config.length - 1
        _collect(beam, finished, penalty, last=last)
        if not beam.sums.isfinite().any():
            break
    for hypotheses in finished:
        hypotheses.sort(key=lambda h: h[0] if first_finished else -h[1].score)
    return [[h for _, h in hypotheses[:size]] for hypotheses in finished]


def _extend(beam: _Beam, log_probs: Tensor) -> Tensor:
    """Continue every beginning by its best words; returns the rows that the kept ones came from."""
    count, size, vocabulary = log_probs.shape
    sums = (beam.sums[:, :, None] + log_probs).flatten(1)
    beam.sums, chosen = sums.topk(min(size, sums.shape[1]), 1)
    parents = chosen // vocabulary
    rows = torch.arange(count, device=parents.device)[:, None]
    words = torch.cat((beam.words[rows, parents], (chosen % vocabulary)[..., None]), 2)
    said = log_probs.flatten(1).gather(1, chosen)[..., None]
    beam.log_probs = torch.cat((beam.log_probs[rows, parents], said), 2)
    beam.words, beam.attention = words, beam.attention[rows, parents]
    return parents


def _collect(
    beam: _Beam, finished: list[list[tuple[int, Hypothesis]]], penalty: float, *, last: bool
) -> None:
    """Take out what has ended, or everything at the last step."""
    ended = (beam.words[:, :, -1] == END) | last
    for i, k in (ended & beam.sums.isfinite()).nonzero().tolist():
        words = beam.words[i, k]
        length = len(words) - int(words[-1] == END)
        hypothesis = Hypothesis(
            words=words[:length],
            log_probs=beam.log_probs[i, k],
            attention=beam.attention[i, k, :length],
            score=float(beam.sums[i, k]) / len(words) ** penalty,
        )
        finished[i].append((len(words), hypothesis))
    beam.sums = beam.sums.masked_fill(ended, -torch.inf)
