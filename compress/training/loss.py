"""The YOLOv3 loss: CIoU boxes, objectness and classes by binary cross-entropy.

Sources: Redmon & Farhadi, YOLOv3, arXiv:1804.02767 (heads, independent class scores, ignored near misses);
Zheng et al., Distance-IoU loss, arXiv:1911.08287 (CIoU).
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor
from torch.nn.functional import binary_cross_entropy_with_logits as bce
from torch.nn.functional import one_hot
from torchvision.ops import complete_box_iou_loss

from compress.darknet.heads import Head
from compress.training.cells import cells_of, grids_of, raw_numbers
from compress.training.targets import Targets

IGNORE_IOU = 0.6  # an unassigned prediction that overlaps a truth this much is neither right nor wrong


@dataclass(frozen=True)
class LossTerms:
    """The three mean terms of a batch (scalar tensors) and their weighted sum."""

    box: Tensor
    objectness: Tensor
    classes: Tensor

    @property
    def total(self) -> Tensor:
        """What is minimised."""
        return 2.0 * self.box + self.objectness + self.classes


def yolo_loss(
    raw_heads: Sequence[Tensor], heads: Sequence[Head], targets: Targets, positives: Tensor | None = None
) -> LossTerms:
    """The loss of one micro-batch.

    Args:
        raw_heads: raw head convolutions, one (N, A*(5+C), H, W) a head.
        heads: their anchors, strides and classes.
        targets: of these pictures, on the same device.
        positives: scalar, what the sums are divided by: positives of the optimiser's whole batch, so that its parts
            add up to its loss however it is cut. None counts those of these pictures.
    """
    numbers = raw_numbers(raw_heads, heads)  # (N, P, 5+C)
    cells = cells_of(tuple(heads), grids_of(raw_heads), numbers.device)
    divisor = max(len(targets), 1) if positives is None else positives.clamp(min=1)
    learning = targets.image, targets.cell
    target = torch.zeros_like(numbers[..., 4], memory_format=torch.contiguous_format)
    target[learning] = 1.0
    with torch.no_grad():
        counted = ~_near_misses(*cells.corners(numbers), targets.truths_xyxy)
        counted[learning] = True
    objectness = bce(numbers[..., 4], target, counted.to(target), reduction="sum")
    chosen = numbers[learning]  # (K, 5+C)
    boxes = torch.cat(cells[targets.cell].corners(chosen), -1)
    box = complete_box_iou_loss(boxes, targets.boxes_xyxy, reduction="sum")
    classes = bce(chosen[:, 5:], one_hot(targets.class_id, heads[0].classes).to(chosen), reduction="sum")
    return LossTerms(box / divisor, objectness / divisor, classes / divisor)


def _near_misses(low: Tensor, high: Tensor, truths_xyxy: Tensor) -> Tensor:
    """Which predictions, corners (N, P, 2), overlap one of their picture's truths (N, T, 4) by more than IGNORE_IOU.

    An overlap above the limit is, without a division, an intersection above limit / (1 + limit) of both areas' sum.
    """
    near = torch.zeros(low.shape[:2], dtype=torch.bool, device=low.device)
    width, height = (high - low).unbind(-1)
    area = width * height
    for truth in truths_xyxy.unbind(1):  # (N, 4)
        corner, opposite = truth[:, None, :2], truth[:, None, 2:]
        sides = (torch.minimum(high, opposite) - torch.maximum(low, corner)).clamp_(min=0)
        truth_area = (opposite - corner).prod(-1)
        near |= sides[..., 0] * sides[..., 1] > IGNORE_IOU / (1 + IGNORE_IOU) * (area + truth_area)
    return near
