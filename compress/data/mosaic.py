"""Four pictures in one: more context, more small damage and more different pictures in a batch.

Source: Bochkovskiy, Wang, Liao, YOLOv4, arXiv:2004.10934, section 3.3 (mosaic).
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import torch

from compress.data.augmentation import FlipCare, KeepVisible, Picture, boxes_of, image_of, pixels_of, warped

_CENTRE = (0.3, 0.7)  # where the four meet, as a share of each side
_CLOSER = 1.5  # a picture fills its quarter, or is up to so many times larger and cut


def mosaic(
    pictures: Sequence[Picture], flip: float, care: FlipCare, size_hw: tuple[int, int], chance: np.random.Generator
) -> Picture:
    """A picture of `size_hw` whose quarters are parts of the four given ones, their boxes clipped to what is seen.

    Args:
        pictures: four; only what their quarters show is warped, so four cost as much as one.
        flip: share of those that are mirrored, each for itself.
        care: of the classes when mirroring.
        size_hw: height and width.
        chance: where every draw comes from.
    """
    height, width = size_hw
    middle_y, middle_x = (round(side * chance.uniform(*_CENTRE)) for side in size_hw)
    canvas = np.empty((height, width, 3), np.uint8)
    all_boxes, all_labels = [], []
    corners = [(0, 0, middle_y, middle_x), (0, middle_x, middle_y, width)]
    corners += [(middle_y, 0, height, middle_x), (middle_y, middle_x, height, width)]
    for picture, (top, left, bottom, right) in zip(pictures, corners, strict=True):
        image, boxes, labels = _quarter(picture, flip, care, (bottom - top, right - left), chance)
        canvas[top:bottom, left:right] = pixels_of(image)
        all_boxes.append(boxes.numpy() + np.array([left, top, left, top], np.float32))
        all_labels.append(labels)
    return image_of(canvas), boxes_of(np.concatenate(all_boxes), size_hw), torch.cat(all_labels)


def _quarter(
    picture: Picture, flip: float, care: FlipCare, size_hw: tuple[int, int], chance: np.random.Generator
) -> Picture:
    """A part of one picture that fills `size_hw`, with the boxes that are seen in it."""
    image, boxes, labels = picture
    height, width = image.shape[-2:]
    mirror, closer, across, down = chance.random(4)
    gain = max(size_hw[0] / height, size_hw[1] / width) * (1 + (_CLOSER - 1) * closer)
    shift_x, shift_y = across * (size_hw[1] - gain * width), down * (size_hw[0] - gain * height)
    gain_x = gain
    if mirror < flip and care.allows(labels):
        gain_x, shift_x, labels = -gain, size_hw[1] - shift_x, care.mirrored(labels)
    part = warped(image, boxes, (gain_x, gain), (shift_x, shift_y), size_hw)
    seen = KeepVisible()(*part, labels, chance)
    return seen[0], seen[1], seen[2]
