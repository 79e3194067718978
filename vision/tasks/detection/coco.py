"""COCO instance files: what is read of them must be there."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from pydantic import BaseModel, ValidationError

from vision.errors import FoveateError


class Image(BaseModel):
    """A picture."""

    id: int | str
    file_name: str


class Annotation(BaseModel):
    """A box: x, y, width and height in pixels."""

    image_id: int | str
    category_id: int
    bbox: tuple[float, float, float, float]


class Category(BaseModel):
    """A class."""

    id: int
    name: str


class Instances(BaseModel):
    """The parts of a file that everything needs."""

    images: list[Image]
    annotations: list[Annotation]
    categories: list[Category]


def load_json(path: Path) -> Any:
    """Parse a JSON file; FoveateError when it is missing or no JSON."""
    try:
        return json.loads(path.read_text())
    except FileNotFoundError:
        raise FoveateError(f"no such file: {path}") from None
    except (OSError, ValueError) as error:
        raise FoveateError(f"{path} is not readable JSON: {error}") from None


def load_coco(path: Path) -> dict[str, Any]:
    """The content of a COCO instance file, whatever else it may hold.

    Raises:
        FoveateError: there is no such file, it lacks something, or an annotation is of a picture or
            of a class that it does not list.
    """
    content: dict[str, Any] = load_json(path)
    try:
        found = Instances.model_validate(content)
    except ValidationError as error:
        first = error.errors()[0]
        place = ".".join(str(part) for part in first["loc"])
        raise FoveateError(f"{path} is no COCO instance file: {place}: {first['msg']}") from None
    images, classes = {i.id for i in found.images}, {c.id for c in found.categories}
    for number, annotation in enumerate(found.annotations):
        if annotation.image_id not in images:
            raise FoveateError(f"{path}: annotation {number}: no image {annotation.image_id!r}")
        if annotation.category_id not in classes:
            raise FoveateError(f"{path}: annotation {number}: no class {annotation.category_id}")
    return content
