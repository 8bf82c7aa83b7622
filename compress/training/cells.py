"""The anchor cells of all heads in one row: where each stands, and how its numbers become a box.

Sources: Redmon & Farhadi, YOLOv3, arXiv:1804.02767 (boxes); Bochkovskiy et al., YOLOv4, arXiv:2004.10934 (centres
that may leave their cell).
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache

import torch
from torch import Tensor

from compress.darknet.heads import Head

_LARGEST_LOG_SIZE = 6.0  # exp of more than this is a box of 400 anchors: clipped for a finite loss


@dataclass(frozen=True)
class Cells:
    """P cells: head by head, then row by row, column by column, anchor by anchor.

    Attributes:
        corner: column and row, float (P, 2).
        anchor: width and height in network pixels, (P, 2).
        stride: network pixels, (P, 1).
        scale_xy: of the head, (P, 1).
    """

    corner: Tensor
    anchor: Tensor
    stride: Tensor
    scale_xy: Tensor

    def __len__(self) -> int:
        return len(self.corner)

    def __getitem__(self, cell: Tensor) -> Cells:
        """Some of them, int64 (K,)."""
        return Cells(self.corner[cell], self.anchor[cell], self.stride[cell], self.scale_xy[cell])

    def corners(self, numbers: Tensor) -> tuple[Tensor, Tensor]:
        """Top left and bottom right corners (..., P, 2) in network pixels, from raw numbers (..., P, 4 or more)."""
        offset = numbers[..., :2].sigmoid() * self.scale_xy - (self.scale_xy - 1) / 2
        centre = (offset + self.corner) * self.stride
        half = numbers[..., 2:4].clamp(max=_LARGEST_LOG_SIZE).exp() * (self.anchor / 2)
        return centre - half, centre + half


@lru_cache(maxsize=64)  # the few input sizes of a training
def cells_of(heads: tuple[Head, ...], grids_hw: tuple[tuple[int, int], ...], device: torch.device) -> Cells:
    """The cells of heads whose grids have so many rows and columns."""
    corners, anchors, strides, scales = [], [], [], []
    for head, (h, w) in zip(heads, grids_hw, strict=True):
        rows, columns = torch.meshgrid(torch.arange(h), torch.arange(w), indexing="ij")
        count = len(head.anchors)
        corners.append(torch.stack([columns, rows], -1).view(h * w, 1, 2).expand(-1, count, -1).reshape(-1, 2))
        anchors.append(torch.tensor(head.anchors).repeat(h * w, 1))
        strides.append(torch.full((h * w * count, 1), float(head.stride)))
        scales.append(torch.full((h * w * count, 1), head.scale_xy))
    return Cells(*(torch.cat(parts).float().to(device) for parts in (corners, anchors, strides, scales)))


def raw_numbers(raw_heads: Sequence[Tensor], heads: Sequence[Head]) -> Tensor:
    """What the raw heads (N, A*(5+C), H, W) say of each cell: float32 (N, P, 5+C)."""
    parts = [
        raw.permute(0, 2, 3, 1).reshape(len(raw), -1, 5 + head.classes)
        for raw, head in zip(raw_heads, heads, strict=True)
    ]
    return torch.cat(parts, 1).float()


def grids_of(raw_heads: Sequence[Tensor]) -> tuple[tuple[int, int], ...]:
    """Rows and columns of each raw head."""
    return tuple((raw.shape[2], raw.shape[3]) for raw in raw_heads)
