"""Training losses of the detectors, with a weight for every box and a mask of labelled classes.

torchvision's heads take every box as certain and every picture as completely labelled. Boxes that
a teacher proposed are neither, and some sets label only a few classes; so targets carry two
more tensors:

- `weights` `(N,)`: how much each box counts, in [0, 1]. A box of weight 0 (a crowd, say) is
  neither an object nor background for its class.
- `labelled` `(C,)` bool: classes whose absence in the picture means something.
"""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor
from torchvision.models.detection.fcos import FCOSHead
from torchvision.models.detection.retinanet import RetinaNetHead
from torchvision.ops import generalized_box_iou_loss, sigmoid_focal_loss

Target = dict[str, Tensor]


def assigned_weights(targets: list[Target], matches: list[Tensor]) -> Tensor:
    """Weight of the box that each anchor is matched to: `(B, A)`, 0 where there is none.

    Args:
        targets: one dict an image with `weights` `(N,)`.
        matches: one tensor an image, `(A,)`: index of the box, negative for none.
    """
    rows = []
    for target, match in zip(targets, matches, strict=True):
        weights = torch.cat([target["weights"], target["weights"].new_zeros(1)])
        rows.append(weights[match.clamp(min=-1)])  # -1 picks the appended zero
    return torch.stack(rows)


def classification_loss(logits: Tensor, targets: list[Target], matches: list[Tensor]) -> Tensor:
    """Focal loss (alpha .25, gamma 2) over anchors and classes, summed.

    Where an anchor is matched, its box's class counts by the box's weight; classes that the
    picture does not label count only where a box says they are there; anchors with a match below
    -1 (between the thresholds of RetinaNet) count nowhere.

    Args:
        logits: `(B, A, C)`.
        targets: one dict an image with `labels` `(N,)`, `weights` `(N,)`, `labelled` `(C,)`.
        matches: one tensor an image, `(A,)`: box index, -1 background, -2 ignored.
    """
    truth = torch.zeros_like(logits)
    counts = torch.stack([t["labelled"] for t in targets])[:, None, :].to(logits)
    counts = counts.repeat(1, logits.shape[1], 1)
    for i, (target, match) in enumerate(zip(targets, matches, strict=True)):
        anchors = torch.where(match >= 0)[0]
        boxes = match[anchors]
        labels = target["labels"][boxes]
        truth[i, anchors, labels] = 1.0
        counts[i, anchors, labels] = target["weights"][boxes].to(counts)
        counts[i, match < -1] = 0.0
    return (sigmoid_focal_loss(logits, truth, reduction="none") * counts).sum()


def matched_boxes(targets: list[Target], matches: list[Tensor]) -> Tensor:
    """The box that each anchor is matched to: `(B, A, 4)`; zeros where there is none."""
    rows = []
    for target, match in zip(targets, matches, strict=True):
        boxes = torch.cat([target["boxes"], target["boxes"].new_zeros(1, 4)])
        rows.append(boxes[match.clamp(min=-1)])
    return torch.stack(rows)


class WeightedFCOSHead(FCOSHead):
    """torchvision's FCOS head with weighted boxes and partly labelled pictures.

    With all weights 1 and all classes labelled its losses equal torchvision's.
    """

    def compute_loss(
        self,
        targets: list[Target],
        head_outputs: dict[str, Tensor],
        anchors: list[Tensor],
        matched_idxs: list[Tensor],
    ) -> dict[str, Tensor]:
        """Losses `classification`, `bbox_regression` and `bbox_ctrness`, per matched weight."""
        weights = assigned_weights(targets, matched_idxs)
        positive = weights > 0
        weight = weights[positive]
        total = weight.sum().clamp(min=1.0)
        anchor = torch.stack(anchors)[positive]
        truth = matched_boxes(targets, matched_idxs)[positive]

        predicted = self.box_coder.decode(head_outputs["bbox_regression"][positive], anchor)
        regression = generalized_box_iou_loss(predicted, truth, reduction="none")

        sides = self.box_coder.encode(anchor, truth)
        horizontal, vertical = sides[:, [0, 2]], sides[:, [1, 3]]
        centerness = torch.sqrt(
            (horizontal.amin(1) / horizontal.amax(1)) * (vertical.amin(1) / vertical.amax(1))
        )
        ctrness = F.binary_cross_entropy_with_logits(
            head_outputs["bbox_ctrness"].squeeze(2)[positive], centerness, reduction="none"
        )
        return {
            "classification": classification_loss(head_outputs["cls_logits"], targets, matched_idxs)
            / total,
            "bbox_regression": (regression * weight).sum() / total,
            "bbox_ctrness": (ctrness * weight).sum() / total,
        }


class WeightedRetinaNetHead(RetinaNetHead):
    """torchvision's RetinaNet head with weighted boxes and partly labelled pictures."""

    def compute_loss(
        self,
        targets: list[Target],
        head_outputs: dict[str, Tensor],
        anchors: list[Tensor],
        matched_idxs: list[Tensor],
    ) -> dict[str, Tensor]:
        """Losses `classification` and `bbox_regression` (L1 on coded boxes), per matched weight."""
        weights = assigned_weights(targets, matched_idxs)
        positive = weights > 0
        weight = weights[positive]
        total = weight.sum().clamp(min=1.0)
        coder = self.regression_head.box_coder
        truth = coder.encode_single(
            matched_boxes(targets, matched_idxs)[positive], torch.stack(anchors)[positive]
        )
        predicted = head_outputs["bbox_regression"][positive]
        regression = (predicted - truth).abs().sum(1)
        return {
            "classification": classification_loss(head_outputs["cls_logits"], targets, matched_idxs)
            / total,
            "bbox_regression": (regression * weight).sum() / total,
        }
