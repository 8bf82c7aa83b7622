"""Convolutions on both engines, against torch's float64 sums and exact fractions."""

from __future__ import annotations

import math
from fractions import Fraction

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from dpu.errors import UnsupportedModelError, XmodelError
from dpu.exactness import plan
from dpu.executor import Executor
from dpu.operators.convolution import Convolution
from dpu.operators.testing import IntegerGraph

KINDS = ("conv2d-fix", "depthwise-conv2d-fix", "transposed-conv2d-fix", "transposed-depthwise-conv2d-fix")


def torch_sum(
    kind: str,
    x: np.ndarray,
    weights: np.ndarray,
    stride_hw: tuple[int, int],
    pad_tblr: tuple[int, int, int, int],
    dilation_hw: tuple[int, int],
) -> np.ndarray:
    """The accumulator by torch in float64, exact for such sums."""
    picture = torch.from_numpy(x.astype(np.float64)).permute(0, 3, 1, 2)
    taps = torch.from_numpy(weights.astype(np.float64))
    top, bottom, left, right = pad_tblr
    groups = x.shape[3] if "depthwise" in kind else 1
    if "transposed" in kind:
        taps = taps.flip(1, 2).permute(3, 0, 1, 2)
        whole = torch.nn.functional.conv_transpose2d(picture, taps, stride=stride_hw, groups=groups)
        _, _, height, width = whole.shape
        total = whole[:, :, top : height - bottom, left : width - right]
    else:
        taps = taps.permute(3, 0, 1, 2).flatten(0, 1)[:, None] if groups > 1 else taps.permute(0, 3, 1, 2)
        if groups == 1 and "depthwise" in kind:
            taps = torch.from_numpy(weights.astype(np.float64)).permute(3, 0, 1, 2).flatten(0, 1)[:, None]
        padded = torch.nn.functional.pad(picture, (left, right, top, bottom))
        total = torch.nn.functional.conv2d(padded, taps, stride=stride_hw, dilation=dilation_hw, groups=groups)
    return total.permute(0, 2, 3, 1).numpy().astype(np.int64)


def rounded(value: Fraction, fix_point: int, activation: str) -> int:
    """The one rounding at the end, in exact fractions."""
    if value < 0:
        value *= {"LEAKYRELU": Fraction(26, 256), "NONE": Fraction(1)}.get(activation, Fraction(0))
    if activation == "RELU6":
        value = min(value, Fraction(6))
    return min(127, max(-128, math.floor(value * Fraction(2) ** fix_point + Fraction(1, 2))))


def one_convolution(
    kind: str,
    x: np.ndarray,
    weights: np.ndarray,
    bias: np.ndarray | None,
    positions: tuple[int, int, int, int],
    shape: tuple[int, ...],
    stride_hw: tuple[int, int] = (1, 1),
    pad_tblr: tuple[int, int, int, int] = (0, 0, 0, 0),
    dilation_hw: tuple[int, int] = (1, 1),
    activation: str = "NONE",
) -> IntegerGraph:
    """A graph of one convolution; positions of input, weights, bias, output."""
    net = IntegerGraph()
    inputs = {"input": [net.data("x", x.shape, positions[0])], "weights": [net.const("w", weights, positions[1])]}
    if bias is not None:
        inputs["bias"] = [net.const("b", bias, positions[2])]
    top, bottom, left, right = pad_tblr
    net.op(
        "c",
        kind,
        shape,
        positions[3],
        inputs,
        kernel=(weights.shape[2], weights.shape[1]),
        stride=stride_hw[::-1],
        pad=(left, right, top, bottom),
        dilation=dilation_hw[::-1],
        nonlinear=activation,
    )
    return net


@st.composite
def convolutions(draw: st.DrawFn) -> dict[str, object]:
    """A convolution of any kind with an input that gives at least one output pixel."""
    kind = draw(st.sampled_from(KINDS))
    small = st.integers(1, 3)
    kernel_hw, stride_hw = (draw(st.integers(1, 4)), draw(st.integers(1, 4))), (draw(small), draw(small))
    dilation_hw = (1, 1) if "transposed" in kind else (draw(st.integers(1, 2)), draw(st.integers(1, 2)))
    pad = tuple(draw(st.integers(0, kernel_hw[i // 2] - 1)) for i in range(4))
    size_hw = tuple(draw(st.integers(4, 7)) * d for d in dilation_hw)
    channels, outputs = draw(st.integers(1, 5)), draw(st.integers(1, 4))
    rng = np.random.default_rng(draw(st.integers(0, 2**32)))
    weights = rng.integers(-128, 128, (outputs, *kernel_hw, channels), dtype=np.int8)
    count = outputs * channels if "depthwise" in kind else outputs
    position = st.integers(0, 9)
    return {
        "kind": kind,
        "x": rng.integers(-128, 128, (1, *size_hw, channels), dtype=np.int8),
        "weights": weights,
        "bias": rng.integers(-128, 128, count, dtype=np.int8) if draw(st.booleans()) else None,
        "positions": (draw(position), draw(position), draw(position), draw(st.integers(-2, 8))),
        "stride_hw": stride_hw,
        "pad_tblr": pad,
        "dilation_hw": dilation_hw,
        "activation": draw(st.sampled_from(["NONE", "RELU", "RELU6", "LEAKYRELU"])),
    }


@settings(max_examples=150, deadline=None)
@given(convolutions())
def test_convolutions_equal_torch_and_fractions(case: dict) -> None:
    """Every kind with every activation: the sum of torch in float64, the bias exact, one rounding half up."""
    geometry = {key: case[key] for key in ("stride_hw", "pad_tblr", "dilation_hw")}
    total = torch_sum(case["kind"], case["x"], case["weights"], **geometry)
    inp, wei, bia, out = case["positions"]
    exact = [[Fraction(int(v)) / 2 ** (inp + wei) for v in pixel] for pixel in total.reshape(-1, total.shape[3])]
    if case["bias"] is not None:
        exact = [[v + Fraction(int(b)) / 2**bia for v, b in zip(pixel, case["bias"], strict=True)] for pixel in exact]
    expected = np.array([[rounded(v, out, case["activation"]) for v in pixel] for pixel in exact])
    net = one_convolution(**case, shape=total.shape)
    assert np.array_equal(net.run({"x": case["x"]})["c"].reshape(expected.shape), expected)


@pytest.mark.parametrize("weight", [127, -128])
@pytest.mark.parametrize("activation", ["NONE", "LEAKYRELU", "RELU6"])
@pytest.mark.parametrize(
    ("kind", "shape", "kernel_hw"),
    [
        ("conv2d-fix", (1, 3, 3, 700), (3, 3)),
        ("transposed-conv2d-fix", (1, 2, 2, 700), (4, 4)),
        ("depthwise-conv2d-fix", (1, 40, 48, 3), (40, 40)),
        ("transposed-depthwise-conv2d-fix", (1, 36, 36, 2), (36, 36)),
    ],
)
def test_the_largest_weights_are_exact(
    kind: str, shape: tuple[int, ...], kernel_hw: tuple[int, int], activation: str, weight: int
) -> None:
    """All weights 127 or -128 on inputs that nearly cancel: sums pass 2^24 and still every integer is right."""
    rng = np.random.default_rng(0)
    x = np.full(shape, 127, np.int8)
    x[:, :, :, ::2] = -127
    x[:, 1::2] = -x[:, 1::2]
    x.reshape(-1)[rng.integers(0, x.size, 40)] = rng.integers(-128, 128, 40)
    depth = 1 if "depthwise" in kind else 4
    weights = np.full((depth, *kernel_hw, shape[3]), weight, np.int8)
    weights.reshape(-1)[rng.integers(0, weights.size, 7)] -= 1 if weight > 0 else -1
    total = torch_sum(kind, x, weights, (1, 1), (0, 0, 0, 0), (1, 1))
    bias = np.arange(total.shape[3]).astype(np.int8)
    net = one_convolution(kind, x, weights, bias, (0, 0, 0, -3), total.shape, activation=activation)
    step = Executor(net.graph(), engine="numpy").program.steps[0]
    assert isinstance(step, Convolution) and not plan(step).float32
    got = net.run({"x": x})["c"]
    expected = [[rounded(Fraction(int(v)), -3, activation) for v in p] for p in (total + bias).reshape(-1, len(bias))]
    assert np.array_equal(got.reshape(-1, len(bias)), expected)


@pytest.mark.parametrize("kind", KINDS)
def test_proof_covers_the_worst_input(kind: str) -> None:
    """Where float32 is chosen, the input that maximises each sum stays within 2^24 units."""
    rng = np.random.default_rng(1)
    for spread in (3, 20, 60, 127):
        weights = rng.integers(-spread, spread + 1, (2, 5, 5, 48), dtype=np.int8)
        channels = 96 if "depthwise" in kind else 2
        bias = np.full(channels, 127, np.int8)
        size = (1, 5, 5, 48)
        shape = (1, 9, 9, channels) if "transposed" in kind else (1, 1, 1, channels)
        net = one_convolution(kind, np.zeros(size, np.int8), weights, bias, (5, 6, 9, 4), shape)
        step = Executor(net.graph(), engine="numpy").program.steps[0]
        assert isinstance(step, Convolution)
        worst = np.where(weights > 0, 127, -128).astype(np.int8)  # x as large as it gets, with each weight's sign
        if plan(step).float32 and kind == "conv2d-fix":
            for kernel in range(2):
                total = torch_sum(kind, worst[kernel : kernel + 1], weights, (1, 1), (0, 0, 0, 0), (1, 1))
                assert abs(int(total[0, 0, 0, kernel])) + (127 << 2) <= 2**24
        net.run({"x": worst[:1]})


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"activation": "PRELU"}, "'PRELU' is not known"),
        ({"dilation_hw": (2, 2), "kind": "transposed-conv2d-fix"}, "dilated transposed"),
        ({"bias": np.zeros(3, np.int8)}, r"bias \[3\] does not fit 2 outputs"),
        ({"weights": np.zeros((2, 3, 3, 5), np.int8)}, "do not fit 4 input channels"),
        ({"positions": (30, 30, 0, 0)}, "more than 20 bits apart"),
        ({"activation": "HSIGMOID"}, "hsigmoid_in is -128"),
    ],
)
def test_what_it_cannot_do_is_refused_by_name(changes: dict, message: str) -> None:
    """An unknown activation, a bias or weights that do not fit: refused when the graph is read, with the name."""
    case = {
        "kind": "conv2d-fix",
        "x": np.zeros((1, 6, 6, 4), np.int8),
        "weights": np.zeros((2, 3, 3, 4), np.int8),
        "bias": np.zeros(2, np.int8),
        "positions": (4, 5, 6, 4),
        "shape": (1, 4, 4, 2),
        **changes,
    }
    with pytest.raises(UnsupportedModelError, match=f"'c'.*{message}"):
        Executor(one_convolution(**case).graph())


@pytest.mark.parametrize("pad_mode", ["SAME", "VALID", "CEIL"])
def test_the_framework_s_padding_mode_does_not_count(pad_mode: str) -> None:
    """Files from TensorFlow keep it beside the padding in numbers, which alone AMD's own shape inference reads."""
    net, rng = IntegerGraph(), np.random.default_rng(0)
    x, weights = rng.integers(-128, 128, (1, 8, 8, 3), dtype=np.int8), rng.integers(-9, 10, (2, 3, 3, 3))
    inputs = {"input": [net.data("x", x.shape, 4)], "weights": [net.const("w", weights, 4)]}
    window = {"kernel": (3, 3), "stride": (2, 2), "pad": (0, 1, 0, 1), "pad_mode": pad_mode}
    net.op("c", "conv2d-fix", (1, 4, 4, 2), 8, inputs, **window)
    total = torch_sum("conv2d-fix", x, weights, (2, 2), (0, 1, 0, 1), (1, 1))
    assert np.array_equal(net.run({"x": x})["c"], np.clip(total, -128, 127))


def test_a_wrong_shape_is_a_damaged_file() -> None:
    """A declared tensor that the attributes do not give is told with both shapes."""
    x, weights = np.zeros((1, 6, 6, 4), np.int8), np.zeros((2, 3, 3, 4), np.int8)
    net = one_convolution("conv2d-fix", x, weights, None, (4, 5, 6, 4), (1, 5, 4, 2))
    with pytest.raises(XmodelError, match=r"\[1, 5, 4, 2\].*give \[1, 4, 4, 2\]"):
        Executor(net.graph())
