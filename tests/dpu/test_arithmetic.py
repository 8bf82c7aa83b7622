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


@pytest.mark.parametrize("fix_point", [-5, -3, -2, -1, 0, 3, 4, 5, 9])
def test_relu6_ends_at_six(fix_point: int) -> None:
    """Clipping at the rounded 6 after the rounding equals clipping at 6 before it."""
    x = np.arange(-2000, 2000)
    exact = [min(Fraction(6), max(Fraction(0), Fraction(int(v)) / 64)) for v in x]
    expected = [min(127, math.floor(v * Fraction(2) ** fix_point + Fraction(1, 2))) for v in exact]
    assert arithmetic.finish(x.astype(np.int64), 6, fix_point, "RELU6").tolist() == expected


@pytest.mark.parametrize("fix_point", [0, 2, 4, 5, 7])
def test_hard_sigmoid_and_hard_swish_are_the_quantisers(fix_point: int) -> None:
    """relu6(x + 3) * 2731 / 2^14, rounded at 2^-7: hard swish multiplies by it, as the quantiser does."""
    x = np.arange(-128, 128).astype(np.int8)
    sigmoid = []
    for v in x:
        inner = min(Fraction(6), max(Fraction(0), Fraction(int(v)) / 2**fix_point + 3)) * Fraction(2731, 16384)
        sigmoid.append(min(127, math.floor(inner * 128 + Fraction(1, 2))))
    assert arithmetic.hard_sigmoid(x, fix_point, fix_point + 7).tolist() == sigmoid
    swish = [Fraction(int(v)) * s / 2 ** (fix_point + 7) for v, s in zip(x, sigmoid, strict=True)]
    expected = [min(127, max(-128, math.floor(v * 2**4 + Fraction(1, 2)))) for v in swish]
    assert arithmetic.hard_swish(x, fix_point, fix_point + 7, fix_point + 3).tolist() == expected
