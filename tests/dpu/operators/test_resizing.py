"""Nearest and bilinear resizing, against torch and exact fractions."""

from __future__ import annotations

import math
from fractions import Fraction
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from dpu.errors import UnsupportedModelError, XmodelError
from dpu.executor import Executor
from dpu.operators.testing import IntegerGraph


def one_resize(
    shape: tuple[int, ...],
    size_hw: tuple[int, int],
    positions: tuple[int, int] = (4, 4),
    kind: str = "upsample-fix",
    scale: tuple[float, ...] | None = None,
    **attributes: Any,
) -> IntegerGraph:
    """A graph of one resizing of a picture to a size."""
    net = IntegerGraph()
    factors = (size_hw[1] / shape[2], size_hw[0] / shape[1]) if scale is None else scale
    source = net.data("x", shape, positions[0])
    net.op("r", kind, (1, *size_hw, shape[3]), positions[1], [source], scale=factors, **attributes)
    return net


def mixed(x: np.ndarray, size_hw: tuple[int, int], align_corners: bool, half_pixel_centers: bool) -> list[Fraction]:
    """Bilinear resizing in exact fractions, pixel by pixel."""

    def place(o: int, size: int, out: int) -> Fraction:
        scale = Fraction(size - 1, out - 1) if align_corners and out > 1 else Fraction(size, out)
        found = (o + Fraction(1, 2)) * scale - Fraction(1, 2) if half_pixel_centers else o * scale
        return min(max(found, Fraction(0)), Fraction(size - 1))

    _, height, width, channels = x.shape
    values = []
    for y in range(size_hw[0]):
        for column in range(size_hw[1]):
            v, h = place(y, height, size_hw[0]), place(column, width, size_hw[1])
            top, left = math.floor(v), math.floor(h)
            bottom, right = min(top + 1, height - 1), min(left + 1, width - 1)
            for c in range(channels):
                corners = [[int(x[0, i, j, c]) for j in (left, right)] for i in (top, bottom)]
                upper, lower = ((1 - h + left) * row[0] + (h - left) * row[1] for row in corners)
                values.append((1 - v + top) * upper + (v - top) * lower)
    return values


@settings(max_examples=80, deadline=None)
@given(st.data())
def test_bilinear_equals_fractions_or_is_refused(data: st.DataObject) -> None:
    """Mixed exactly and rounded once; refused just where a weight is no multiple of 2^-7."""
    shape = (1, data.draw(st.integers(1, 6)), data.draw(st.integers(1, 6)), 2)
    size_hw = (data.draw(st.integers(1, 13)), data.draw(st.integers(1, 13)))
    corners, centers = data.draw(st.sampled_from([(False, False), (True, False), (False, True)]))
    positions = (data.draw(st.integers(0, 9)), data.draw(st.integers(0, 6)))
    rng = np.random.default_rng(data.draw(st.integers(0, 2**32)))
    x = rng.integers(-128, 128, shape, dtype=np.int8)
    scale = ((size_hw[1] + 0.01) / shape[2], (size_hw[0] + 0.01) / shape[1])
    net = one_resize(
        shape, size_hw, positions, scale=scale, mode="BILINEAR", align_corners=corners, half_pixel_centers=centers
    )
    values = mixed(x, size_hw, corners, centers)
    try:
        got = net.run({"x": x})["r"]
    except UnsupportedModelError as error:
        assert "not multiples of 2^-7" in str(error)
        denominators = [
            (Fraction(n - 1, o - 1) if corners and o > 1 else Fraction(n, o)).denominator
            for n, o in zip(shape[1:3], size_hw, strict=True)
        ]
        assert any(d & (d - 1) for d in denominators)
        return
    factor = Fraction(2) ** (positions[1] - positions[0])
    expected = [min(127, max(-128, math.floor(v * factor + Fraction(1, 2)))) for v in values]
    assert got.ravel().tolist() == expected


@pytest.mark.parametrize(
    ("corners", "size_hw"), [(False, (8, 12)), (False, (16, 24)), (True, (7, 11)), (False, (2, 3))]
)
def test_bilinear_equals_torch(corners: bool, size_hw: tuple[int, int]) -> None:
    """torch's bilinear (half-pixel centres without align_corners) on whole numbers, rounded half up."""
    x = np.random.default_rng(2).integers(-128, 128, (1, 4, 6, 3), dtype=np.int8)
    picture = torch.from_numpy(x.astype(np.float64)).permute(0, 3, 1, 2)
    resized = torch.nn.functional.interpolate(picture, size_hw, mode="bilinear", align_corners=corners)
    expected = np.floor(resized.permute(0, 2, 3, 1).numpy() + 0.5)
    scale = (size_hw[1] / 6 + 0.001, size_hw[0] / 4 + 0.001)
    net = one_resize(
        x.shape, size_hw, scale=scale, mode="BILINEAR", align_corners=corners, half_pixel_centers=not corners
    )
    assert np.array_equal(net.run({"x": x})["r"], expected)


@pytest.mark.parametrize("positions", [(4, 4), (5, 3), (3, 5)])
@pytest.mark.parametrize("size_hw", [(8, 10), (12, 20), (4, 5), (2, 5), (6, 15), (36, 5)])
def test_nearest_equals_torch(size_hw: tuple[int, int], positions: tuple[int, int]) -> None:
    """Enlarged and reduced, by equal and different factors, whole and fractional."""
    x = np.random.default_rng(3).integers(-128, 128, (1, 4, 5, 3), dtype=np.int8)
    picture = torch.from_numpy(x.astype(np.float32)).permute(0, 3, 1, 2)
    taken = torch.nn.functional.interpolate(picture, size_hw, mode="nearest").permute(0, 2, 3, 1).numpy()
    expected = np.clip(np.floor(taken * 2.0 ** (positions[1] - positions[0]) + 0.5), -128, 127)
    assert np.array_equal(one_resize(x.shape, size_hw, positions, mode="NEAREST").run({"x": x})["r"], expected)


def test_nearest_with_aligned_corners_rounds_the_place() -> None:
    """3 pixels to 7: places 0, 1/3, 2/3, 1, ...; 5 to 3 with places 0, 2, 4."""
    x = np.arange(5, dtype=np.int8).reshape(1, 1, 5, 1)
    net = one_resize((1, 1, 3, 1), (1, 7), mode="NEAREST", align_corners=True)
    assert net.run({"x": x[:, :, :3]})["r"].ravel().tolist() == [0, 0, 1, 1, 1, 2, 2]
    net = one_resize(x.shape, (1, 3), mode="NEAREST", align_corners=True)
    assert net.run({"x": x})["r"].ravel().tolist() == [0, 2, 4]


def test_nearest_by_every_whole_factor_is_a_repetition() -> None:
    """float32 finds the same rows for all factors up to 40, so none of them is refused."""
    for factor in range(1, 41):
        x = np.arange(19, dtype=np.int8).reshape(1, 19, 1, 1)
        for centers in (False, True):
            net = one_resize(x.shape, (19 * factor, factor), mode="NEAREST", half_pixel_centers=centers)
            got = Executor(net.graph(), engine="numpy").run({"x": x})["r"]
            assert np.array_equal(got[0, :, 0, 0], np.arange(19).repeat(factor))


def test_nearest_by_whole_factors_from_pixel_centres_equals_torch() -> None:
    """torch's `nearest-exact` looks at (o + 1/2) * in / out, as TensorFlow 2 does."""
    x = np.random.default_rng(5).integers(-128, 128, (1, 3, 4, 2), dtype=np.int8)
    expected = torch.nn.functional.interpolate(
        torch.from_numpy(x.transpose(0, 3, 1, 2).astype(np.float32)), (9, 8), mode="nearest-exact"
    )
    got = one_resize(x.shape, (9, 8), mode="NEAREST", half_pixel_centers=True).run({"x": x})["r"]
    assert np.array_equal(got.transpose(0, 3, 1, 2), expected.numpy())
    with pytest.raises(UnsupportedModelError, match="how float32 rounds"):
        Executor(one_resize(x.shape, (4, 6), mode="NEAREST", half_pixel_centers=True).graph())


@pytest.mark.parametrize("scale", [(3, 2), (3.0, 2.0)])
def test_scale_may_be_whole_numbers(scale: tuple[float, ...]) -> None:
    """AMD's own reader takes the attribute as floats or whole numbers."""
    x = np.arange(6, dtype=np.int8).reshape(1, 2, 3, 1)
    got = one_resize(x.shape, (4, 9), scale=scale, mode="NEAREST").run({"x": x})["r"]
    assert np.array_equal(got, x.repeat(2, 1).repeat(3, 2))


def test_downsampling_takes_every_nth_pixel() -> None:
    """By whole factors, the last row and column included where the size is no multiple."""
    x = np.random.default_rng(4).integers(-128, 128, (1, 7, 9, 2), dtype=np.int8)
    net = one_resize(x.shape, (4, 3), kind="downsample-fix", scale=(3.0, 2.0), mode="NEAREST")
    assert np.array_equal(net.run({"x": x})["r"], x[:, ::2, ::3])


@pytest.mark.parametrize(
    ("attributes", "error", "message"),
    [
        ({"mode": "CUBIC"}, UnsupportedModelError, "'CUBIC' is not known"),
        ({"mode": "NEAREST", "scale": (2.0,)}, UnsupportedModelError, "two numbers"),
        ({"mode": "NEAREST", "scale": (3.0, 2.0)}, XmodelError, r"give \[1, 8, 12, 1\]"),
        ({"mode": "BILINEAR", "align_corners": True}, UnsupportedModelError, "not multiples of 2"),
        ({"kind": "downsample-fix", "mode": "BILINEAR"}, UnsupportedModelError, "nearest-neighbour"),
    ],
)
def test_what_has_no_exact_rule_is_refused(attributes: dict, error: type[Exception], message: str) -> None:
    """Modes that are not known, sizes that contradict the scale, places that only float32's rounding decides."""
    with pytest.raises(error, match=message):
        Executor(one_resize((1, 4, 4, 1), (8, 8), **attributes).graph())
