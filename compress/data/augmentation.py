"""How training pictures vary: torchvision v2 transforms that cost one warp and one colour matrix a picture.

Chance comes in as an input, a numpy Generator, and no transform keeps any of its own: the same generator gives the
same picture in any thread. Every transform takes and gives (image, boxes, labels, chance), so they chain in v2.Compose.
"""

from __future__ import annotations

from collections.abc import Sequence

import cv2
import numpy as np
import torch
from torch import Tensor
from torchvision import tv_tensors
from torchvision.transforms import v2

from board_app.core.errors import UsageError
from board_app.core.letterbox import LETTERBOX_GREY
from compress.config import AugmentConfig

Picture = tuple[tv_tensors.Image, tv_tensors.BoundingBoxes, Tensor]

SMALLEST_BOX_PX = 3.0  # what a crop leaves of a box below this is no damage any more
VISIBLE_SHARE = 0.25  # and so is what has lost more than three quarters of its area
_GREY = np.array([0.299, 0.587, 0.114], np.float32)  # luma of R, G, B, ITU-R BT.601, as torchvision weighs them
_MEAN_ROWS = 4  # every fourth row gives the mean of a picture well enough


class FlipCare:
    """What mirroring does to classes.

    Args:
        augment: `flip_swaps` names pairs that become each other, `flip_never` those whose pictures stay as they are.
        class_names: in the order of the class ids.
    Raises:
        UsageError: it names classes that the data does not have, all of them; or a class in two pairs.
    """

    def __init__(self, augment: AugmentConfig, class_names: Sequence[str]) -> None:
        swapped = [name for pair in augment.flip_swaps for name in pair]
        unknown = sorted({*swapped, *augment.flip_never} - set(class_names))
        if unknown:
            raise UsageError(
                f"'flip_swaps' and 'flip_never' in [augment]: expected classes of the data "
                f"({', '.join(class_names)}), found {', '.join(unknown)}. Correct the names"
            )
        twice = sorted({name for name in swapped if swapped.count(name) > 1})
        if twice:
            raise UsageError(
                f"'flip_swaps' in [augment]: expected every class once, found {', '.join(twice)} again. Keep one pair"
            )
        position = {name: index for index, name in enumerate(class_names)}
        self._mirrored = torch.arange(len(class_names))
        for one, other in augment.flip_swaps:
            self._mirrored[position[one]], self._mirrored[position[other]] = position[other], position[one]
        self._never = torch.tensor([position[name] for name in augment.flip_never], dtype=torch.long)

    def allows(self, labels: Tensor) -> bool:
        """Whether a picture with these classes, int64 (N,), may be mirrored."""
        return not len(self._never) or not bool(torch.isin(labels, self._never).any())

    def mirrored(self, labels: Tensor) -> Tensor:
        """The classes in the mirror, int64 (N,)."""
        return self._mirrored[labels] if len(self._mirrored) else labels


class RandomWarp(v2.Transform):
    """Mirrors, scales, moves and resizes to `size_hw` by one bilinear warp; boxes are not clipped.

    Args:
        augment: shares of flip, translate and scale.
        care: of the classes when mirroring.
        size_hw: of the picture that it gives.
    """

    def __init__(self, augment: AugmentConfig, care: FlipCare, size_hw: tuple[int, int]) -> None:
        super().__init__()
        self._augment, self._care, self._size_hw = augment, care, size_hw

    def forward(self, *inputs: object) -> tuple[object, ...]:
        image, boxes, labels, chance = inputs
        assert isinstance(labels, Tensor) and isinstance(chance, np.random.Generator)
        assert isinstance(image, tv_tensors.Image) and isinstance(boxes, tv_tensors.BoundingBoxes)
        flip, scale, move_x, move_y = chance.random(4)
        augment, (height, width) = self._augment, self._size_hw
        zoom = 1 + augment.scale * (2 * scale - 1)
        mirror = flip < augment.flip and self._care.allows(labels)
        gain_x, gain_y = zoom * width / image.shape[-1], zoom * height / image.shape[-2]
        shift_x = width * (0.5 + augment.translate * (2 * move_x - 1)) - gain_x * image.shape[-1] / 2
        shift_y = height * (0.5 + augment.translate * (2 * move_y - 1)) - gain_y * image.shape[-2] / 2
        if mirror:
            gain_x, shift_x, labels = -gain_x, width - shift_x, self._care.mirrored(labels)
        return *warped(image, boxes, (gain_x, gain_y), (shift_x, shift_y), self._size_hw), labels, chance


class RandomColour(v2.Transform):
    """Brightness, contrast and saturation as v2.ColorJitter defines them, in this order, by one matrix a picture.

    Each of the three is linear in the colours, so the three together are; only what saturates in between is lost.
    """

    def __init__(self, augment: AugmentConfig) -> None:
        super().__init__()
        self._reach = np.array([augment.brightness, augment.contrast, augment.saturation])

    def forward(self, *inputs: object) -> tuple[object, ...]:
        image, boxes, labels, chance = inputs
        assert isinstance(image, tv_tensors.Image) and isinstance(chance, np.random.Generator)
        brightness, contrast, saturation = 1 + self._reach * (2 * chance.random(3) - 1)
        if not self._reach.any():
            return inputs
        pixels = pixels_of(image)
        mean = float(_GREY @ cv2.mean(pixels[::_MEAN_ROWS])[:3])
        colours = saturation * np.eye(3) + (1 - saturation) * np.tile(_GREY, (3, 1))
        offset = np.full((3, 1), (1 - contrast) * brightness * mean)
        matrix = np.hstack([brightness * contrast * colours, offset]).astype(np.float32)  # (3, 4)
        return image_of(cv2.transform(pixels, matrix)), boxes, labels, chance


class KeepVisible(v2.Transform):
    """Clips boxes to the picture and drops those of which too little is left."""

    def forward(self, *inputs: object) -> tuple[object, ...]:
        image, boxes, labels, chance = inputs
        assert isinstance(boxes, tv_tensors.BoundingBoxes) and isinstance(labels, Tensor)
        clipped = v2.functional.clamp_bounding_boxes(boxes)
        sides, before = _sides(clipped), _sides(boxes)
        kept = (sides.min(1).values >= SMALLEST_BOX_PX) & (sides.prod(1) >= VISIBLE_SHARE * before.prod(1))
        return image, tv_tensors.wrap(clipped[kept], like=boxes), labels[kept], chance


def warped(
    image: tv_tensors.Image,
    boxes: tv_tensors.BoundingBoxes,
    gain_xy: tuple[float, float],
    shift_xy: tuple[float, float],
    size_hw: tuple[int, int],
) -> tuple[tv_tensors.Image, tv_tensors.BoundingBoxes]:
    """Picture and boxes with x -> gain x + shift, on a grey canvas of `size_hw`; a gain below 0 mirrors.

    Coordinates are continuous: the first pixel reaches from 0 to 1.
    """
    gain, shift = np.array(gain_xy), np.array(shift_xy)
    corners = boxes.numpy().reshape(-1, 2, 2) * gain + shift
    new_boxes = np.concatenate([corners.min(1), corners.max(1)], 1).astype(np.float32)
    if tuple(image.shape[-2:]) != size_hw or (gain != 1).any() or (shift != 0).any():
        at_centres = shift + 0.5 * gain - 0.5  # OpenCV counts from the centre of the first pixel
        matrix = np.array([[gain[0], 0, at_centres[0]], [0, gain[1], at_centres[1]]])
        grey = (LETTERBOX_GREY,) * 3
        image = image_of(cv2.warpAffine(pixels_of(image), matrix, size_hw[::-1], borderValue=grey))
    return image, boxes_of(new_boxes, size_hw)


def pixels_of(image: Tensor) -> np.ndarray:
    """The picture as OpenCV takes it, uint8 (H, W, 3), in the same memory where it was made by `image_of`."""
    return image.as_subclass(Tensor).permute(1, 2, 0).numpy()


def image_of(pixels: np.ndarray) -> tv_tensors.Image:
    """The picture as torchvision takes it, uint8 (3, H, W), in the same memory."""
    return tv_tensors.Image(torch.from_numpy(pixels).permute(2, 0, 1))


def boxes_of(boxes_xyxy: np.ndarray, size_hw: tuple[int, int]) -> tv_tensors.BoundingBoxes:
    """Float32 corners (N, 4) in pixels of a picture of that size."""
    corners = torch.from_numpy(np.ascontiguousarray(boxes_xyxy, np.float32).reshape(-1, 4))
    return tv_tensors.BoundingBoxes(corners, format="XYXY", canvas_size=size_hw)  # type: ignore[call-overload]


def _sides(boxes: Tensor) -> Tensor:
    corners = boxes.as_subclass(Tensor)
    return corners[:, 2:] - corners[:, :2]
