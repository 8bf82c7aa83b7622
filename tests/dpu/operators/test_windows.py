"""Sums and maxima over windows, against plain loops."""

from __future__ import annotations

import numpy as np
import pytest

from dpu.operators import windows


@pytest.mark.parametrize(
    ("kernel", "stride", "pad"),
    [(2, 2, (0, 0, 0, 0)), (2, 1, (0, 1, 0, 1)), (5, 1, (2, 2, 2, 2)), (3, 2, (1, 0, 0, 1)), (2, 3, (0, 0, 1, 1))],
)
def test_pooling_equals_plain_loops(kernel: int, stride: int, pad: tuple[int, int, int, int]) -> None:
    """Maximum and sum over each window of real pixels, all-negative windows included; padding never wins."""
    x = np.random.default_rng(3).integers(-128, -100, (1, 7, 9, 2), dtype=np.int8)
    largest = windows.max_pool(x, (kernel, kernel), (stride, stride), pad)
    total = windows.sum_windows(x, (kernel, kernel), (stride, stride), pad)
    top, bottom, left, right = pad
    for oy in range((7 + top + bottom - kernel) // stride + 1):
        for ox in range((9 + left + right - kernel) // stride + 1):
            y, xx = oy * stride - top, ox * stride - left
            window = x[0, max(y, 0) : y + kernel, max(xx, 0) : xx + kernel]
            assert np.array_equal(largest[0, oy, ox], window.max(axis=(0, 1)))
            assert np.array_equal(total[0, oy, ox], window.astype(int).sum(axis=(0, 1)))


@pytest.mark.parametrize(
    ("kernel_hw", "stride_hw", "pad", "dilation_hw"),
    [
        ((1, 1), (1, 1), (0, 0, 0, 0), (1, 1)),
        ((3, 3), (2, 2), (1, 1, 1, 1), (1, 1)),
        ((3, 2), (2, 1), (0, 1, 1, 0), (1, 1)),
        ((3, 3), (1, 1), (2, 2, 2, 2), (2, 2)),
        ((2, 3), (1, 1), (-1, 1, 2, -2), (1, 1)),
    ],
)
def test_convolutions_equal_plain_loops(
    kernel_hw: tuple[int, int], stride_hw: tuple[int, int], pad: tuple[int, int, int, int], dilation_hw: tuple[int, int]
) -> None:
    """The accumulators are plain sums of products of whole numbers, zero outside; a negative pad cuts off."""
    rng = np.random.default_rng(5)
    x = rng.integers(-128, 128, (1, 6, 7, 3), dtype=np.int8)
    weights = rng.integers(-128, 128, (4, *kernel_hw, 3), dtype=np.int8)
    plain = windows.convolve(x, weights, stride_hw, pad, dilation_hw)
    depthwise = windows.convolve_depthwise(x, weights, stride_hw, pad, dilation_hw)
    assert plain.dtype == depthwise.dtype == np.int64
    _, out_h, out_w, _ = plain.shape
    assert depthwise.shape == (1, out_h, out_w, 12)
    for oy in range(out_h):
        for ox in range(out_w):
            total = np.zeros((4, 3), np.int64)  # output or kernel, input channel
            for ky in range(kernel_hw[0]):
                for kx in range(kernel_hw[1]):
                    y = oy * stride_hw[0] + ky * dilation_hw[0] - pad[0]
                    xx = ox * stride_hw[1] + kx * dilation_hw[1] - pad[2]
                    if 0 <= y < 6 and 0 <= xx < 7:
                        total += weights[:, ky, kx].astype(np.int64) * x[0, y, xx].astype(np.int64)
            assert np.array_equal(plain[0, oy, ox], total.sum(axis=1))
            assert np.array_equal(depthwise[0, oy, ox], total.T.ravel())


def test_stretch_puts_zeros_between_pixels() -> None:
    """Stride 2 by 3: one row and two columns of zeros between neighbours, none at the ends."""
    x = np.arange(1, 5, dtype=np.int8).reshape(1, 2, 2, 1)
    assert windows.stretch(x, (2, 3))[0, :, :, 0].tolist() == [[1, 0, 0, 2], [0, 0, 0, 0], [3, 0, 0, 4]]
