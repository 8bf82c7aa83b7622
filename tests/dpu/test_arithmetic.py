"""The DPU's whole-number arithmetic, against fractions and plain loops."""

from __future__ import annotations

import math
from fractions import Fraction
from pathlib import Path

import numpy as np
import pytest

from dpu import arithmetic


@pytest.mark.parametrize(
    ("x", "half_up", "away"),
    [(2.5, 3, 3), (-2.5, -2, -3), (0.5, 1, 1), (-0.5, 0, -1), (1.25, 1, 1), (-1.75, -2, -2), (0.0, 0, 0)],
)
def test_rounding_of_halves(x: float, half_up: int, away: int) -> None:
    """Half up goes to the larger whole number, std_round away from zero."""
    assert arithmetic.half_up(np.array([x]))[0] == half_up
    assert arithmetic.std_round(np.array([x]))[0] == away


def test_rounding_equals_the_quantisers(shared_data: Path) -> None:
    """Methods 2 and 3 of the real quantiser's unit cases are half up and std_round, saturated."""
    units = np.load(shared_data / "nndct_reference" / "units.npz")
    x = units["round/x"].astype(np.float64)
    keys = [key for key in units.files if key.startswith("round/amp")]
    assert keys
    for key in keys:
        amp, method = key.removeprefix("round/amp").split("/method")
        rounding = {"2": arithmetic.half_up, "3": arithmetic.std_round}.get(method)
        if rounding is not None:
            expected = units[key]
            got = arithmetic.saturate(rounding(x / float(amp) * float(amp)))
            assert np.array_equal(got, expected), key


def test_saturation() -> None:
    """Everything beyond int8 becomes its nearest end."""
    got = arithmetic.saturate(np.array([-1000, -129, -128, 0, 127, 128, 1000]))
    assert got.tolist() == [-128, -128, -128, 0, 127, 127, 127] and got.dtype == np.int8


@pytest.mark.parametrize("fix_point", [-3, 0, 4, 7])
def test_quantise_inverts_dequantise(fix_point: int) -> None:
    """Every int8 integer survives the way to float and back."""
    integers = np.arange(-128, 128).astype(np.int8)
    assert np.array_equal(arithmetic.quantise(arithmetic.dequantise(integers, fix_point), fix_point), integers)


@pytest.mark.parametrize("shift", [-3, 0, 1, 2, 7])
def test_shift_is_division_rounded_half_up(shift: int) -> None:
    """A shift equals floor(x / 2^shift + 1/2) in exact fractions, for negative numbers too."""
    x = np.arange(-300, 300)
    expected = [math.floor(Fraction(int(v)) / Fraction(2) ** shift + Fraction(1, 2)) for v in x]
    assert arithmetic.shift_half_up(x.astype(np.int64), shift).tolist() == expected


@pytest.mark.parametrize("activation", ["NONE", "RELU", "LEAKYRELU"])
@pytest.mark.parametrize(("fix_point", "output"), [(10, 4), (6, 6), (3, 5)])
def test_finish_rounds_once(activation: arithmetic.Activation, fix_point: int, output: int) -> None:
    """The accumulator goes through the activation exactly and is rounded once, half up, as fractions say."""
    x = np.arange(-40000, 40000, 7)
    slope = {"NONE": Fraction(1), "RELU": Fraction(0), "LEAKYRELU": Fraction(26, 256)}[activation]
    expected = []
    for v in map(int, x):
        exact = Fraction(v) / 2**fix_point
        exact = exact * slope if v < 0 else exact
        expected.append(min(127, max(-128, math.floor(exact * 2**output + Fraction(1, 2)))))
    assert arithmetic.finish(x.astype(np.int64), fix_point, output, activation).tolist() == expected


def test_bias_bits_finer_than_the_accumulator_are_kept() -> None:
    """A bias at a finer position than w + i adds its last bits before the rounding."""
    total, position = arithmetic.add_bias(np.array([[10]]), 4, np.array([3], np.int8), 6)
    assert (total.tolist(), position) == ([[43]], 6)


def test_add_works_at_the_finest_position() -> None:
    """100 * 2^-5 + 3 * 2^-7 = 403 * 2^-7 is 101 at position 5 (100.75 rounded half up)."""
    arrays = [np.array([100], np.int8), np.array([3], np.int8)]
    assert arithmetic.add(arrays, [5, 7], 5).tolist() == [101]


def test_concat_requantises_each_input() -> None:
    """Inputs move to the output's position half up; -5 at 4 is -2 at 3 (-2.5 goes up)."""
    arrays = [np.array([[-5]], np.int8), np.array([[7]], np.int8)]
    assert arithmetic.concat(arrays, [4, 3], 3, 1).tolist() == [[-2, 7]]


@pytest.mark.parametrize(
    ("kernel", "stride", "pad"),
    [(2, 2, (0, 0, 0, 0)), (2, 1, (0, 1, 0, 1)), (5, 1, (2, 2, 2, 2)), (3, 2, (1, 0, 0, 1))],
)
def test_max_pool_equals_plain_loops(kernel: int, stride: int, pad: tuple[int, int, int, int]) -> None:
    """The maximum over each window of real pixels, all-negative windows included; padding never wins."""
    x = np.random.default_rng(3).integers(-128, -100, (1, 7, 9, 2), dtype=np.int8)
    got = arithmetic.max_pool(x, (kernel, kernel), (stride, stride), pad)
    top, bottom, left, right = pad
    for oy in range((7 + top + bottom - kernel) // stride + 1):
        for ox in range((9 + left + right - kernel) // stride + 1):
            y, xx = oy * stride - top, ox * stride - left
            window = x[0, max(y, 0) : y + kernel, max(xx, 0) : xx + kernel]
            assert np.array_equal(got[0, oy, ox], window.max(axis=(0, 1)))


@pytest.mark.parametrize(
    ("kernel_hw", "stride_hw", "pad", "dilation_hw"),
    [
        ((1, 1), (1, 1), (0, 0, 0, 0), (1, 1)),
        ((3, 3), (2, 2), (1, 1, 1, 1), (1, 1)),
        ((3, 2), (2, 1), (0, 1, 1, 0), (1, 1)),
        ((3, 3), (1, 1), (2, 2, 2, 2), (2, 2)),
    ],
)
def test_convolve_equals_plain_loops(
    kernel_hw: tuple[int, int], stride_hw: tuple[int, int], pad: tuple[int, int, int, int], dilation_hw: tuple[int, int]
) -> None:
    """The accumulator is the plain sum of products of whole numbers, zero outside."""
    rng = np.random.default_rng(5)
    x = rng.integers(-128, 128, (1, 6, 7, 3), dtype=np.int8)
    weights = rng.integers(-128, 128, (4, *kernel_hw, 3), dtype=np.int8)
    got = arithmetic.convolve(x, weights, stride_hw, pad, dilation_hw)
    _, out_h, out_w, _ = got.shape
    for oy in range(out_h):
        for ox in range(out_w):
            total = np.zeros(4, np.int64)
            for ky in range(kernel_hw[0]):
                for kx in range(kernel_hw[1]):
                    y = oy * stride_hw[0] + ky * dilation_hw[0] - pad[0]
                    xx = ox * stride_hw[1] + kx * dilation_hw[1] - pad[2]
                    if 0 <= y < 6 and 0 <= xx < 7:
                        total += weights[:, ky, kx].astype(np.int64) @ x[0, y, xx].astype(np.int64)
            assert np.array_equal(got[0, oy, ox], total)
