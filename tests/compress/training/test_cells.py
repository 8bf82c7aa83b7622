"""The cells of the heads."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from board_app.core.yolo_head import decode_heads
from compress.darknet.heads import Head
from compress.training.cells import cells_of, grids_of, raw_numbers


@pytest.mark.parametrize("scale_xy", [1.0, 1.05])
def test_boxes_decode_as_on_the_board(scale_xy: float) -> None:
    """Every cell has the box that board_app.core.yolo_head gives it."""
    heads = (
        Head(0, 32, ((60.0, 60.0), (90.0, 30.0), (30.0, 90.0)), 2, scale_xy),
        Head(1, 16, ((12.0, 12.0), (20.0, 10.0)), 2, scale_xy),
    )
    generator = torch.Generator().manual_seed(1)
    raw = [
        torch.randn(1, 7 * len(head.anchors), *grid, generator=generator)
        for head, grid in zip(heads, ((4, 6), (8, 12)), strict=True)
    ]
    specs = [head.spec(f"head{head.stride}") for head in heads]
    found = decode_heads([one[0].permute(1, 2, 0).numpy() for one in raw], specs, (128, 192), 2, 1e-9)
    cells = cells_of(heads, grids_of(raw), torch.device("cpu"))
    mine = torch.cat(cells.corners(raw_numbers(raw, heads)), -1)[0].numpy()
    assert len(found) == len(mine) == len(cells) == 4 * 6 * 3 + 8 * 12 * 2
    order = lambda boxes: boxes[np.lexsort(np.round(boxes, 2).T)]  # noqa: E731
    np.testing.assert_allclose(order(found.boxes_xyxy), order(mine), atol=1e-3)
