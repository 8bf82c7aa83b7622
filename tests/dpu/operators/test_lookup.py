"""Hard sigmoid and hard swish, alone and behind a convolution."""

from __future__ import annotations

import math
from fractions import Fraction

import numpy as np
import pytest

from dpu.errors import UnsupportedModelError
from dpu.executor import Executor
from dpu.operators.testing import IntegerGraph

ALL = np.arange(-128, 128).astype(np.int8).reshape(1, 1, 256, 1)


def half_up(value: Fraction) -> int:
    return min(127, max(-128, math.floor(value + Fraction(1, 2))))


def sigmoid(value: Fraction) -> Fraction:
    return min(Fraction(6), max(Fraction(0), value + 3)) * Fraction(2731, 2**14)


@pytest.mark.parametrize("fix_point", [0, 2, 4, 7])
def test_hard_sigmoid_alone(fix_point: int) -> None:
    """relu6(x + 3) * 2731 / 2^14 of each int8 value, rounded once at the output's position."""
    net = IntegerGraph()
    x = net.data("x", ALL.shape, fix_point)
    net.op("h", "hard-sigmoid-fix", ALL.shape, 7, [x], hsigmoid_in=fix_point, shift_hsigmoid=fix_point + 7)
    expected = [half_up(sigmoid(Fraction(v) / 2**fix_point) * 2**7) for v in ALL.ravel().tolist()]
    assert net.run({"x": ALL})["h"].ravel().tolist() == expected


@pytest.mark.parametrize("kind", ["HSIGMOID", "HSWISH"])
def test_fused_behind_a_convolution(kind: str) -> None:
    """The sum is rounded to int8 at hsigmoid_in, its hard sigmoid at 2^-7, their product at the output's position."""
    rng = np.random.default_rng(0)
    x = rng.integers(-128, 128, (1, 5, 5, 3), dtype=np.int8)
    weights, bias = rng.integers(-60, 60, (4, 1, 1, 3)), rng.integers(-60, 60, 4)
    net = IntegerGraph()
    inputs = {"input": [net.data("x", x.shape, 5)], "weights": [net.const("w", weights, 7)]}
    inputs["bias"] = [net.const("b", bias, 6)]
    shifts = {"hsigmoid_in": 4, "shift_hsigmoid": 11, "shift_hswish": 8, "shift_cut": 8, "shift_bias": 6}
    fix_point = 7 if kind == "HSIGMOID" else 3
    net.op("c", "conv2d-fix", (1, 5, 5, 4), fix_point, inputs, kernel=(1, 1), stride=(1, 1), nonlinear=kind, **shifts)
    got = net.run({"x": x})
    total = x.reshape(-1, 3).astype(int) @ weights.reshape(4, 3).T + bias * 2**6
    expected = []
    for value in total.ravel().tolist():
        inner = half_up(Fraction(value, 2**8))
        gate = half_up(sigmoid(Fraction(inner, 2**4)) * 2**7)
        expected.append(gate if kind == "HSIGMOID" else half_up(Fraction(inner * gate, 2**11) * 2**3))
    assert got["c"].ravel().tolist() == expected
    assert got[f"c before {kind}"].ravel().tolist() == [half_up(Fraction(v, 2**8)) for v in total.ravel().tolist()]


@pytest.mark.parametrize(
    ("attributes", "message"),
    [
        ({}, "hsigmoid_in is -128"),
        ({"hsigmoid_in": 4}, "shift_hsigmoid is -128"),
        ({"hsigmoid_in": 5, "shift_hsigmoid": 12}, "hsigmoid_in is 5, but its input has fix point 4"),
    ],
)
def test_missing_or_contradicting_shifts_are_refused(attributes: dict, message: str) -> None:
    """AMD's default -128 means not set; a position other than the input's cannot be meant."""
    net = IntegerGraph()
    x = net.data("x", ALL.shape, 4)
    net.op("h", "hard-sigmoid-fix", ALL.shape, 7, [x], **attributes)
    with pytest.raises(UnsupportedModelError, match=message):
        Executor(net.graph())


def test_a_cut_that_contradicts_the_fix_points_is_refused() -> None:
    """shift_cut follows from the positions of input, weights and hsigmoid_in."""
    net = IntegerGraph()
    inputs = {"input": [net.data("x", (1, 1, 1, 1), 5)], "weights": [net.const("w", np.ones((1, 1, 1, 1)), 7)]}
    attributes = {"hsigmoid_in": 4, "shift_hsigmoid": 11, "shift_cut": 7}
    net.op(
        "c",
        "conv2d-fix",
        (1, 1, 1, 1),
        7,
        inputs,
        kernel=(1, 1),
        stride=(1, 1),
        nonlinear="HSIGMOID",
        **attributes,
    )
    with pytest.raises(UnsupportedModelError, match="shift_cut is 7, but its fix points give 8"):
        Executor(net.graph())
