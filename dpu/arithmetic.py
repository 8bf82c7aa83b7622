"""The DPU's int8 arithmetic, exactly, in whole numbers.

An int8 tensor has a fix point p: value = integer * 2^-p. These are the rules that the DPU's quantiser (pytorch_nndct
3.5.0) simulates, found equal bit for bit to its output: an accumulator is exact, is rounded ONCE after the activation,
half up (floor(x + 1/2)), and saturates to [-128, 127]. Whether the hardware rounds a leaky product or a shifted bias
before that last step is not in public documents.
"""

from __future__ import annotations

from typing import Literal

import numpy as np

Activation = Literal["NONE", "RELU", "LEAKYRELU"]

INT8_MIN, INT8_MAX = -128, 127
LEAKY_NUMERATOR, LEAKY_BITS = 26, 8
LEAKY_SLOPE = LEAKY_NUMERATOR / 2**LEAKY_BITS  # 0.1015625, the DPU's only leaky slope
FIX_POINT_RANGE = range(-32, 33)  # what a model may ask for; real ones stay within -8 to 18


def half_up(x: np.ndarray) -> np.ndarray:
    """Round to whole numbers, halves upwards (2.5 -> 3, -2.5 -> -2): DPU_ROUND. Float in, the same float type out."""
    rounded: np.ndarray = np.floor(x + 0.5)
    return rounded


def std_round(x: np.ndarray) -> np.ndarray:
    """Round to whole numbers, halves away from zero (2.5 -> 3, -2.5 -> -3), as C++ std::round does."""
    rounded: np.ndarray = np.trunc(x + np.copysign(0.5, x))
    return rounded


def saturate(x: np.ndarray) -> np.ndarray:
    """Whole numbers of any type, clipped to [-128, 127], as int8."""
    clipped: np.ndarray = np.clip(x, INT8_MIN, INT8_MAX)
    return clipped.astype(np.int8)


def quantise(x: np.ndarray, fix_point: int) -> np.ndarray:
    """Float values as int8 at a fix point: scaled by 2^fix_point, rounded half up, saturated. NaN is not allowed."""
    return saturate(half_up(x.astype(np.float64) * 2.0**fix_point))


def dequantise(x: np.ndarray, fix_point: int) -> np.ndarray:
    """The float32 values that int8 integers stand for; exact."""
    return (x.astype(np.float64) * 2.0**-fix_point).astype(np.float32)


def shift_half_up(x: np.ndarray, shift: int) -> np.ndarray:
    """int64 values divided by 2^shift, rounded half up; a negative shift multiplies. The caller sees to the range."""
    if shift <= 0:
        return x << np.int64(-shift)
    return (x + (np.int64(1) << np.int64(shift - 1))) >> np.int64(shift)


def requantise(x: np.ndarray, fix_point: int, output_fix_point: int) -> np.ndarray:
    """int8 values moved from one fix point to another: one rounding half up, saturated."""
    if fix_point == output_fix_point:
        return x
    return saturate(shift_half_up(x.astype(np.int64), fix_point - output_fix_point))


def finish(accumulator: np.ndarray, fix_point: int, output_fix_point: int, activation: Activation) -> np.ndarray:
    """An exact int64 accumulator at a fix point as the int8 output: activation, one rounding half up, saturation."""
    if activation == "LEAKYRELU":
        slope = np.where(accumulator < 0, np.int64(LEAKY_NUMERATOR), np.int64(1 << LEAKY_BITS))
        accumulator, fix_point = accumulator * slope, fix_point + LEAKY_BITS
    elif activation == "RELU":
        accumulator = np.maximum(accumulator, 0)
    return saturate(shift_half_up(accumulator, fix_point - output_fix_point))


def add_bias(accumulator: np.ndarray, fix_point: int, bias: np.ndarray, bias_fix_point: int) -> tuple[np.ndarray, int]:
    """The exact sum of an int64 accumulator (..., O) and an int8 bias (O,), and its fix point (the finer one)."""
    finer = max(fix_point, bias_fix_point)
    shifted_bias = bias.astype(np.int64) << np.int64(finer - bias_fix_point)
    return (accumulator << np.int64(finer - fix_point)) + shifted_bias, finer


def add(
    inputs: list[np.ndarray], fix_points: list[int], output_fix_point: int, activation: Activation = "NONE"
) -> np.ndarray:
    """The element-wise sum of int8 arrays: exact at the finest position, then one rounding half up."""
    finest = max(fix_points)
    total = np.zeros(inputs[0].shape, np.int64)
    for index, x in enumerate(inputs):
        total += x.astype(np.int64) << np.int64(finest - fix_points[index])
    return finish(total, finest, output_fix_point, activation)


def concat(inputs: list[np.ndarray], fix_points: list[int], output_fix_point: int, axis: int) -> np.ndarray:
    """int8 arrays joined along an axis, each first moved to the output's fix point, half up."""
    moved = [requantise(x, fix_points[index], output_fix_point) for index, x in enumerate(inputs)]
    return np.concatenate(moved, axis=axis)


def max_pool(
    x: np.ndarray, kernel_hw: tuple[int, int], stride_hw: tuple[int, int], pad_tblr: tuple[int, int, int, int]
) -> np.ndarray:
    """The maximum over windows of an int8 (1, H, W, C) array; padding never wins (it is -128)."""
    top, bottom, left, right = pad_tblr
    padded = np.pad(x, ((0, 0), (top, bottom), (left, right), (0, 0)), constant_values=INT8_MIN)
    out_h = (padded.shape[1] - kernel_hw[0]) // stride_hw[0] + 1
    out_w = (padded.shape[2] - kernel_hw[1]) // stride_hw[1] + 1
    best: np.ndarray | None = None
    for ky in range(kernel_hw[0]):
        for kx in range(kernel_hw[1]):
            window = padded[:, ky : ky + out_h * stride_hw[0] : stride_hw[0], kx : kx + out_w * stride_hw[1], :]
            window = window[:, :out_h, :: stride_hw[1], :]
            best = window.copy() if best is None else np.maximum(best, window, out=best)
    assert best is not None
    return best


def upsample_nearest(x: np.ndarray, scale_hw: tuple[int, int]) -> np.ndarray:
    """Each pixel of a (1, H, W, C) array repeated scale_hw times."""
    return x.repeat(scale_hw[0], axis=1).repeat(scale_hw[1], axis=2)


def convolve(
    x: np.ndarray,
    weights: np.ndarray,
    stride_hw: tuple[int, int],
    pad_tblr: tuple[int, int, int, int],
    dilation_hw: tuple[int, int] = (1, 1),
) -> np.ndarray:
    """The exact accumulator of an int8 convolution, padded with zeros, without bias.

    Args:
        x: int8, shape (1, H, W, I).
        weights: int8, shape (O, kh, kw, I).
    Returns:
        int64, shape (1, OH, OW, O), at fix point input + weights. Summed by matrix products in float64, which holds
        whole numbers up to 2^53 exactly; the largest possible sum is far below (16*16*4096 products of 2^14 = 2^34).
    """
    top, bottom, left, right = pad_tblr
    padded = np.pad(x, ((0, 0), (top, bottom), (left, right), (0, 0))).astype(np.float64)
    _, kernel_h, kernel_w, _ = weights.shape
    out_h = (padded.shape[1] - (kernel_h - 1) * dilation_hw[0] - 1) // stride_hw[0] + 1
    out_w = (padded.shape[2] - (kernel_w - 1) * dilation_hw[1] - 1) // stride_hw[1] + 1
    taps = weights.astype(np.float64)
    total = np.zeros((1, out_h, out_w, weights.shape[0]))
    for ky in range(kernel_h):
        for kx in range(kernel_w):
            y0, x0 = ky * dilation_hw[0], kx * dilation_hw[1]
            window = padded[:, y0 : y0 + (out_h - 1) * stride_hw[0] + 1 : stride_hw[0]]
            window = window[:, :, x0 : x0 + (out_w - 1) * stride_hw[1] + 1 : stride_hw[1]]
            total += window @ taps[:, ky, kx, :].T
    return total.astype(np.int64)
