"""Pixels on the DPU's int8 grid."""

from __future__ import annotations

from functools import lru_cache

import cv2
import numpy as np


@lru_cache(maxsize=8)
def pixel_table(fix_point: int, pixel_scale: float) -> np.ndarray:
    """The int8 value of each of the 256 pixel values; read-only, shape (256,).

    floor(pixel x scale x 2^fix_point + 0.5), saturated: the DPU's rounding, half goes up.
    """
    exact = np.arange(256) * pixel_scale * 2.0**fix_point
    table: np.ndarray = np.clip(np.floor(exact + 0.5), -128, 127).astype(np.int8)
    table.flags.writeable = False
    return table


def quantise_pixels(image_rgb_uint8: np.ndarray, fix_point: int, pixel_scale: float) -> np.ndarray:
    """The picture as the network's int8 input.

    Args:
        image_rgb_uint8: uint8, shape (H, W, 3).
        fix_point: of the input tensor; real value = integer x 2^-fix_point.
        pixel_scale: what a pixel value is multiplied with, such as 1/255.
    Returns:
        int8, the same shape, C-contiguous.
    """
    return cv2.LUT(image_rgb_uint8, pixel_table(fix_point, pixel_scale))
