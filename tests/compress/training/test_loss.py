"""The YOLOv3 loss."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from board_app.core.bundle import HeadSpec
from board_app.core.yolo_head import decode_heads
from compress.darknet.network import Head
from compress.training.loss import assign, split_head, yolo_loss

HEADS = (
    Head(0, 32, ((60.0, 60.0), (90.0, 30.0), (30.0, 90.0)), 2),
    Head(1, 16, ((12.0, 12.0), (20.0, 10.0), (10.0, 20.0)), 2),
)
GRIDS = [(4, 6), (8, 12)]
TRUTHS = torch.tensor([[0, 1, 70.0, 50.0, 62.0, 58.0], [1, 0, 33.0, 20.0, 11.0, 13.0]])


def raw_heads(value: float = 0.0) -> list[torch.Tensor]:
    return [torch.full((2, 3 * 7, h, w), value, requires_grad=True) for h, w in GRIDS]


def test_boxes_decode_as_on_the_board() -> None:
    """`split_head` gives the boxes that board_app.core.yolo_head gives."""
    generator = torch.Generator().manual_seed(1)
    raw = [torch.randn(1, 21, h, w, generator=generator) for h, w in GRIDS]
    specs = [HeadSpec(f"h{i}", head.stride, head.anchors, 0) for i, head in enumerate(HEADS)]
    found = decode_heads([r[0].permute(1, 2, 0).numpy() for r in raw], specs, (128, 192), 2, 1e-9)
    mine = np.concatenate(
        [split_head(r, h).boxes_xyxy[0].permute(1, 2, 0, 3).reshape(-1, 4) for r, h in zip(raw, HEADS, strict=True)]
    )
    assert len(found) == len(mine)
    order = lambda boxes: boxes[np.lexsort(np.round(boxes, 2).T)]  # noqa: E731
    np.testing.assert_allclose(order(found.boxes_xyxy), order(mine), atol=1e-3)


def test_a_truth_goes_to_the_cell_of_its_centre_and_to_every_anchor_that_fits() -> None:
    """Each assignment is checked against the rule, one by one; the best anchor is always among them."""
    first, second = assign(TRUTHS, HEADS, GRIDS)
    assert (first.image.tolist(), first.anchor.tolist()) == ([0, 0, 0], [0, 1, 2])
    assert set(zip(first.row.tolist(), first.column.tolist(), strict=True)) == {(1, 2)}
    assert second.image.tolist() == [1, 1, 1] and set(second.class_id.tolist()) == {0}
    assert set(zip(second.row.tolist(), second.column.tolist(), strict=True)) == {(1, 2)}
    torch.testing.assert_close(first.boxes_xyxy[0], torch.tensor([39.0, 21.0, 101.0, 79.0]))


def test_no_truths_leave_objectness_alone() -> None:
    """A batch without damage has no box or class loss, and a finite gradient."""
    heads = raw_heads()
    terms = yolo_loss(heads, HEADS, torch.zeros((0, 6)))
    assert terms.box == 0 and terms.classes == 0 and terms.objectness > 0
    terms.total.backward()
    assert all(torch.isfinite(head.grad).all() for head in heads)


def perfect_heads() -> list[torch.Tensor]:
    """Raw heads that say exactly what TRUTHS say."""
    heads = [torch.zeros(2, 3, 7, h, w) for h, w in GRIDS]
    for head in heads:
        head[:, :, 4:] = -20.0
    for head, spec, found in zip(heads, HEADS, assign(TRUTHS, HEADS, GRIDS), strict=True):
        for image, anchor, row, column, box, class_id in zip(
            *found.cells, found.boxes_xyxy, found.class_id, strict=True
        ):
            centre, size = (box[:2] + box[2:]) / 2 / spec.stride, box[2:] - box[:2]
            offset = (centre - torch.stack([column, row])).clamp(1e-6, 1 - 1e-6)
            head[image, anchor, :2, row, column] = torch.log(offset / (1 - offset))
            head[image, anchor, 2:4, row, column] = torch.log(size / torch.tensor(spec.anchors[anchor]))
            head[image, anchor, 4, row, column] = 20.0
            head[image, anchor, 5 + class_id, row, column] = 20.0
    return [head.view(2, 21, *head.shape[3:]) for head in heads]


def test_the_right_answer_costs_nothing() -> None:
    """Every term is zero when every cell says what it should."""
    terms = yolo_loss(perfect_heads(), HEADS, TRUTHS)
    assert float(terms.total) == pytest.approx(0.0, abs=1e-4)


def test_a_near_miss_is_not_punished() -> None:
    """An unassigned prediction right on a truth costs no objectness; the same far from all truths does."""
    heads = perfect_heads()
    base = float(yolo_loss(heads, HEADS, TRUTHS).objectness)
    near = [head.clone() for head in heads]
    near[0].view(2, 3, 7, 4, 6)[0, 0, :5, 1, 1] = torch.tensor([4.0, 0.2, 0.05, 0.0, 20.0])
    assert float(yolo_loss(near, HEADS, TRUTHS).objectness) == pytest.approx(base, abs=1e-3)
    far = [head.clone() for head in heads]
    far[0].view(2, 3, 7, 4, 6)[0, 0, 4, 3, 5] = 20.0
    assert float(yolo_loss(far, HEADS, TRUTHS).objectness) > base + 1
