"""Concat, reshape, slices, blocks and borders: values only change their place."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from dpu.arithmetic import requantise
from dpu.errors import UnsupportedModelError, XmodelError
from dpu.executor import Executor
from dpu.operators.testing import IntegerGraph

PICTURE = np.random.default_rng(0).integers(-128, 128, (1, 4, 6, 8), dtype=np.int8)


def moved(kind: str, becomes: tuple[int, ...], x: np.ndarray = PICTURE, fix_point: int = 4, **attributes: Any) -> Any:
    """The result of one operator on one input at fix point 4."""
    net = IntegerGraph()
    net.op("m", kind, becomes, fix_point, [net.data("x", x.shape, 4)], **attributes)
    return net.run({"x": x})["m"]


@pytest.mark.parametrize("axis", [1, 2, 3, -1, -3])
def test_concat_on_any_axis(axis: int) -> None:
    """Each input is first moved to the output's position, half up; -5 at 4 is -2 at 3 (-2.5 goes up)."""
    arrays = [PICTURE, np.full(PICTURE.shape, -5, np.int8), PICTURE.take(range(2), axis)]
    net = IntegerGraph()
    names = [net.data(f"x{i}", array.shape, 4 - i) for i, array in enumerate(arrays)]
    expected = np.concatenate([requantise(array, 4 - i, 3) for i, array in enumerate(arrays)], axis)
    net.op("m", "concat-fix", expected.shape, 3, names, axis=axis)
    got = net.run({f"x{i}": array for i, array in enumerate(arrays)})["m"]
    assert np.array_equal(got, expected) and requantise(np.array([-5], np.int8), 4, 3).tolist() == [-2]


def test_other_ranks_pass_between_operators() -> None:
    """(1, H, W, C) to (1, N) and on to three axes, through a sum, a concat, a slice and back to a picture."""
    net = IntegerGraph()
    flat = net.op("flat", "reshape-fix", (1, 192), 4, [net.data("x", PICTURE.shape, 4)], shape=(1, -1))
    twice = net.op("twice", "eltwise-fix", (1, 192), 4, [flat, flat])
    joined = net.op("joined", "concat-fix", (1, 384), 4, [flat, twice], axis=1)
    cube = net.op("cube", "reshape-fix", (2, 24, 8), 4, [joined], shape=(2, 24, 8))
    part = net.op(
        "part", "strided_slice-fix", (1, 12, 8), 4, [cube], begin=(1, 0, 0), end=(2, 24, 8), strides=(1, 2, 1)
    )
    net.op("end", "reshape-fix", (1, 3, 4, 8), 4, [part], shape=(1, 3, 4, 8))
    got = net.run({"x": PICTURE})
    doubled = np.clip(PICTURE.reshape(24, 8).astype(int) * 2, -128, 127)
    assert np.array_equal(got["end"], doubled[::2].reshape(1, 3, 4, 8))


@settings(max_examples=60, deadline=None)
@given(st.data())
def test_slices_equal_numpys(data: st.DataObject) -> None:
    """begin, end and strides mean what they mean in numpy, counted from the end where negative."""
    bounds = []
    for size in PICTURE.shape:
        begin, end = data.draw(st.integers(-size, size - 1)), data.draw(st.integers(-size, size + 2))
        bounds.append((begin, end, data.draw(st.integers(1, 3))))
    expected = PICTURE[tuple(slice(*bound) for bound in bounds)]
    if expected.size:
        begin, end, strides = (tuple(numbers) for numbers in zip(*bounds, strict=True))
        got = moved("strided_slice-fix", expected.shape, begin=begin, end=end, strides=strides)
        assert np.array_equal(got, expected)


@pytest.mark.parametrize("size", [1, 2])
def test_tiles_and_back(size: int) -> None:
    """Pixel (s_h, s_w) of a block becomes channels s_h, s_w; the reverse puts it back."""
    _, height, width, channels = PICTURE.shape
    shape = (1, height // size, width // size, channels * size * size)
    tiled = moved("tile-fix", shape, stride=size, reverse=False)
    for s_h in range(size):
        for s_w in range(size):
            first = (s_h * size + s_w) * channels
            part = tiled[..., first : first + channels]
            assert np.array_equal(part, PICTURE[:, s_h::size, s_w::size])
    assert np.array_equal(moved("tile-fix", PICTURE.shape, tiled, stride=size, reverse=True), PICTURE)


def test_reorg_and_back() -> None:
    """Rows that lie `scale` apart within scale^2 rows become channels, as AMD's public executor loops over them."""
    scale, (_, height, width, channels) = 2, PICTURE.shape
    shape = (1, height // scale, width // scale, channels * scale * scale)
    expected = np.zeros(shape, np.int8)
    for row in range(shape[1]):
        for column in range(shape[2]):
            first = row % scale + row // scale * scale * scale
            pieces = [PICTURE[0, first + i * scale, column * scale : column * scale + scale] for i in range(scale)]
            expected[0, row, column] = np.concatenate(pieces).ravel()
    assert np.array_equal(moved("reorg-fix", shape, scale=scale, reverse=False), expected)
    assert np.array_equal(moved("reorg-fix", PICTURE.shape, expected, scale=scale, reverse=True), PICTURE)


@pytest.mark.parametrize("paddings", [(0, 0, 1, 2, 3, 0, 0, 0), (0, 0, 0, 0, 0, 1, 0, 0)])
@pytest.mark.parametrize("mode", ["CONSTANT", "REFLECT", "SYMMETRIC"])
def test_borders_equal_numpys(mode: str, paddings: tuple[int, ...]) -> None:
    """Rows and columns of zeros, or mirrored with and without the border itself."""
    pairs = list(zip(paddings[::2], paddings[1::2], strict=True))
    expected = np.pad(PICTURE, pairs, mode=mode.lower())  # type: ignore[call-overload]
    assert np.array_equal(moved("pad-fix", expected.shape, paddings=paddings, mode=mode), expected)


def test_border_of_one_value_on_any_axis() -> None:
    """constant_values that are all alike; channels too, and tensors that are no pictures."""
    fill = np.full(16, -7, np.int8).tobytes()
    expected = np.pad(PICTURE, ((0, 0), (1, 0), (0, 0), (2, 3)), constant_values=-7)
    paddings = (0, 0, 1, 0, 0, 0, 2, 3)
    got = moved("pad-fix", expected.shape, paddings=paddings, mode="CONSTANT", constant_values=fill)
    assert np.array_equal(got, expected)
    flat = PICTURE.reshape(1, -1)
    assert moved("pad-fix", (1, 195), flat, paddings=(0, 0, 1, 2), mode="CONSTANT")[0, -3:].tolist() == [
        flat[0, -1],
        0,
        0,
    ]


@pytest.mark.parametrize(
    ("kind", "shape", "attributes", "error", "message"),
    [
        ("concat-fix", (1, 4, 6, 8), {"axis": 4}, UnsupportedModelError, "axis 4"),
        ("reshape-fix", (1, 191), {"shape": (1, 191)}, XmodelError, r"give \[\]"),
        ("reshape-fix", (1, 192), {"shape": (1, 191)}, UnsupportedModelError, "attribute shape"),
        ("reshape-fix", (1, 192), {"fix_point": 5}, UnsupportedModelError, "fix point 4 to 5"),
        (
            "strided_slice-fix",
            (1, 4, 6, 8),
            {"begin": (0,), "end": (1,), "strides": (1,)},
            UnsupportedModelError,
            "4 each",
        ),
        ("tile-fix", (1, 4, 6, 8), {"stride": 5, "reverse": False}, UnsupportedModelError, "do not divide"),
        ("tile-fix", (1, 2, 3, 8), {"stride": 2, "reverse": False}, XmodelError, r"give \[1, 2, 3, 32\]"),
        ("pad-fix", (1, 4, 6, 8), {"paddings": (0, 0), "mode": "CONSTANT"}, UnsupportedModelError, "for each axis"),
        (
            "pad-fix",
            (1, 9, 6, 8),
            {"paddings": (0, 0, 5, 0, 0, 0, 0, 0), "mode": "REFLECT"},
            UnsupportedModelError,
            "mirrored",
        ),
        ("pad-fix", (1, 4, 6, 8), {"paddings": (0,) * 8, "mode": "EDGE"}, UnsupportedModelError, "'EDGE' is not known"),
        (
            "pad-fix",
            (1, 5, 6, 8),
            {"paddings": (0, 0, 1, 0, 0, 0, 0, 0), "mode": "CONSTANT", "constant_values": bytes(range(16))},
            UnsupportedModelError,
            "different values",
        ),
    ],
)
def test_what_it_cannot_do_is_refused(
    kind: str, shape: tuple[int, ...], attributes: dict, error: type[Exception], message: str
) -> None:
    """Attributes that are unknown or contradict the shapes are refused when the graph is read."""
    with pytest.raises(error, match=message):
        moved(kind, shape, **attributes)


def test_mirrored_borders_are_for_pictures_only() -> None:
    """Batch and channels cannot be mirrored."""
    with pytest.raises(UnsupportedModelError, match="not mirrored rows and columns"):
        moved("pad-fix", (1, 4, 6, 9), paddings=(0, 0, 0, 0, 0, 0, 1, 0), mode="SYMMETRIC")
    net = IntegerGraph()
    net.op("m", "pad-fix", (1, 8, 9), 4, [net.data("x", (1, 8, 8), 4)], paddings=(0, 0, 0, 0, 0, 1), mode="REFLECT")
    with pytest.raises(UnsupportedModelError, match=r"expected \[1, H, W, C\]"):
        Executor(net.graph())
