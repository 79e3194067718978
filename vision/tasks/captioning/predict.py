"""The captioner that users call: pictures in, sentences and the boxes of their things out."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Literal, Self

import torch

from vision.catalogue import open_weights
from vision.devices import pick_device
from vision.results import Frame
from vision.tasks.boxes import LabelledBox, read_boxes
from vision.tasks.captioning.decode import Hypothesis, beam_search
from vision.tasks.captioning.encoder import Scene
from vision.tasks.captioning.model import Captioner, CaptionerConfig
from vision.tasks.captioning.phrases import Grounding, find_names, rounded
from vision.tasks.captioning.regions import (
    PictureRegions,
    RegionConfig,
    RegionExtractor,
)
from vision.tasks.captioning.results import Caption, CaptionRegion, Phrase
from vision.tasks.captioning.views import View, join
from vision.tasks.captioning.vocabulary import Vocabulary

BEAM = 3
"""Hypotheses that are kept unless the call says otherwise."""

PENALTY = 0.7
"""Power of the length by which scores of captions are divided: short ones are not better."""


class CaptionPredictor:
    """Describes pictures and says where it saw the things it names.

    Args:
        model: a captioner of pictures.
        regions: what finds regions and their features.
        vocabulary: its words.
        classes: names of its classes.
        named: class name of each word that names one.
        constant: the training caption most like all others, which evaluation compares with; None
            when nobody knows.
        device: where it runs.
        half: whether to look at pictures in bfloat16; words are always said in float32.
    """

    by_name: Literal[True] = True

    def __init__(
        self,
        model: Captioner,
        regions: RegionExtractor,
        vocabulary: Vocabulary,
        classes: Sequence[str],
        named: dict[str, str],
        *,
        constant: str | None = None,
        device: str | torch.device = "cpu",
        half: bool = False,
    ) -> None:
        self.device = torch.device(device)
        self.model = model.to(self.device).eval()
        self.regions = regions
        self.regions.detector.half = half
        self.vocabulary, self.classes, self.named = vocabulary, list(classes), named
        self.constant, self.half = constant, half
        self.once = torch.tensor(vocabulary.once(), device=self.device)

    @classmethod
    def from_weights(
        cls, weights: str | None = None, *, device: str | None = None, half: bool = False
    ) -> Self:
        """Load shipped weights by name, or a file of the same kind by path.

        Args:
            weights: name in the catalogue or path of a `.safetensors` file; the default of the
                task when None.
            device: where to run; the best there is when None.
            half: whether to look at pictures in bfloat16.

        Raises:
            FoveateError: no such weights, not a captioner's, or no such device.
        """
        loaded = open_weights(weights, task="captioning")
        place = pick_device(device)
        model = Captioner(loaded.config(CaptionerConfig))
        loaded.fill(model)
        metadata = loaded.metadata
        return cls(
            model,
            RegionExtractor(RegionConfig(**metadata["regions"]), place),
            Vocabulary(metadata["words"]),
            metadata["classes"],
            metadata["named"],
            constant=metadata.get("constant"),
            device=place,
            half=half,
        )

    @torch.inference_mode()
    def predict(
        self,
        images: Sequence[Frame],
        *,
        beam: int = BEAM,
        regions: Sequence[LabelledBox] | Path | None = None,
        names: Sequence[str] | None = None,
    ) -> list[Caption]:
        """Caption pictures.

        Args:
            images: `(H, W, 3)` uint8 RGB each, of any size.
            beam: hypotheses that are kept at each word; 1 says the likeliest word each time.
            regions: boxes to look at in every picture, or a JSON file of them (see
                `vision.tasks.boxes.read_boxes`); a detector finds them when None.
            names: of the pictures, for files that list the boxes of each.

        Returns:
            One result a picture, in order; boxes in its pixels.

        Raises:
            FoveateError: an array that is no picture, or regions that are none.
        """
        given: Sequence[Sequence[LabelledBox]] | None = None
        if isinstance(regions, Path):
            given = read_boxes(regions).each(names, len(images))
        elif regions is not None:
            given = [regions] * len(images)
        if not images:
            return []
        rows = None if given is None else list(map(fit_regions, given, images))
        return self.describe(self.look(images, rows), beam=beam)

    def look(
        self, images: Sequence[Frame], regions: Sequence[Sequence[LabelledBox]] | None = None
    ) -> list[PictureRegions]:
        """Regions of pictures and their features, in the predictor's precision.

        Args:
            images: `(H, W, 3)` uint8 RGB each, of any size.
            regions: boxes to use for each picture; a detector finds them when None.

        Raises:
            FoveateError: an array that is no picture.
        """
        with torch.autocast(self.device.type, torch.bfloat16, enabled=self.half):
            return self.regions.extract(images, regions)

    @torch.inference_mode()
    def describe(self, pictures: Sequence[PictureRegions], *, beam: int = BEAM) -> list[Caption]:
        """Caption pictures whose regions are known.

        Args:
            pictures: what `regions` made of them.
            beam: hypotheses that are kept at each word.
        """
        if not pictures:
            return []
        views = [View.of(picture, self.classes) for picture in pictures]
        scene = self.model.encode(join(views).to(self.device))
        unknown = self.vocabulary.unknown
        found = beam_search(
            self.model, scene, beam, unknown=unknown, once=self.once, penalty=PENALTY
        )
        return [
            self._caption(picture, hypotheses[0], scene, i)
            for i, (picture, hypotheses) in enumerate(zip(pictures, found, strict=True))
        ]

    def _caption(self, picture: PictureRegions, best: Hypothesis, scene: Scene, i: int) -> Caption:
        words = self.vocabulary.decode(best.words.tolist())
        words[:1] = [word.capitalize() for word in words[:1]]
        sentence = " ".join(words)
        count = len(picture.regions)
        ground = Grounding(picture, scene.shares[i, :count], self.classes)
        phrases = []
        for name in find_names([word.lower() for word in words], self.named, self.classes):
            start, end = (len(" ".join(words[:n])) for n in (name.first, name.last + 1))
            start += name.first > 0
            where = ground(name.label, best.attention[name.last, :count])
            text = sentence[start:end]
            phrases.append(Phrase(start=start, end=end, text=text, label=name.label, **where))
        return Caption(
            width=picture.width,
            height=picture.height,
            caption=f"{sentence}." if sentence else "",
            score=round(float(best.log_probs.mean()), 4),
            phrases=phrases,
            regions=[
                CaptionRegion(label=r.label, score=r.score, box=rounded(r.box))
                for r in picture.regions
            ],
        )


def fit_regions(given: Sequence[LabelledBox], image: Frame) -> list[LabelledBox]:
    """Regions from boxes cut to a picture; those outside of it are left out."""
    height, width = image.shape[:2]
    cut = []
    for one in given:
        x1, y1, x2, y2 = one.box
        box = (max(0.0, x1), max(0.0, y1), min(float(width), x2), min(float(height), y2))
        if box[0] < box[2] and box[1] < box[3]:
            cut.append(LabelledBox(box, one.label, one.score))
    return cut
