"""Captioning data: pictures with captions, and captions alone with pictures made up for them."""

from __future__ import annotations

import gzip
import json
import zlib
from collections import defaultdict
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor
from torch.utils.data import Dataset

from vision.errors import FoveateError
from vision.tasks.boxes import LabelledBox
from vision.tasks.captioning.encoder import Batch, PictureInputs
from vision.tasks.captioning.imagination import Imagination, Picture, pick
from vision.tasks.captioning.views import View, join
from vision.tasks.captioning.vocabulary import Vocabulary, tokenise
from vision.tasks.detection.coco import load_json


@dataclass(frozen=True)
class PicturesConfig:
    """Pictures with boxes; paths are relative to the data root.

    Args:
        annotations: COCO instance file, which may hold `captions` as well.
        images: uncompressed tar or folder of its pictures.
    """

    annotations: str
    images: str


def read_text(path: Path) -> dict[int, list[list[str]]]:
    """Tokens of the captions by image id, from `{id: [caption, ...]}`, gzipped or not.

    Raises:
        FoveateError: there is no such file, or it is something else.
    """
    try:
        content = gzip.decompress(path.read_bytes()) if path.suffix == ".gz" else path.read_bytes()
        return {
            int(key): [tokenise(caption) for caption in captions]
            for key, captions in json.loads(content).items()
        }
    except FileNotFoundError:
        raise FoveateError(f"no such file: {path}") from None
    except (OSError, EOFError, zlib.error, ValueError, AttributeError, TypeError) as error:
        raise FoveateError(f"{path} holds no captions: {error}") from None


def captions_of(truth: Mapping[str, Any]) -> dict[int, list[list[str]]]:
    """Tokens of the captions in a COCO file by image id; nothing when it holds none."""
    found: dict[int, list[list[str]]] = defaultdict(list)
    for caption in truth.get("captions", []):
        found[caption["image_id"]].append(tokenise(caption["caption"]))
    return dict(found)


def true_regions(truth: Mapping[str, Any]) -> dict[int, list[LabelledBox]]:
    """Annotated boxes by image id, crowds left out."""
    names = {c["id"]: c["name"] for c in truth["categories"]}
    found: dict[int, list[LabelledBox]] = defaultdict(list)
    for a in truth["annotations"]:
        if not a.get("iscrowd"):
            x, y, w, h = a["bbox"]
            found[a["image_id"]].append(
                LabelledBox((x, y, x + w, y + h), names[a["category_id"]], 1.0)
            )
    return dict(found)


@dataclass(frozen=True)
class Sample:
    """What training takes.

    Args:
        view: the picture, real or made up.
        targets: `(N,)` int64 true class of each region, 0 when nobody knows.
        caption: `(L,)` word ids.
        positive: `(L, N)` bool, regions that show what the word names.
    """

    view: View
    targets: Tensor
    caption: Tensor
    positive: Tensor


class CaptionDataset(Dataset[Sample]):
    """Endless training samples, each a function of the seed and its index alone.

    The captions of one batch have one length, so that none of it is padding.

    Args:
        pictures: annotated ones.
        captions: tokens of captions by image id, those of pictures among them.
        vocabulary: words.
        named: class number of each word that names one.
        classes: number of classes.
        caption_length: tokens of a caption at most.
        share: part of the samples that are real pictures; for the others a picture is made up.
        batch: samples that go together.
        length: number of samples.
        seed: of every random choice.

    Raises:
        FoveateError: no picture has captions.
    """

    def __init__(
        self,
        pictures: Sequence[Picture],
        captions: Mapping[int, list[list[str]]],
        vocabulary: Vocabulary,
        named: Mapping[str, int],
        *,
        classes: int,
        caption_length: int,
        share: float,
        batch: int,
        length: int,
        seed: int,
    ) -> None:
        self.real = {p.id: p for p in pictures if p.id in captions}
        if not self.real:
            raise FoveateError("no picture of the recipe has captions")
        self.captions = captions
        self.described, self.texts = (
            self._by_length(ids, caption_length) for ids in (self.real, captions)
        )
        lengths = [n for n, found in self.described.items() for _ in found]
        self.lengths = sorted(lengths)
        self.vocabulary, self.named = vocabulary, named
        self.imagine = Imagination(pictures, classes)
        self.caption_length, self.share, self.batch = caption_length, share, batch
        self.length, self.seed = length, seed

    def _by_length(self, ids: Iterable[int], most: int) -> dict[int, list[tuple[int, int]]]:
        """Image id and number of the captions of each length, cut at `most`."""
        found: dict[int, list[tuple[int, int]]] = defaultdict(list)
        for i in sorted(ids):
            for n, caption in enumerate(self.captions[i]):
                found[min(len(caption), most)].append((i, n))
        return dict(found)

    def __len__(self) -> int:
        return self.length

    def __iter__(self) -> Iterator[Sample]:
        return (self[i] for i in range(self.length))

    def __getitem__(self, index: int) -> Sample:
        together = np.random.default_rng((self.seed, index // self.batch))
        size = self.lengths[together.integers(len(self.lengths))]
        rng = np.random.default_rng((self.seed, index // self.batch, index % self.batch))
        if rng.random() < self.share:
            i, n = pick(self.described[size], rng)
            picture = self.real[i]
            kept = np.flatnonzero(rng.random(len(picture.targets)) > 0.15).tolist()
            return self._sample(
                picture.found.rows(kept), picture.targets[kept], self.captions[i][n]
            )
        i, n = pick(self.texts[size], rng)
        captions = self.captions[i]
        told = {self.named[word] for word in captions[n] if word in self.named}
        beside = {self.named[w] for other in captions for w in other if w in self.named} - told
        classes = [*sorted(told), *(c for c in sorted(beside) if rng.random() < 0.6)]
        return self._sample(*self.imagine(classes, rng), captions[n])

    def _sample(self, view: View, targets: Tensor, caption: Sequence[str]) -> Sample:
        numbers = torch.tensor([self.named.get(w, 0) for w in caption[: self.caption_length]])
        positive = torch.zeros(self.caption_length, len(targets), dtype=torch.bool)
        positive[: len(numbers)] = (numbers[:, None] == targets) & (numbers[:, None] > 0)
        words = self.vocabulary.encode(caption, self.caption_length)
        return Sample(view, targets, torch.tensor(words), positive)


@dataclass(frozen=True)
class CaptionBatch(Batch):
    """Samples together: `captions` `(B, L)`, `targets` `(B, N)`, `positive` `(B, L, N)`."""

    inputs: PictureInputs
    targets: Tensor
    captions: Tensor
    positive: Tensor


def collate(samples: Sequence[Sample]) -> CaptionBatch:
    """Samples as one batch, padded to the most regions and cut after the longest caption."""
    inputs = join([s.view for s in samples])
    count, most = inputs.hidden.shape
    targets = torch.zeros(count, most, dtype=torch.long)
    positive = torch.zeros(count, len(samples[0].caption), most, dtype=torch.bool)
    for i, sample in enumerate(samples):
        targets[i, : len(sample.targets)] = sample.targets
        positive[i, :, : len(sample.targets)] = sample.positive
    captions = torch.stack([s.caption for s in samples])
    kept = int((captions > 0).sum(1).max()) + 1
    return CaptionBatch(inputs, targets, captions[:, :kept], positive[:, :kept])


def named_classes(path: Path, categories: Sequence[Mapping[str, Any]]) -> dict[str, int]:
    """Class number from 1 on of each word that names one, from `{word: category id}`."""
    numbers = {c["id"]: i for i, c in enumerate(categories, 1)}
    named = load_json(path)
    if not isinstance(named, dict) or not all(isinstance(c, int) for c in named.values()):
        raise FoveateError(f"{path} holds no words and their category ids: {{word: id}}")
    return {word: numbers[c] for word, c in named.items() if c in numbers}
