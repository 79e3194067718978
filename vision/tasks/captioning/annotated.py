"""Annotated pictures to measure captioners on: reference captions, and what their words show."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Hashable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from vision.errors import FoveateError
from vision.tasks.captioning.metrics import GroundedSentence
from vision.tasks.captioning.vocabulary import tokenise
from vision.tasks.detection.coco import load_json
from vision.tasks.detection.data import Pictures


@dataclass(frozen=True)
class Annotated:
    """Pictures with captions.

    Args:
        pictures: those that have captions.
        references: captions by image id.
        sentences: the same captions of pictures with boxes, as grounding metrics take them.
    """

    pictures: Pictures
    references: Mapping[Hashable, list[str]]
    sentences: Mapping[Hashable, list[GroundedSentence]]


def read_annotated(path: Path, images: Path) -> Annotated:
    """Read a COCO file with captions.

    Args:
        path: `images`, `annotations`, `categories` and `captions` (`image_id`, `caption` and, where
            its words are tied to categories, `grounding`: a list of `index` and `category_id`).
        images: uncompressed tar or folder that holds the pictures.

    Raises:
        FoveateError: the file is missing, lacks something, or describes none of its pictures.
    """
    truth = load_json(path)
    try:
        references: dict[Hashable, list[str]] = defaultdict(list)
        for caption in truth["captions"]:
            if caption["caption"].strip():
                references[caption["image_id"]].append(caption["caption"])
        described = [i for i in truth["images"] if i["id"] in references]
        pictures = Pictures(images, {"images": described})
        sentences = grounded_sentences(truth)
    except KeyError as error:
        raise FoveateError(f"{path} is no COCO file with captions: no {error}") from None
    except (TypeError, ValueError, AttributeError) as error:
        raise FoveateError(f"{path} is no COCO file with captions: {error}") from None
    if not described:
        raise FoveateError(f"{path} has a caption for none of its pictures")
    ids = [i["id"] for i in described]
    return Annotated(
        pictures,
        {i: references[i] for i in ids},
        {i: sentences[i] for i in ids if i in sentences},
    )


def grounded_sentences(truth: Mapping[str, Any]) -> dict[Hashable, list[GroundedSentence]]:
    """Reference captions of pictures with boxes, by image id.

    There is no link between a word and one box: any box of the word's category shows it.
    """
    names = {c["id"]: c["name"] for c in truth["categories"]}
    boxes: dict[tuple[int, int], list[list[float]]] = defaultdict(list)
    for a in truth["annotations"]:
        x, y, w, h = a["bbox"]
        boxes[a["image_id"], a["category_id"]].append([x, y, x + w, y + h])
    pictured = {image for image, _ in boxes}
    found: dict[Hashable, list[GroundedSentence]] = defaultdict(list)
    for caption in truth["captions"]:
        image = caption["image_id"]
        if image in pictured:
            entries = [
                (names[g["category_id"]], g["index"], box)
                for g in caption.get("grounding", [])
                for box in boxes[image, g["category_id"]]
            ]
            found[image].append(
                GroundedSentence(
                    tokens=tokenise(caption["caption"]),
                    labels=[label for label, _, _ in entries],
                    words=[word for _, word, _ in entries],
                    boxes=[box for _, _, box in entries],
                    frames=[0] * len(entries),
                )
            )
    return dict(found)
