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
from torchvision.ops import box_convert, box_iou, complete_box_iou_loss

from compress.darknet.network import Head

IGNORE_IOU = 0.6  # an unassigned prediction that overlaps a truth this much is neither right nor wrong
ASSIGN_IOU = 0.35  # every anchor whose shape fits a truth this well learns it, and always the best one
_LARGEST_LOG_SIZE = 6.0  # exp of more than this is a box of 400 anchors: clipped for a finite loss


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


@dataclass(frozen=True)
class HeadOutput:
    """One head's raw output in parts; N images, A anchors, C classes.

    Attributes:
        boxes_xyxy: decoded, in network pixels, (N, A, H, W, 4).
        objectness: logits, (N, A, H, W).
        classes: logits, (N, A, H, W, C).
    """

    boxes_xyxy: Tensor
    objectness: Tensor
    classes: Tensor


def split_head(raw: Tensor, head: Head) -> HeadOutput:
    """Take a raw head convolution (N, A*(5+C), H, W) apart and decode its boxes."""
    n, _, h, w = raw.shape
    anchors = torch.tensor(head.anchors, dtype=raw.dtype, device=raw.device)
    parts = raw.view(n, len(anchors), 5 + head.classes, h, w).permute(0, 1, 3, 4, 2)
    rows, columns = torch.meshgrid(torch.arange(h), torch.arange(w), indexing="ij")
    cell = torch.stack([columns, rows], -1).to(raw)  # (H, W, 2)
    centre = (parts[..., :2].sigmoid() + cell) * head.stride
    size = parts[..., 2:4].clamp(max=_LARGEST_LOG_SIZE).exp() * anchors[:, None, None]
    boxes = torch.cat([centre - size / 2, centre + size / 2], -1)
    return HeadOutput(boxes, parts[..., 4], parts[..., 5:])


@dataclass(frozen=True)
class Assignment:
    """Which cells of one head learn which truths: indices int64 (K,), boxes (K, 4) xyxy, classes int64 (K,)."""

    image: Tensor
    anchor: Tensor
    row: Tensor
    column: Tensor
    boxes_xyxy: Tensor
    class_id: Tensor

    @property
    def cells(self) -> tuple[Tensor, Tensor, Tensor, Tensor]:
        """Indices into the first four axes of a `HeadOutput`."""
        return self.image, self.anchor, self.row, self.column


def assign(truths: Tensor, heads: Sequence[Head], grids_hw: Sequence[tuple[int, int]]) -> list[Assignment]:
    """Give every truth to the anchors that fit its shape, in the cell that holds its centre.

    Args:
        truths: float (M, 6): image index, class, box centre x, y, width, height in network pixels.
        heads: the network's heads.
        grids_hw: rows and columns of each head.
    """
    shapes = torch.cat([torch.tensor(head.anchors, dtype=truths.dtype) for head in heads]).to(truths.device)
    overlap = torch.minimum(truths[:, None, 4:], shapes[None]).prod(2)
    fit = overlap / (truths[:, 4:].prod(1)[:, None] + shapes.prod(1)[None] - overlap)  # (M, all anchors)
    chosen = fit > ASSIGN_IOU
    if len(truths):
        chosen[torch.arange(len(truths)), fit.argmax(1)] = True
    boxes = box_convert(truths[:, 2:], "cxcywh", "xyxy")
    assignments, first = [], 0
    for head, (h, w) in zip(heads, grids_hw, strict=True):
        which, anchor = chosen[:, first : first + len(head.anchors)].nonzero(as_tuple=True)
        first += len(head.anchors)
        column = (truths[which, 2] / head.stride).long().clamp(0, w - 1)
        row = (truths[which, 3] / head.stride).long().clamp(0, h - 1)
        image, class_id = truths[which, 0].long(), truths[which, 1].long()
        assignments.append(Assignment(image, anchor, row, column, boxes[which], class_id))
    return assignments


def _near_misses(boxes_xyxy: Tensor, truths: Tensor) -> Tensor:
    """Which predictions (N, A, H, W) overlap some truth of their image by more than `IGNORE_IOU`."""
    near = torch.zeros(boxes_xyxy.shape[:-1], dtype=torch.bool, device=boxes_xyxy.device)
    corners = box_convert(truths[:, 2:], "cxcywh", "xyxy")
    for image in truths[:, 0].long().unique().tolist():
        overlap = box_iou(boxes_xyxy[image].reshape(-1, 4), corners[truths[:, 0] == image])
        near[image] = (overlap.amax(1) > IGNORE_IOU).view(near.shape[1:])
    return near


def yolo_loss(raw_heads: Sequence[Tensor], heads: Sequence[Head], truths: Tensor) -> LossTerms:
    """The loss of one batch.

    Args:
        raw_heads: raw head convolutions, one (N, A*(5+C), H, W) a head.
        heads: their anchors, strides and classes.
        truths: float (M, 6), see `assign`; M may be 0.
    """
    outputs = [split_head(raw, head) for raw, head in zip(raw_heads, heads, strict=True)]
    assignments = assign(truths, heads, [(raw.shape[2], raw.shape[3]) for raw in raw_heads])
    positives = max(sum(len(assignment.image) for assignment in assignments), 1)
    zero = raw_heads[0].new_zeros(())
    box, objectness, classes = zero, zero, zero
    for output, assignment in zip(outputs, assignments, strict=True):
        target = torch.zeros_like(output.objectness)
        counted = ~_near_misses(output.boxes_xyxy.detach(), truths)
        target[assignment.cells] = 1.0
        counted[assignment.cells] = True
        error = bce(output.objectness, target, reduction="none")
        objectness = objectness + (error * counted).sum()
        if len(assignment.image):
            box = box + complete_box_iou_loss(
                output.boxes_xyxy[assignment.cells], assignment.boxes_xyxy, reduction="sum"
            )
            labels = torch.nn.functional.one_hot(assignment.class_id, heads[0].classes).to(zero)
            classes = classes + bce(output.classes[assignment.cells], labels, reduction="sum")
    return LossTerms(box / positives, objectness / positives, classes / positives)
