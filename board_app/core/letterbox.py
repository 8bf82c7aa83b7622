"""Letterboxing: any picture into the network's input size, and boxes there and back."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Tuple

import cv2
import numpy as np

LETTERBOX_GREY = 128


@dataclass(frozen=True)
class LetterboxTransform:
    """How a picture lies inside the network's input.

    Attributes:
        scale: network pixels per source pixel before the resized size was rounded to whole pixels.
        pad_left: grey columns on the left, in network pixels.
        pad_top: grey rows above, in network pixels.
        source_hw: height and width of the source picture.
        resized_hw: height and width of the picture inside the padding; the exact scale of each axis follows from it.
    """

    scale: float
    pad_left: int
    pad_top: int
    source_hw: Tuple[int, int]
    resized_hw: Tuple[int, int]

    @classmethod
    def fit(cls, source_hw: Tuple[int, int], size_hw: Tuple[int, int]) -> "LetterboxTransform":
        """The transform for pictures of `source_hw` into `size_hw`, centred; an odd pixel goes right and below."""
        height, width = source_hw
        if height < 1 or width < 1:
            raise ValueError(f"expected a picture of at least 1x1 pixels, found {height}x{width}")
        scale = min(size_hw[0] / height, size_hw[1] / width)
        resized_height = min(max(int(round(height * scale)), 1), size_hw[0])
        resized_width = min(max(int(round(width * scale)), 1), size_hw[1])
        return cls(
            scale,
            (size_hw[1] - resized_width) // 2,
            (size_hw[0] - resized_height) // 2,
            (height, width),
            (resized_height, resized_width),
        )

    def _scale_xyxy(self) -> np.ndarray:
        y = self.resized_hw[0] / self.source_hw[0]
        x = self.resized_hw[1] / self.source_hw[1]
        return np.array([x, y, x, y])

    def _pad_xyxy(self) -> np.ndarray:
        return np.array([self.pad_left, self.pad_top, self.pad_left, self.pad_top])

    def to_source(self, boxes_xyxy: np.ndarray) -> np.ndarray:
        """Boxes (N, 4) of the network's input in pixels of the source, float32, not clipped."""
        boxes: np.ndarray = (boxes_xyxy - self._pad_xyxy()) / self._scale_xyxy()
        return boxes.astype(np.float32)

    def to_network(self, boxes_xyxy: np.ndarray) -> np.ndarray:
        """Boxes (N, 4) of the source in pixels of the network's input, float32, not clipped."""
        boxes: np.ndarray = boxes_xyxy * self._scale_xyxy() + self._pad_xyxy()
        return boxes.astype(np.float32)


def letterbox(image_bgr: np.ndarray, size_hw: Tuple[int, int]) -> Tuple[np.ndarray, LetterboxTransform]:
    """Resize with unchanged aspect ratio (bilinear), padding with grey 128.

    Args:
        image_bgr: uint8 array, shape (H, W, 3). The channel order does not matter.
        size_hw: network input height and width.
    Returns:
        The padded uint8 image, shape (*size_hw, 3), and the transform that maps boxes back. A picture that already
        has the network's size is returned as it is, not copied.
    Raises:
        ValueError: the image is empty, not three-channel or not uint8.
    Source: Redmon & Farhadi, YOLOv3, arXiv:1804.02767 (Darknet's letterbox_image).
    """
    if image_bgr.ndim != 3 or image_bgr.shape[2] != 3 or image_bgr.size == 0 or image_bgr.dtype != np.uint8:
        raise ValueError(f"expected a uint8 image of shape (H, W, 3), found {image_bgr.dtype} {image_bgr.shape}")
    height, width = image_bgr.shape[:2]
    transform = LetterboxTransform.fit((height, width), size_hw)
    resized_hw = transform.resized_hw
    resized = image_bgr
    if resized_hw != (height, width):
        resized = cv2.resize(image_bgr, resized_hw[::-1], interpolation=cv2.INTER_LINEAR)
    if resized_hw == tuple(size_hw):
        return resized, transform
    padded = np.full((size_hw[0], size_hw[1], 3), LETTERBOX_GREY, np.uint8)
    top, left = transform.pad_top, transform.pad_left
    padded[top : top + resized_hw[0], left : left + resized_hw[1]] = resized
    return padded, transform
