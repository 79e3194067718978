"""What a captioner must beat: one caption for all, and the caption of similar pictures."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence

from torch import Tensor
from torch.nn.functional import normalize

from vision.tasks.captioning.vocabulary import tokenise

ORDERS = 4


def consensus(captions: Sequence[str]) -> str:
    """The caption that shares most with the others: mean F1 over runs of 1 to 4 words."""
    counts = [_runs(tokenise(caption)) for caption in captions]
    likeness = [
        sum(_f1(own, other) for other in counts if other is not own) / max(1, len(counts) - 1)
        for own in counts
    ]
    return captions[max(range(len(captions)), key=likeness.__getitem__)]


def nearest_captions(
    features: Tensor, known: Tensor, captions: Sequence[Sequence[str]], neighbours: int = 3
) -> list[str]:
    """For each picture the consensus of the captions of the pictures most like it.

    Args:
        features: `(B, C)` of the pictures.
        known: `(M, C)` of pictures with captions.
        captions: of these.
        neighbours: how many of them, by cosine.
    """
    likeness = normalize(features, dim=1) @ normalize(known, dim=1).T
    nearest = likeness.topk(min(neighbours, len(captions)), 1).indices.tolist()
    return [consensus([c for n in rows for c in captions[n]]) for rows in nearest]


def _runs(tokens: Sequence[str]) -> Counter[tuple[str, ...]]:
    return Counter(
        tuple(tokens[i : i + n]) for n in range(1, ORDERS + 1) for i in range(len(tokens) - n + 1)
    )


def _f1(first: Counter[tuple[str, ...]], second: Counter[tuple[str, ...]]) -> float:
    total = first.total() + second.total()
    return 2 * (first & second).total() / total if total else 0.0
