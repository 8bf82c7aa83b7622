"""Maxima along axes and where they stand, against numpy."""

from __future__ import annotations

import numpy as np
import pytest

from dpu.arithmetic import requantise
from dpu.errors import UnsupportedModelError
from dpu.executor import Executor
from dpu.operators.testing import IntegerGraph

PICTURE = np.random.default_rng(0).integers(-128, -100, (1, 4, 6, 9), dtype=np.int8)


@pytest.mark.parametrize("keep_dims", [False, True])
@pytest.mark.parametrize("axes", [(3,), (-1,), (1, 2), (1, 3)])
def test_maximum_equals_numpys(axes: tuple[int, ...], keep_dims: bool) -> None:
    """Axes counted from either end, kept with one value or gone, moved to the output's position."""
    expected = requantise(PICTURE.max(axis=axes, keepdims=keep_dims), 4, 3)
    net = IntegerGraph()
    x = net.data("x", PICTURE.shape, 4)
    net.op("m", "reduction_max-fix", expected.shape, 3, [x], axis=axes, keep_dims=keep_dims)
    assert np.array_equal(net.run({"x": PICTURE})["m"], expected)


@pytest.mark.parametrize("axis", [1, 3, -1])
def test_argmax_is_the_first_of_equal_ones(axis: int) -> None:
    """The index along the axis, which stays with one value."""
    expected = np.expand_dims(PICTURE.argmax(axis), axis)
    net = IntegerGraph()
    net.op("m", "argmax-fix", expected.shape, 0, [net.data("x", PICTURE.shape, 4)], axis=axis)
    assert np.array_equal(net.run({"x": PICTURE})["m"], expected)


@pytest.mark.parametrize(
    ("kind", "attributes", "message"),
    [
        ("reduction_max-fix", {"axis": (4,), "keep_dims": True}, "attribute axis"),
        ("argmax-fix", {"axis": 4}, "attribute axis"),
        ("argmax-fix", {"axis": 3}, "at fix point 4 do not fit"),
        ("reduction_mean-fix", {"axis": (3,)}, "'reduction_mean-fix' is not known"),
    ],
)
def test_what_it_cannot_do_is_refused(kind: str, attributes: dict, message: str) -> None:
    """Axes that do not exist, an index that is no int8 whole number, an operator AMD does not have."""
    net = IntegerGraph()
    net.op("m", kind, (1, 4, 6, 1), 4, [net.data("x", PICTURE.shape, 4)], **attributes)
    with pytest.raises(UnsupportedModelError, match=message):
        Executor(net.graph())
