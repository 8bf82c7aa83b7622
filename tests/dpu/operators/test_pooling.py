"""Maximum and average pools, against torch and pytorch_nndct's rule."""

from __future__ import annotations

import math
from fractions import Fraction

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from dpu.errors import UnsupportedModelError
from dpu.executor import Executor
from dpu.operators.pooling import average_factors
from dpu.operators.testing import IntegerGraph


def one_pool(
    kind: str,
    shape: tuple[int, ...],
    kernel_hw: tuple[int, int],
    stride_hw: tuple[int, int],
    pad_tblr: tuple[int, ...],
    positions: tuple[int, int],
) -> IntegerGraph:
    """A graph of one pool."""
    net = IntegerGraph()
    top, bottom, left, right = pad_tblr
    height = (shape[1] + top + bottom - kernel_hw[0]) // stride_hw[0] + 1
    width = (shape[2] + left + right - kernel_hw[1]) // stride_hw[1] + 1
    net.op(
        "p",
        "pool-fix",
        (1, height, width, shape[3]),
        positions[1],
        [net.data("x", shape, positions[0])],
        type=kind,
        kernel=kernel_hw[::-1],
        stride=stride_hw[::-1],
        pad=(left, right, top, bottom),
    )
    return net


@settings(max_examples=120, deadline=None)
@given(st.data())
def test_pools_equal_torch_and_fractions(data: st.DataObject) -> None:
    """The maximum, or the sum times N / 2^M with zeros outside, is rounded once, half up."""
    kernel_hw = (data.draw(st.integers(1, 7)), data.draw(st.integers(1, 7)))
    stride_hw = (data.draw(st.integers(1, 3)), data.draw(st.integers(1, 3)))
    pad = tuple(data.draw(st.integers(0, kernel_hw[i // 2] - 1)) for i in range(4))
    shape = (1, data.draw(st.integers(7, 10)), data.draw(st.integers(7, 10)), 2)
    positions = (data.draw(st.integers(-2, 8)), data.draw(st.integers(-2, 8)))
    rng = np.random.default_rng(data.draw(st.integers(0, 2**32)))
    x = rng.integers(-128, 128, shape, dtype=np.int8)
    picture = torch.from_numpy(x.astype(np.float64)).permute(0, 3, 1, 2)
    top, bottom, left, right = pad
    for kind in ("MAX", "AVG"):
        outside = -1000.0 if kind == "MAX" else 0.0
        padded = torch.nn.functional.pad(picture, (left, right, top, bottom), value=outside)
        windows = padded.unfold(2, kernel_hw[0], stride_hw[0]).unfold(3, kernel_hw[1], stride_hw[1])
        exact = windows.amax((4, 5)) if kind == "MAX" else windows.sum((4, 5))
        number, bits = average_factors(kernel_hw) if kind == "AVG" else (1, 0)
        factor = Fraction(number, 2**bits) * Fraction(2) ** (positions[1] - positions[0])
        values = exact.permute(0, 2, 3, 1).numpy().astype(int).ravel().tolist()
        expected = [min(127, max(-128, math.floor(v * factor + Fraction(1, 2)))) for v in values]
        got = one_pool(kind, shape, kernel_hw, stride_hw, pad, positions).run({"x": x})["p"]
        assert got.ravel().tolist() == expected


@pytest.mark.parametrize("fix_point", [3, 5, 6])
@pytest.mark.parametrize("kernel_hw", [(2, 2), (3, 3), (5, 5), (6, 6), (7, 7), (14, 14), (13, 13), (3, 6), (4, 3)])
def test_average_equals_the_quantisers_float_simulation(kernel_hw: tuple[int, int], fix_point: int) -> None:
    """pytorch_nndct averages in float32 and scales: 0 differences, ties included, over 4000 random windows."""
    number, bits = average_factors(kernel_hw)
    pixels = kernel_hw[0] * kernel_hw[1]
    rng = np.random.default_rng(1)
    x = rng.integers(-128, 128, (1, kernel_hw[0], kernel_hw[1] * 1000, 4), dtype=np.int8)
    picture = torch.from_numpy(x.astype(np.float32) * np.float32(2.0**-5)).permute(0, 3, 1, 2)
    mean = torch.nn.functional.avg_pool2d(picture, kernel_hw) * (pixels * number / 2**bits)
    scaled = mean.permute(0, 2, 3, 1).numpy().astype(np.float64) * 2.0**fix_point
    expected = np.clip(np.floor(scaled + 0.5), -128, 127)
    net = one_pool("AVG", x.shape, kernel_hw, kernel_hw, (0, 0, 0, 0), (5, fix_point))
    assert np.array_equal(net.run({"x": x})["p"], expected)


@pytest.mark.parametrize("size", [40, 200])
def test_large_global_average_is_exact(size: int) -> None:
    """A window too large for float32's products takes float64."""
    x = np.full((1, size, size, 1), 127, np.int8)
    x[:, ::2, ::3] = -128
    number, bits = average_factors((size, size))
    net = one_pool("AVG", x.shape, (size, size), (1, 1), (0, 0, 0, 0), (0, 6))
    expected = math.floor(Fraction(int(x.astype(int).sum()) * number, 2**bits) * 64 + Fraction(1, 2))
    assert net.run({"x": x})["p"].item() == min(127, max(-128, expected))


@pytest.mark.parametrize(
    ("changes", "message"),
    [({"kind": "MIN"}, "type 'MIN'"), ({"pad_tblr": (2, 0, 0, 0)}, "not smaller than the kernel")],
)
def test_what_it_cannot_do_is_refused(changes: dict, message: str) -> None:
    """Another kind of pool, or a window that lies in the padding."""
    case = {"kind": "MAX", "shape": (1, 4, 4, 1), "kernel_hw": (2, 2), "stride_hw": (1, 1), "pad_tblr": (0, 0, 0, 0)}
    with pytest.raises(UnsupportedModelError, match=message):
        Executor(one_pool(**{**case, **changes}, positions=(4, 4)).graph())
