"""What the stand-in for xir stores for a Python value, and gives back."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from dpu.errors import RunError
from dpu.graph import Attr

STORED = [
    (True, "bool", True, True),
    (7, "int32", 7, 7),
    (-(2**31), "int32", -(2**31), -(2**31)),
    (0.1, "double", 0.1, 0.1),
    ("DPU", "string", "DPU", "DPU"),
    (b"\0\xff", "bytes", b"\0\xff", b"\0\xff"),
    (np.array([1, -1], np.int16), "bytes", b"\1\0\xff\xff", b"\1\0\xff\xff"),
    ([1, 2], "int32_vec", (1, 2), [1, 2]),
    ([True, False], "int32_vec", (1, 0), [1, 0]),
    ([0.5, 1.0], "double_vec", (0.5, 1.0), [0.5, 1.0]),
    (["a", "b"], "string_vec", ("a", "b"), ["a", "b"]),
    ({"a": 1}, "map_string_2_int32", {"a": 1}, {"a": 1}),
    ({"a": "b"}, "map_string_2_string", {"a": "b"}, {"a": "b"}),
]


@pytest.mark.parametrize("holder", ["graph", "subgraph", "tensor", "op"])
@pytest.mark.parametrize(("value", "kind", "stored", "back"), STORED, ids=[case[1] + str(case[0]) for case in STORED])
def test_the_python_type_chooses_the_kind(amd: Any, holder: str, value: Any, kind: str, stored: Any, back: Any) -> None:
    """An int is an int32, a float a double, a list a vector: on graphs, subgraphs, tensors and operators."""
    graph = amd.xir.Graph("g")
    op = graph.create_const_op("c", np.zeros(3, np.float32))
    owner = {"graph": graph, "subgraph": graph.get_root_subgraph(), "tensor": op.get_output_tensor(), "op": op}[holder]
    assert not owner.has_attr("key")
    assert owner.set_attr("key", value) is None
    assert owner.has_attr("key") and owner._attrs["key"] == Attr(kind, stored)
    assert owner.get_attr("key") == owner.get_attrs()["key"] == back
    assert type(owner.get_attr("key")) is type(back)


@pytest.mark.parametrize(
    ("value", "message"),
    [
        ([], "empty list"),
        ({}, "empty dict"),
        (None, "NoneType"),
        ((1, 2), "tuple"),
        ([1, 2.0], "unsupported"),
        ({"a": 1.5}, "unsupported"),
        ({1: 1}, "unsupported"),
        (np.int64(3), "int64"),
        (object(), "object"),
    ],
)
def test_what_the_real_binding_aborts_on(amd: Any, value: Any, message: str) -> None:
    """Values of other types raise, and the message says that the real process would be gone."""
    graph = amd.xir.Graph("g")
    with pytest.raises(RunError, match=message) as caught:
        graph.set_attr("key", value)
    assert "the real xir aborts" in str(caught.value)


def test_an_int_must_fit(amd: Any) -> None:
    """2^31 does not fit an int32: the real binding, too, raises RuntimeError."""
    with pytest.raises(RuntimeError, match="int32"):
        amd.xir.Graph("g").set_attr("key", 2**31)


def test_an_operators_definition_chooses_the_kind(amd: Any) -> None:
    """leaky-relu's alpha is a float, resize's scale a float vector, whatever numbers are given."""
    graph = amd.xir.Graph("g")
    data = graph.create_op("x", "data", {"shape": (1, 4, 4, 3), "data_type": "FLOAT32"})
    leaky = graph.create_op("l", "leaky-relu", {"alpha": 0.1}, {"input": [data]})
    assert leaky._attrs["alpha"] == Attr("float", float(np.float32(0.1)))
    leaky.set_attr("alpha", 1)
    assert leaky._attrs["alpha"] == Attr("float", 1.0)
    resize = graph.create_op("r", "resize", {"mode": "NEAREST", "scale": [2, 2]}, {"input": [data]})
    assert resize._attrs["scale"] == Attr("float_vec", (2.0, 2.0))
    with pytest.raises(RuntimeError, match="expected float"):
        leaky.set_attr("alpha", "steep")
    with pytest.raises(RuntimeError, match="expected int32"):
        graph.create_op("s", "softmax", {"axis": 1.5}, {"input": [data]})


def test_set_attrs_replaces_all(amd: Any) -> None:
    """On an operator the optional ones come back with their defaults, and required ones must be there."""
    graph = amd.xir.Graph("g")
    graph.set_attr("old", 1)
    graph.set_attrs({"new": "x"})
    assert graph.get_attrs() == {"new": "x"}
    data = graph.create_op("x", "data", {"shape": [1, 8, 8, 3], "data_type": "float32"})
    pool = graph.create_op(
        "p", "maxpool2d", {"kernel": [2, 2], "stride": [2, 2], "pad_mode": "FLOOR"}, {"input": [data]}
    )
    assert pool.get_attrs() == {
        **{"kernel": [2, 2], "stride": [2, 2], "pad_mode": "FLOOR"},
        **{"pad": [0, 0, 0, 0], "global": False},
    }
    with pytest.raises(RunError, match="'stride'.*required"):
        pool.set_attrs({"kernel": [2, 2], "pad_mode": "FLOOR"})
    with pytest.raises(RunError, match="expected a dict"):
        graph.set_attrs([1])


def test_a_missing_attribute(amd: Any) -> None:
    """get_attr of what is not there ends the real process."""
    with pytest.raises(RunError, match="does not exist .the real xir aborts"):
        amd.xir.Graph("g").get_attr("nothing")
