"""What the cells of the heads should learn from the labels: made on the CPU, before and without the network.

Source: Redmon & Farhadi, YOLOv3, arXiv:1804.02767, but that every anchor whose shape fits learns a truth.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor
from torchvision.ops import box_convert

from compress.darknet.heads import Head

ASSIGN_IOU = 0.35  # every anchor whose shape fits a truth this well learns it, and always the best one


@dataclass(frozen=True)
class Targets:
    """The labels of N pictures by cells; K positives.

    Attributes:
        image: position of the picture, int64 (K,).
        cell: among the cells of all heads in a row, int64 (K,).
        boxes_xyxy: what it should say, in network pixels, (K, 4).
        class_id: int64 (K,).
        truths_xyxy: every picture's boxes, filled up with empty ones at the origin, (N, T, 4).
    """

    image: Tensor
    cell: Tensor
    boxes_xyxy: Tensor
    class_id: Tensor
    truths_xyxy: Tensor

    def __len__(self) -> int:
        return len(self.image)

    def on(self, device: torch.device) -> Targets:
        """The same targets on a device."""
        parts = (self.image, self.cell, self.boxes_xyxy, self.class_id, self.truths_xyxy)
        return Targets(*(part.to(device, non_blocking=True) for part in parts))


def assign(truths: Tensor, images: int, heads: Sequence[Head], input_hw: tuple[int, int]) -> Targets:
    """Give every truth to the anchors that fit its shape, in the cell that holds its centre.

    Args:
        truths: float (M, 6): position of the picture, class, box centre x, y, width, height in network pixels.
        images: how many pictures there are.
        heads: the network's heads.
        input_hw: of the pictures.
    """
    shapes = torch.tensor([anchor for head in heads for anchor in head.anchors])
    overlap = torch.minimum(truths[:, None, 4:], shapes).prod(2)
    fit = overlap / (truths[:, 4:].prod(1, keepdim=True) + shapes.prod(1) - overlap)  # (M, all anchors)
    chosen = fit > ASSIGN_IOU
    if len(truths):
        chosen[torch.arange(len(truths)), fit.argmax(1)] = True
    which, anchor = chosen.nonzero(as_tuple=True)
    image, class_id = truths[:, 0].long(), truths[:, 1].long()
    boxes = box_convert(truths[:, 2:], "cxcywh", "xyxy")
    cell = _cells_at(truths[which, 2:4], anchor, heads, input_hw)
    return Targets(image[which], cell, boxes[which], class_id[which], _by_picture(image, boxes, images))


def _cells_at(centres: Tensor, anchor: Tensor, heads: Sequence[Head], input_hw: tuple[int, int]) -> Tensor:
    """The cells that hold the centres (K, 2), for anchors counted over all heads, int64 (K,)."""
    table, first = [], 0  # per anchor: stride, rows, columns, its first cell, anchors of its head
    for head in heads:
        h, w = input_hw[0] // head.stride, input_hw[1] // head.stride
        count = len(head.anchors)
        table += [(head.stride, h, w, first + index, count) for index in range(count)]
        first += h * w * count
    stride, rows, columns, offset, count = torch.tensor(table)[anchor].T
    column = (centres[:, 0] / stride).long().clamp_(min=0).minimum(columns - 1)
    row = (centres[:, 1] / stride).long().clamp_(min=0).minimum(rows - 1)
    return offset + (row * columns + column) * count


def _by_picture(image: Tensor, boxes_xyxy: Tensor, images: int) -> Tensor:
    """Boxes (M, 4) as (N, T, 4), filled up with zeros."""
    counts = torch.bincount(image, minlength=images)
    table = boxes_xyxy.new_zeros((images, max(int(counts.max()), 1), 4))
    order = image.argsort(stable=True)
    slot = torch.arange(len(order)) - (counts.cumsum(0) - counts)[image[order]]
    table[image[order], slot] = boxes_xyxy[order]
    return table
