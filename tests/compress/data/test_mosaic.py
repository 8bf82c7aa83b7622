"""Four pictures in one."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from compress.config import AugmentConfig
from compress.data.augmentation import FlipCare, Picture, boxes_of, image_of, pixels_of
from compress.data.mosaic import mosaic

CARE = FlipCare(AugmentConfig(), ("D00", "D10", "D20", "D40"))


def coloured(number: int, size_hw: tuple[int, int] = (40, 60)) -> Picture:
    """A picture of one grey, darker for each number, with a white rectangle and a box round it."""
    pixels = np.full((*size_hw, 3), 40 * number, np.uint8)
    box = (10 + number, 8, 40, 30)
    pixels[box[1] : box[3], box[0] : box[2]] = 255
    return image_of(pixels), boxes_of(np.array([box]), size_hw), torch.tensor([number])


@pytest.mark.parametrize("seed", range(20))
def test_every_quarter_is_a_part_of_its_picture(seed: int) -> None:
    """The four greys stand in their quarters, no canvas shows through, and boxes lie on white and inside."""
    size_hw = (64, 96)
    pictures = [coloured(number) for number in range(4)]
    image, boxes, labels = mosaic(pictures, 0.5, CARE, size_hw, np.random.default_rng(seed))
    pixels = pixels_of(image)
    assert pixels.shape == (64, 96, 3)
    assert len(boxes) == len(labels) == len(set(labels.tolist()))
    corners = np.array([pixels[0, 0, 0], pixels[0, -1, 0], pixels[-1, 0, 0], pixels[-1, -1, 0]])
    shown = {0: 0, 1: 40, 2: 80, 3: 120}
    assert all(corner in (grey, 255) for corner, grey in zip(corners, shown.values(), strict=True))
    for (x1, y1, x2, y2), label in zip(boxes.numpy(), labels.tolist(), strict=True):
        assert 0 <= x1 < x2 <= 96 and 0 <= y1 < y2 <= 64
        inside = pixels[int(np.ceil(y1)) + 1 : int(y2) - 1, int(np.ceil(x1)) + 1 : int(x2) - 1, 0]
        assert (inside == 255).all(), label


def test_the_same_chance_gives_the_same_mosaic() -> None:
    """Every draw comes from the generator."""
    pictures = [coloured(number) for number in range(4)]
    one, two = (mosaic(pictures, 0.5, CARE, (32, 32), np.random.default_rng(7)) for _ in range(2))
    assert all(map(torch.equal, one, two))
