"""The detector that users call: pictures in, boxes out."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Sequence
from difflib import get_close_matches
from typing import Self

import numpy as np
import torch
from torch import Tensor, nn
from torchvision.ops import nms

from vision.catalogue import open_weights
from vision.devices import pick_device
from vision.errors import FoveateError
from vision.results import Detection, Detections, Frame
from vision.tasks.detection.letterbox import Letterbox
from vision.tasks.detection.model import DetectorConfig, create_detector


class Detector:
    """Finds objects in pictures.

    Args:
        model: a detector of `create_detector`.
        config: what it was built from.
        categories: name and COCO id of each class, in the model's order.
        device: where it runs, such as `"cpu"` or `"cuda:0"`.
        half: whether to compute in bfloat16.
        threshold: score below which nothing is returned unless the call says otherwise.
    """

    def __init__(
        self,
        model: nn.Module,
        config: DetectorConfig,
        categories: Sequence[tuple[str, int]],
        *,
        device: str | torch.device = "cpu",
        half: bool = False,
        threshold: float = 0.3,
    ) -> None:
        self.device = torch.device(device)
        self.model = model.to(self.device).to(memory_format=torch.channels_last).eval()
        self.config = config
        self.categories = list(categories)
        self.half = half
        self.threshold = threshold

    @classmethod
    def from_weights(
        cls, weights: str | None = None, *, device: str | None = None, half: bool = False
    ) -> Self:
        """Load shipped weights by name, or a file of the same kind by path.

        Args:
            weights: name in the catalogue or path of a `.safetensors` file; the default of the
                task when None.
            device: where to run; the best there is when None.
            half: whether to compute in bfloat16.

        Raises:
            FoveateError: no such weights, not a detector's, or no such device.
        """
        loaded = open_weights(weights, task="detection")
        config = loaded.config(DetectorConfig)
        categories = [(c["name"], int(c["id"])) for c in loaded.metadata["categories"]]
        model = create_detector(config, len(categories))
        loaded.fill(model)
        return cls(
            model,
            config,
            categories,
            device=pick_device(device),
            half=half,
            threshold=float(loaded.metadata.get("threshold", 0.3)),
        )

    @torch.inference_mode()
    def predict(
        self,
        images: Sequence[Frame],
        *,
        threshold: float | None = None,
        classes: Iterable[str] | None = None,
        suppress: float = 0.55,
        batch: int = 32,
    ) -> list[Detections]:
        """Detect objects in pictures.

        Args:
            images: `(H, W, 3)` uint8 RGB each, of any size.
            threshold: smallest score in [0, 1]; the weights' own when None.
            classes: names to keep; all when None.
            suppress: overlap (IoU) from which the weaker of two boxes goes, whatever their classes.
            batch: most pictures that go through the network at once.

        Returns:
            One result a picture, in order: boxes in its pixels, best score first.

        Raises:
            FoveateError: an unknown class name, or an array that is no picture.
        """
        least = self.threshold if threshold is None else threshold
        kept = self._class_indices(classes)
        results: dict[int, Detections] = {}
        shapes = defaultdict(list)
        for i, image in enumerate(images):
            if image.ndim != 3 or image.shape[2] != 3 or image.dtype != np.uint8 or not image.size:
                raise FoveateError(
                    f"picture {i} is {image.dtype} {image.shape}; give uint8 (height, width, 3)"
                )
            box = Letterbox(image.shape[0], image.shape[1], self.config.size)
            shapes[box.canvas].append((i, box))
        for group in shapes.values():
            for start in range(0, len(group), batch):
                part = group[start : start + batch]
                pixels = np.stack([box.apply(images[i]) for i, box in part])
                for (i, box), found in zip(part, self._forward(pixels), strict=True):
                    results[i] = self._result(box, found, least, kept, suppress)
        return [results[i] for i in range(len(images))]

    def _forward(self, pixels: np.ndarray) -> list[dict[str, Tensor]]:
        """Run the network on a batch `(B, H, W, 3)` uint8 of one shape."""
        batch = torch.from_numpy(pixels).to(self.device).permute(0, 3, 1, 2).float().div_(255)
        with torch.autocast(self.device.type, torch.bfloat16, enabled=self.half):
            found: list[dict[str, Tensor]] = self.model(list(batch))
        return found

    def _result(
        self,
        box: Letterbox,
        found: dict[str, Tensor],
        least: float,
        kept: Tensor | None,
        suppress: float,
    ) -> Detections:
        keep = found["scores"] >= least
        if kept is not None:
            keep &= torch.isin(found["labels"].cpu(), kept).to(keep.device)
        scores, labels = found["scores"][keep].float(), found["labels"][keep]
        boxes = found["boxes"][keep].float()
        best = nms(boxes, scores, suppress)
        places = box.undo(boxes[best].cpu().numpy())
        objects = [
            Detection(
                label=self.categories[label][0],
                category=self.categories[label][1],
                score=round(float(score), 4),
                box=(x1, y1, x2, y2),
            )
            for (x1, y1, x2, y2), score, label in zip(
                places.round(2).tolist(),
                scores[best].tolist(),
                labels[best].tolist(),
                strict=True,
            )
        ]
        return Detections(width=box.width, height=box.height, objects=objects)

    def _class_indices(self, classes: Iterable[str] | None) -> Tensor | None:
        if classes is None:
            return None
        names = [name for name, _ in self.categories]
        indices = []
        for wanted in classes:
            if wanted not in names:
                near = get_close_matches(wanted, names, n=1)
                hint = f"did you mean {near[0]!r}?" if near else f"there are {', '.join(names)}"
                raise FoveateError(f"unknown class {wanted!r}; {hint}")
            indices.append(names.index(wanted))
        return torch.tensor(indices)
