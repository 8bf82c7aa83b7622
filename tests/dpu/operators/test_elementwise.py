"""Sums and products, with smaller operands repeated, against exact fractions."""

from __future__ import annotations

import math
from fractions import Fraction

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from dpu.errors import UnsupportedModelError, XmodelError
from dpu.executor import Executor
from dpu.operators.testing import IntegerGraph

SHAPES = [(1, 3, 4, 5), (1, 1, 1, 5), (1, 3, 4, 1), (5,), (1, 1, 1, 1), (4, 1), (1, 5)]


def finished(value: Fraction, fix_point: int, activation: str) -> int:
    if activation != "NONE":
        value = max(value, Fraction(0))
    if activation == "RELU6":
        value = min(value, Fraction(6))
    return min(127, max(-128, math.floor(value * Fraction(2) ** fix_point + Fraction(1, 2))))


@settings(max_examples=120, deadline=None)
@given(st.data())
def test_two_operands_equal_fractions(data: st.DataObject) -> None:
    """A sum or product of two tensors, or of a tensor and a constant, of equal or repeated shapes."""
    kind = data.draw(st.sampled_from(["ADD", "MUL"]))
    other, constant = data.draw(st.sampled_from(SHAPES)), data.draw(st.booleans())
    activation = data.draw(st.sampled_from(["NONE", "RELU", "RELU6"]))
    a_position, b_position, out = (data.draw(st.integers(-3, 9)) for _ in range(3))
    rng = np.random.default_rng(data.draw(st.integers(0, 2**32)))
    a, b = rng.integers(-128, 128, SHAPES[0], dtype=np.int8), rng.integers(-128, 128, other, dtype=np.int8)
    net = IntegerGraph()
    x, feeds = net.data("a", a.shape, a_position), {"a": a}
    if constant or other[0] != 1:
        y = net.const("b", b, b_position)
    else:
        y, feeds["b"] = net.data("b", b.shape, b_position), b
    if data.draw(st.booleans()):
        x, y = y, x
    op, nonlinear = ("eltwise-fix", {"nonlinear": activation}) if data.draw(st.booleans()) else ("depthwise-fix", {})
    net.op("e", op, a.shape, out, [x, y], type=kind, **nonlinear)
    wide_a, wide_b = np.broadcast_arrays(a, b)
    expected = []
    for left, right in zip(wide_a.ravel().tolist(), wide_b.ravel().tolist(), strict=True):
        p, q = Fraction(left) / Fraction(2) ** a_position, Fraction(right) / Fraction(2) ** b_position
        expected.append(finished(p + q if kind == "ADD" else p * q, out, nonlinear.get("nonlinear", "NONE")))
    assert net.run(feeds)["e"].ravel().tolist() == expected


@pytest.mark.parametrize("count", [1, 3, 5])
def test_many_operands_are_added_before_one_rounding(count: int) -> None:
    """Positions far apart take the wide path; a single operand is only moved."""
    rng = np.random.default_rng(count)
    arrays = [rng.integers(-128, 128, (1, 4, 4, 3), dtype=np.int8) for _ in range(count)]
    positions = [0, 14, 3, 7, 12][:count]
    net = IntegerGraph()
    names = [net.data(f"x{i}", array.shape, positions[i]) for i, array in enumerate(arrays)]
    net.op("e", "eltwise-fix", (1, 4, 4, 3), -2, names)
    total = sum(array.astype(int) * 2 ** (14 - positions[i]) for i, array in enumerate(arrays))
    expected = [finished(Fraction(v, 2**14), -2, "NONE") for v in np.asarray(total).ravel().tolist()]
    got = net.run({f"x{i}": array for i, array in enumerate(arrays)})["e"]
    assert got.ravel().tolist() == expected


@pytest.mark.parametrize(
    ("shapes", "attributes", "error", "message"),
    [
        ([(1, 2, 2, 3)] * 3, {"type": "MUL"}, UnsupportedModelError, "multiplies 3 tensors"),
        ([(1, 2, 2, 3)] * 2, {"type": "DIV"}, UnsupportedModelError, "'DIV' is not known"),
        ([(1, 2, 2, 3)] * 2, {"nonlinear": "LEAKYRELU"}, UnsupportedModelError, "'LEAKYRELU' is not known"),
        ([(1, 2, 2, 3), (1, 2, 2, 2)], {}, XmodelError, r"give \[\]"),
        ([(1, 2, 2, 3), (1, 2, 2, 3), (1, 1, 1, 3)], {}, UnsupportedModelError, "expected equal ones"),
        ([], {}, UnsupportedModelError, "it has no input"),
    ],
)
def test_what_it_cannot_do_is_refused(shapes: list, attributes: dict, error: type[Exception], message: str) -> None:
    """Other operations and activations, too many factors, shapes that do not fit: refused when the graph is read."""
    net = IntegerGraph()
    names = [net.data(f"x{i}", shape, 4) for i, shape in enumerate(shapes)]
    net.op("e", "eltwise-fix", (1, 2, 2, 3), 4, names, **attributes)
    with pytest.raises(error, match=message):
        Executor(net.graph())
