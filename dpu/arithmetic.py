"""The DPU's int8 arithmetic, exactly, in whole numbers.

An int8 tensor has a fix point p: value = integer * 2^-p. These are the rules that the DPU's quantiser (pytorch_nndct
3.5.0) simulates, found equal bit for bit to its output: an accumulator is exact, is rounded ONCE after the activation,
half up (floor(x + 1/2)), and saturates to [-128, 127]. Whether the hardware rounds a leaky product or a shifted bias
before that last step is not in public documents.
"""

from __future__ import annotations

from typing import Literal

import numpy as np

Activation = Literal["NONE", "RELU", "RELU6", "LEAKYRELU"]

INT8_MIN, INT8_MAX = -128, 127
LEAKY_NUMERATOR, LEAKY_BITS = 26, 8
LEAKY_SLOPE = LEAKY_NUMERATOR / 2**LEAKY_BITS  # 0.1015625, the DPU's only leaky slope
HARD_SIGMOID_NUMERATOR = 2731  # 2731 / 2^14 stands for 1/6
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


def limits(activation: Activation, fix_point: int) -> tuple[int, int]:
    """The smallest and largest int8 integer that an activation lets through at a fix point.

    Rounding half up is monotonous, so clipping at a rounded 6.0 after it equals clipping at 6.0 before it.
    """
    if activation == "RELU6":
        six = 6 << fix_point if fix_point >= 0 else (6 + (1 << (-fix_point - 1))) >> -fix_point
        return 0, min(six, INT8_MAX)
    return (0 if activation == "RELU" else INT8_MIN), INT8_MAX


def finish(accumulator: np.ndarray, fix_point: int, output_fix_point: int, activation: Activation) -> np.ndarray:
    """An exact int64 accumulator at a fix point as the int8 output: activation, one rounding half up, saturation."""
    if activation == "LEAKYRELU":
        slope = np.where(accumulator < 0, np.int64(LEAKY_NUMERATOR), np.int64(1 << LEAKY_BITS))
        accumulator, fix_point = accumulator * slope, fix_point + LEAKY_BITS
    rounded = shift_half_up(accumulator, fix_point - output_fix_point)
    clipped: np.ndarray = np.clip(rounded, *limits(activation, output_fix_point))
    return clipped.astype(np.int8)


def add_bias(accumulator: np.ndarray, fix_point: int, bias: np.ndarray, bias_fix_point: int) -> tuple[np.ndarray, int]:
    """The exact sum of an int64 accumulator (..., O) and an int8 bias (O,), and its fix point (the finer one)."""
    finer = max(fix_point, bias_fix_point)
    shifted_bias = bias.astype(np.int64) << np.int64(finer - bias_fix_point)
    return (accumulator << np.int64(finer - fix_point)) + shifted_bias, finer


def hard_sigmoid(x: np.ndarray, fix_point: int, shift: int) -> np.ndarray:
    """int8 values at a fix point through relu6(x + 3) * 2731 / 2^14: the product is cut by `shift` bits, half up."""
    three = 3 << fix_point
    clipped = np.clip(x.astype(np.int64) + three, 0, 2 * three)
    return saturate(shift_half_up(clipped * HARD_SIGMOID_NUMERATOR, shift))


def hard_swish(x: np.ndarray, fix_point: int, sigmoid_shift: int, shift: int) -> np.ndarray:
    """int8 values times their own hard sigmoid, which is rounded to int8 before; the product is cut by `shift` bits."""
    return saturate(shift_half_up(x.astype(np.int64) * hard_sigmoid(x, fix_point, sigmoid_shift), shift))
