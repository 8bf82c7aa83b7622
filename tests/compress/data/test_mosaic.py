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


def test_each_picture_is_mirrored_with_care_for_its_classes() -> None:
    """Left becomes right in each mirrored quarter; a picture with a class that must not be mirrored stays as it is."""
    care = FlipCare(AugmentConfig(flip_swaps=(("LEFT", "RIGHT"),), flip_never=("SIGN",)), ("LEFT", "RIGHT", "SIGN"))
    rising = np.repeat(np.tile(np.arange(60, dtype=np.uint8) * 4, (40, 1))[..., None], 3, 2)  # brighter to the right
    everywhere = boxes_of(np.array([[0, 0, 60, 40]]), (40, 60))
    pictures = [(image_of(rising), everywhere, torch.tensor([label])) for label in (0, 1, 2, 0)]
    image, boxes, labels = mosaic(pictures, 1.0, care, (64, 96), np.random.default_rng(1))
    assert labels.tolist() == [1, 0, 2, 1]
    for (x1, y1, x2, _), label in zip(boxes.int().tolist(), labels.tolist(), strict=True):
        row = pixels_of(image)[y1 + 1, x1:x2, 0].astype(int)
        assert (row[-1] > row[0]) == (label == 2)
