"""Pixels on the int8 grid."""

from __future__ import annotations

import math

import numpy as np
import pytest

from board_app.core.int8_input import quantise_pixels


@pytest.mark.parametrize("fix_point", [-1, 0, 5, 6, 7, 8])
def test_every_pixel_value_is_rounded_half_up_and_saturated(fix_point: int) -> None:
    """All 256 values follow floor(x + 0.5), clipped to int8."""
    pixels = np.arange(256, dtype=np.uint8).repeat(3).reshape(16, 16, 3)
    found = quantise_pixels(pixels, fix_point, 1 / 255)
    expected = [min(127, max(-128, math.floor(int(p) / 255 * 2.0**fix_point + 0.5))) for p in pixels.ravel()]
    assert found.dtype == np.int8 and found.flags.c_contiguous
    np.testing.assert_array_equal(found.ravel(), expected)


def test_black_and_white() -> None:
    """The whole range fits one table: black is 0 and white saturates at fix point 7."""
    assert quantise_pixels(np.zeros((1, 1, 3), np.uint8), 7, 1 / 255).tolist() == [[[0, 0, 0]]]
    assert quantise_pixels(np.full((1, 1, 3), 255, np.uint8), 7, 1 / 255).max() == 127
