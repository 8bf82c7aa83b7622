"""The YOLOv3 loss."""

from __future__ import annotations

import pytest
import torch
from torchvision.ops import box_iou

from compress.darknet.heads import Head
from compress.training.cells import cells_of
from compress.training.loss import IGNORE_IOU, LossTerms, yolo_loss
from compress.training.targets import assign

HEADS = (
    Head(0, 32, ((60.0, 60.0), (90.0, 30.0), (30.0, 90.0)), 2),
    Head(1, 16, ((12.0, 12.0), (20.0, 10.0), (10.0, 20.0)), 2),
)
GRIDS = ((4, 6), (8, 12))
SIZE_HW = (128, 192)
TRUTHS = torch.tensor([[0, 1, 70.0, 50.0, 62.0, 58.0], [1, 0, 33.0, 20.0, 11.0, 13.0]])


def loss(heads: list[torch.Tensor], truths: torch.Tensor = TRUTHS) -> LossTerms:
    return yolo_loss(heads, HEADS, assign(truths, 2, HEADS, SIZE_HW))


def raw_heads(value: float = 0.0) -> list[torch.Tensor]:
    return [torch.full((2, 3 * 7, h, w), value, requires_grad=True) for h, w in GRIDS]


def test_no_truths_leave_objectness_alone() -> None:
    """A batch without damage has no box or class loss, and a finite gradient."""
    heads = raw_heads()
    terms = loss(heads, torch.zeros((0, 6)))
    assert terms.box == 0 and terms.classes == 0 and terms.objectness > 0
    terms.total.backward()
    assert all(torch.isfinite(head.grad).all() for head in heads)


def perfect_heads() -> list[torch.Tensor]:
    """Raw heads that say exactly what TRUTHS say."""
    heads = [torch.zeros(2, 3, 7, h, w) for h, w in GRIDS]
    for head in heads:
        head[:, :, 4:] = -20.0
    found, cells = assign(TRUTHS, 2, HEADS, SIZE_HW), cells_of(HEADS, GRIDS, torch.device("cpu"))
    for image, cell, box, class_id in zip(found.image, found.cell, found.boxes_xyxy, found.class_id, strict=True):
        anchor, (column, row) = int(cell) % 3, cells.corner[cell].long()
        centre, size = (box[:2] + box[2:]) / 2 / cells.stride[cell], box[2:] - box[:2]
        offset = (centre - cells.corner[cell]).clamp(1e-6, 1 - 1e-6)
        numbers = heads[int(cells.stride[cell]) < 32][image, anchor, :, row, column]
        numbers[:2], numbers[2:4] = torch.log(offset / (1 - offset)), torch.log(size / cells.anchor[cell])
        numbers[4] = numbers[5 + class_id] = 20.0
    return [head.view(2, 21, *head.shape[3:]) for head in heads]


def test_the_right_answer_costs_nothing() -> None:
    """Every term is zero when every cell says what it should."""
    terms = loss(perfect_heads())
    assert float(terms.total) == pytest.approx(0.0, abs=1e-4)


def test_a_near_miss_is_not_punished() -> None:
    """An unassigned prediction right on a truth costs no objectness; the same far from all truths does."""
    heads = perfect_heads()
    base = float(loss(heads).objectness)
    near = [head.clone() for head in heads]
    near[0].view(2, 3, 7, 4, 6)[0, 0, :5, 1, 1] = torch.tensor([4.0, 0.2, 0.05, 0.0, 20.0])
    assert float(loss(near).objectness) == pytest.approx(base, abs=1e-3)
    far = [head.clone() for head in heads]
    far[0].view(2, 3, 7, 4, 6)[0, 0, 4, 3, 5] = 20.0
    assert float(loss(far).objectness) > base + 1


def random_case(seed: int, images: int) -> tuple[list[torch.Tensor], torch.Tensor]:
    """Raw heads and up to nine truths of so many pictures."""
    chance = torch.Generator().manual_seed(seed)
    count = int(torch.randint(10, (1,), generator=chance))
    image = torch.randint(images, (count,), generator=chance).sort().values
    centre = torch.rand(count, 2, generator=chance) * torch.tensor([192.0, 128.0])
    size = torch.rand(count, 2, generator=chance) * 80 + 2
    truths = torch.cat([image[:, None], torch.randint(2, (count, 1), generator=chance), centre, size], 1)
    heads = [torch.randn(images, 21, h, w, generator=chance, requires_grad=True) for h, w in GRIDS]
    return heads, truths


@pytest.mark.parametrize("seed", range(5))
def test_the_parts_of_a_batch_add_up_to_its_loss(seed: int) -> None:
    """Loss and gradients of three pictures are the sums of two parts', divided by the positives of all three."""
    whole, truths = random_case(seed, 3)
    positives = torch.tensor(float(len(assign(truths, 3, HEADS, SIZE_HW))))
    terms = yolo_loss(whole, HEADS, assign(truths, 3, HEADS, SIZE_HW))
    terms.total.backward()
    parts = [head.detach().clone().requires_grad_() for head in whole]
    total = torch.zeros(())
    for first, last in ((0, 2), (2, 3)):
        own = truths[(truths[:, 0] >= first) & (truths[:, 0] < last)] - torch.tensor([first, 0, 0, 0, 0, 0])
        targets = assign(own, last - first, HEADS, SIZE_HW)
        total = total + yolo_loss([head[first:last] for head in parts], HEADS, targets, positives).total
    total.backward()
    torch.testing.assert_close(total, terms.total)
    for mine, theirs in zip(parts, whole, strict=True):
        torch.testing.assert_close(mine.grad, theirs.grad, atol=1e-6, rtol=1e-4)


@pytest.mark.parametrize("seed", range(5))
def test_near_misses_are_those_of_the_pairwise_overlaps(seed: int) -> None:
    """The objectness term counts every cell but those that torchvision's box_iou calls near and no truth chose."""
    heads, truths = random_case(seed, 3)
    targets, cells = assign(truths, 3, HEADS, SIZE_HW), cells_of(HEADS, GRIDS, torch.device("cpu"))
    expected = torch.zeros(())
    numbers = torch.cat([head.permute(0, 2, 3, 1).reshape(3, -1, 7) for head in heads], 1)
    boxes = torch.cat(cells.corners(numbers), -1)
    for image in range(3):
        own = truths[truths[:, 0] == image][:, 2:]
        corners = torch.cat([own[:, :2] - own[:, 2:] / 2, own[:, :2] + own[:, 2:] / 2], 1)
        counted = ~(box_iou(boxes[image], corners) > IGNORE_IOU).any(1)
        wanted = torch.zeros(len(counted))
        chosen = targets.cell[targets.image == image]
        counted[chosen], wanted[chosen] = True, 1.0
        objectness = numbers[image, :, 4].sigmoid()
        error = -(wanted * objectness.log() + (1 - wanted) * (1 - objectness).log())
        expected = expected + error[counted].sum()
    torch.testing.assert_close(
        yolo_loss(heads, HEADS, targets, torch.tensor(1.0)).objectness, expected, rtol=1e-4, atol=1e-4
    )
