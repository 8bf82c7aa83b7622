"""What the cells should learn."""

from __future__ import annotations

import torch

from compress.darknet.heads import Head
from compress.training.cells import cells_of
from compress.training.targets import assign

HEADS = (
    Head(0, 32, ((60.0, 60.0), (90.0, 30.0), (30.0, 90.0)), 2),
    Head(1, 16, ((12.0, 12.0), (20.0, 10.0), (10.0, 20.0)), 2),
)
GRIDS = ((4, 6), (8, 12))
SIZE_HW = (128, 192)
TRUTHS = torch.tensor([[0, 1, 70.0, 50.0, 62.0, 58.0], [1, 0, 33.0, 20.0, 11.0, 13.0]])


def test_a_truth_goes_to_the_cell_of_its_centre_and_to_every_anchor_that_fits() -> None:
    """The large truth to all three anchors of the coarse head, the small one to those of the fine head."""
    found, cells = assign(TRUTHS, 2, HEADS, SIZE_HW), cells_of(HEADS, GRIDS, torch.device("cpu"))
    assert found.image.tolist() == [0, 0, 0, 1, 1, 1] and found.class_id.tolist() == [1, 1, 1, 0, 0, 0]
    assert cells.stride[found.cell].flatten().tolist() == [32] * 3 + [16] * 3
    assert cells.corner[found.cell].tolist() == [[2, 1]] * 6
    assert cells.anchor[found.cell].tolist() == [list(anchor) for head in HEADS for anchor in head.anchors]
    torch.testing.assert_close(found.boxes_xyxy[0], torch.tensor([39.0, 21.0, 101.0, 79.0]))


def test_the_best_anchor_learns_a_truth_that_none_fits() -> None:
    """A thin line fits no anchor well and is still given to one."""
    found = assign(torch.tensor([[0, 0, 96.0, 64.0, 180.0, 4.0]]), 1, HEADS, SIZE_HW)
    assert len(found) == 1


def test_a_centre_at_the_edge_has_a_cell() -> None:
    """A centre at the lower right corner goes to the last cell."""
    found, cells = (
        assign(torch.tensor([[0, 0, 192.0, 128.0, 60.0, 60.0]]), 1, HEADS, SIZE_HW),
        cells_of(HEADS, GRIDS, torch.device("cpu")),
    )
    assert cells.corner[found.cell].tolist()[0] == [5, 3]


def test_pictures_without_truths_have_empty_rows() -> None:
    """No truth at all, and none in the middle picture."""
    assert len(assign(torch.zeros((0, 6)), 2, HEADS, SIZE_HW)) == 0
    truths = torch.tensor(
        [[2, 0, 50.0, 50.0, 20.0, 20.0], [0, 0, 60.0, 60.0, 20.0, 20.0], [2, 0, 90.0, 90.0, 20.0, 20.0]]
    )
    table = assign(truths, 3, HEADS, SIZE_HW).truths_xyxy
    assert table.shape == (3, 2, 4) and (table.abs().sum(2) > 0).tolist() == [
        [True, False],
        [False, False],
        [True, True],
    ]
