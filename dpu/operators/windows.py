"""Exact sums and maxima over the windows of int8 pictures (1, H, W, C), tap by tap, with numpy.

Sums are matrix products and additions in float64, which holds whole numbers up to 2^53 exactly; the largest possible
sum is far below (16 * 16 * 4096 products of 2^14 make 2^34).
"""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np

from dpu.arithmetic import INT8_MIN

_Pair = tuple[int, int]
_Pads = tuple[int, int, int, int]


def size_after(size: int, pads: int, kernel: int, stride: int, dilation: int = 1) -> int:
    """How many windows fit: floor((size + pads - ((kernel - 1) * dilation + 1)) / stride) + 1."""
    return (size + pads - (kernel - 1) * dilation - 1) // stride + 1


def convolve(
    x: np.ndarray, weights: np.ndarray, stride_hw: _Pair, pad_tblr: _Pads, dilation_hw: _Pair = (1, 1)
) -> np.ndarray:
    """The exact accumulator of an int8 convolution, padded with zeros, without bias.

    Args:
        x: int8, shape (1, H, W, I).
        weights: int8, shape (O, kh, kw, I).
    Returns:
        int64, shape (1, OH, OW, O), at fix point input + weights.
    """
    taps = weights.astype(np.float64)
    total: np.ndarray | float = 0.0
    for ky, kx, window in _taps(x.astype(np.float64), weights.shape[1:3], stride_hw, pad_tblr, dilation_hw):
        total = total + window @ taps[:, ky, kx, :].T
    return np.asarray(total).astype(np.int64)


def convolve_depthwise(
    x: np.ndarray, weights: np.ndarray, stride_hw: _Pair, pad_tblr: _Pads, dilation_hw: _Pair = (1, 1)
) -> np.ndarray:
    """The same for a convolution of each channel alone, by M kernels: weights (M, kh, kw, C).

    Returns int64, shape (1, OH, OW, C * M); channel c by kernel m is output channel c * M + m.
    """
    taps = weights.astype(np.int64)
    total: np.ndarray | int = 0
    for ky, kx, window in _taps(x.astype(np.int64), weights.shape[1:3], stride_hw, pad_tblr, dilation_hw):
        total = total + window[..., np.newaxis] * taps[:, ky, kx, :].T
    products = np.asarray(total)  # (1, OH, OW, C, M)
    return products.reshape(*products.shape[:3], -1)


def stretch(x: np.ndarray, stride_hw: _Pair) -> np.ndarray:
    """A picture with stride - 1 zeros between neighbouring pixels: what a transposed convolution slides over."""
    _, height, width, channels = x.shape
    shape = (1, (height - 1) * stride_hw[0] + 1, (width - 1) * stride_hw[1] + 1, channels)
    stretched = np.zeros(shape, x.dtype)
    stretched[:, :: stride_hw[0], :: stride_hw[1]] = x
    return stretched


def sum_windows(x: np.ndarray, kernel_hw: _Pair, stride_hw: _Pair, pad_tblr: _Pads) -> np.ndarray:
    """The int64 sum over windows of an int8 picture; padding adds nothing."""
    windows = _taps(x.astype(np.int64), kernel_hw, stride_hw, pad_tblr)
    total: np.ndarray = sum(window for _, _, window in windows)  # type: ignore[assignment]
    return total


def max_pool(x: np.ndarray, kernel_hw: _Pair, stride_hw: _Pair, pad_tblr: _Pads) -> np.ndarray:
    """The maximum over windows of an int8 picture; padding never wins (it is -128)."""
    windows = _taps(x, kernel_hw, stride_hw, pad_tblr, fill=INT8_MIN)
    best = next(windows)[2].copy()
    for _, _, window in windows:
        np.maximum(best, window, out=best)
    return best


def _taps(
    x: np.ndarray,
    kernel_hw: tuple[int, ...],
    stride_hw: _Pair,
    pad_tblr: _Pads,
    dilation_hw: _Pair = (1, 1),
    fill: int = 0,
) -> Iterator[tuple[int, int, np.ndarray]]:
    """For each tap of a kernel its row, its column, and the pixels under it in all windows, (1, OH, OW, C).

    A negative pad cuts rows or columns off.
    """
    top, bottom, left, right = pad_tblr
    extents = ((0, 0), (max(top, 0), max(bottom, 0)), (max(left, 0), max(right, 0)), (0, 0))
    padded = np.pad(x, extents, constant_values=fill)
    height, width = x.shape[1] + top + bottom, x.shape[2] + left + right
    padded = padded[:, max(-top, 0) :, max(-left, 0) :][:, :height, :width]
    out_h = size_after(height, 0, kernel_hw[0], stride_hw[0], dilation_hw[0])
    out_w = size_after(width, 0, kernel_hw[1], stride_hw[1], dilation_hw[1])
    for ky in range(kernel_hw[0]):
        rows = padded[:, ky * dilation_hw[0] :: stride_hw[0]][:, :out_h]
        for kx in range(kernel_hw[1]):
            yield ky, kx, rows[:, :, kx * dilation_hw[1] :: stride_hw[1]][:, :, :out_w]
