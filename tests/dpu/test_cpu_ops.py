"""The operators of CPU subgraphs against torch, and the conversions against their definition."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pytest
import torch
import torch.nn.functional as F  # noqa: N812

from dpu.cpu_ops import OPERATORS
from dpu.errors import RunError, UnsupportedModelError
from dpu.graph import Attr, Op, Tensor


def ints(*values: int) -> Attr:
    return Attr("int32_vec", values)


def calculate(kind: str, attrs: dict[str, Attr], shape: tuple[int, ...], **arguments: list[np.ndarray]) -> np.ndarray:
    op = Op(
        "op",
        kind,
        attrs,
        {key: ["x"] * len(arrays) for key, arrays in arguments.items()},
        Tensor("t", shape, "float32"),
    )
    return OPERATORS[kind](op, arguments)


def noise(*shape: int, seed: int = 0) -> np.ndarray:
    return np.random.default_rng(seed).normal(0, 2, shape).astype(np.float32)


def close(got: np.ndarray, expected: torch.Tensor, exact: bool = False) -> None:
    assert got.dtype == np.float32 and got.shape == tuple(expected.shape)
    np.testing.assert_allclose(got, expected.numpy(), rtol=0 if exact else 2e-6, atol=0 if exact else 1e-6)


_Function = Callable[[torch.Tensor], torch.Tensor]


@pytest.mark.parametrize(
    ("kind", "attrs", "expected"),
    [
        ("relu", {}, torch.relu),
        ("relu6", {}, F.relu6),
        ("leaky-relu", {"alpha": Attr("float", 0.1015625)}, lambda x: F.leaky_relu(x, 0.1015625)),
        ("elu", {"alpha": Attr("float", 0.5)}, lambda x: F.elu(x, 0.5)),
        ("sigmoid", {}, torch.sigmoid),
        ("swish", {}, F.silu),
        ("tanh", {}, torch.tanh),
        ("exp", {}, torch.exp),
        ("gelu", {}, F.gelu),
        ("mish", {}, F.mish),
        ("hard-sigmoid", {}, F.hardsigmoid),
        ("hard-swish", {}, F.hardswish),
        ("hard-tanh", {}, F.hardtanh),
        ("neg", {}, torch.neg),
        ("identity", {}, lambda x: x),
        ("softmax", {"axis": Attr("int32", 3)}, lambda x: torch.softmax(x, 3)),
        ("softmax", {"axis": Attr("int32", -2)}, lambda x: torch.softmax(x, 2)),
        ("transpose", {"order": ints(0, 3, 1, 2)}, lambda x: x.permute(0, 3, 1, 2)),
        ("reshape", {}, lambda x: x.reshape(1, -1)),
        ("flatten", {}, lambda x: x.reshape(1, -1)),
        ("reduction_sum", {"axis": ints(1, 2), "keep_dims": Attr("bool", True)}, lambda x: x.sum((1, 2), True)),
        ("reduction_mean", {"axis": ints(-1), "keep_dims": Attr("bool", False)}, lambda x: x.mean(3)),
        ("reduction_max", {"axis": ints(1), "keep_dims": Attr("bool", True)}, lambda x: x.amax(1, True)),
        ("reduction_min", {"axis": ints(1), "keep_dims": Attr("bool", True)}, lambda x: x.amin(1, True)),
        ("argmax", {"axis": Attr("int32", 3)}, lambda x: x.argmax(3).float()),
        ("l2_normalize", {"axis": ints(3)}, lambda x: F.normalize(x, dim=3)),
        ("strided_slice", {"begin": ints(0, 1, 0, 2), "end": ints(1, 5, 99, 6), "strides": ints(1, 2, 1, 3)},
         lambda x: x[:, 1:5:2, :, 2:6:3]),
        ("pad", {"paddings": ints(0, 0, 1, 2, 0, 3, 0, 0), "mode": Attr("string", "CONSTANT"),
                 "constant_values": Attr("float_vec", (0.5,) * 8)}, lambda x: F.pad(x, (0, 0, 0, 3, 1, 2), value=0.5)),
        ("pad", {"paddings": ints(0, 0, 1, 2, 3, 0, 0, 0), "mode": Attr("string", "REFLECT")},
         lambda x: F.pad(x.permute(0, 3, 1, 2), (3, 0, 1, 2), "reflect").permute(0, 2, 3, 1)),
        ("pixel-shuffle", {"scale": Attr("int32", 2), "upscale": Attr("bool", True)},
         lambda x: F.pixel_shuffle(x.permute(0, 3, 1, 2), 2).permute(0, 2, 3, 1)),
        ("pixel-shuffle", {"scale": Attr("int32", 2), "upscale": Attr("bool", False)},
         lambda x: F.pixel_unshuffle(x.permute(0, 3, 1, 2), 2).permute(0, 2, 3, 1)),
    ],
)  # fmt: skip
def test_operators_of_one_tensor_equal_torch(kind: str, attrs: dict[str, Attr], expected: _Function) -> None:
    """Functions, reductions and movements of a picture (1, 6, 4, 8)."""
    x = noise(1, 6, 4, 8)
    wanted = expected(torch.from_numpy(x))
    close(calculate(kind, attrs, tuple(wanted.shape), input=[x]), wanted)


@pytest.mark.parametrize(
    ("kind", "expected"),
    [
        ("add", torch.add),
        ("sub", torch.sub),
        ("mul", torch.mul),
        ("div", torch.div),
        ("max", torch.maximum),
        ("min", torch.minimum),
    ],
)
def test_operators_between_tensors_equal_torch(kind: str, expected: Callable[..., torch.Tensor]) -> None:
    """Exactly the float32 result, smaller operands repeated."""
    a, b = noise(1, 3, 4, 5), noise(5, seed=1)
    close(calculate(kind, {}, a.shape, input=[a, b]), expected(torch.from_numpy(a), torch.from_numpy(b)), exact=True)


def test_concat_and_stack_equal_torch() -> None:
    """Along any axis; a stack of numbers (1,) is a list of numbers, as the quantiser writes shapes."""
    a, b = noise(1, 2, 3), noise(1, 2, 3, seed=1)
    both = [torch.from_numpy(a), torch.from_numpy(b)]
    close(calculate("concat", {"axis": Attr("int32", -1)}, (1, 2, 6), input=[a, b]), torch.cat(both, -1), exact=True)
    close(calculate("stack", {"axis": Attr("int32", 1)}, (1, 2, 2, 3), input=[a, b]), torch.stack(both, 1), exact=True)
    numbers = [np.array([n], np.float32) for n in (1, -1)]
    assert calculate("stack", {"axis": Attr("int32", 0)}, (2,), input=numbers).tolist() == [1, -1]


@pytest.mark.parametrize(("group", "stride", "dilation"), [(1, 1, 1), (2, 2, 1), (4, 1, 2)])
def test_convolutions_equal_torch(group: int, stride: int, dilation: int) -> None:
    """With groups, strides, dilation and unequal padding."""
    x, weights, bias = noise(1, 7, 9, 8), noise(12, 3, 2, 8 // group, seed=1), noise(12, seed=2)
    picture = F.pad(torch.from_numpy(x).permute(0, 3, 1, 2), (1, 0, 2, 1))
    kernel = torch.from_numpy(weights).permute(0, 3, 1, 2)
    wanted = F.conv2d(picture.double(), kernel.double(), torch.from_numpy(bias).double(), stride, 0, dilation, group)
    attrs = {
        "kernel": ints(2, 3),
        "stride": ints(stride, stride),
        "dilation": ints(dilation, dilation),
        "pad": ints(1, 0, 2, 1),
        "pad_mode": Attr("string", "FLOOR"),
        "group": Attr("int32", group),
    }
    wanted = wanted.permute(0, 2, 3, 1).float()
    close(calculate("conv2d", attrs, tuple(wanted.shape), input=[x], weights=[weights], bias=[bias]), wanted)


def test_depthwise_convolution_equals_torch() -> None:
    """Two kernels for each channel: channel c by kernel m is output channel 2 c + m."""
    x, weights = noise(1, 5, 6, 3), noise(2, 3, 3, 3, seed=1)
    kernel = torch.from_numpy(weights).permute(3, 0, 1, 2).reshape(6, 1, 3, 3)
    wanted = F.conv2d(torch.from_numpy(x).permute(0, 3, 1, 2), kernel, groups=3).permute(0, 2, 3, 1)
    attrs = {"kernel": ints(3, 3), "stride": ints(1, 1)}
    close(calculate("depthwise-conv2d", attrs, tuple(wanted.shape), input=[x], weights=[weights]), wanted)


@pytest.mark.parametrize("ceil", [False, True])
@pytest.mark.parametrize("count_pad", [False, True])
@pytest.mark.parametrize("kind", ["maxpool2d", "avgpool2d"])
def test_pools_equal_torch(kind: str, count_pad: bool, ceil: bool) -> None:
    """Windows at the border, rounded down or up; what lies beyond the padding counts in no mean of torch's."""
    x = noise(1, 8, 9, 4)
    picture = torch.from_numpy(x).permute(0, 3, 1, 2)
    if kind == "maxpool2d":
        wanted = F.max_pool2d(picture, 3, 2, 1, ceil_mode=ceil)
    else:
        wanted = F.avg_pool2d(picture, 3, 2, 1, ceil_mode=ceil, count_include_pad=count_pad)
    wanted = wanted.permute(0, 2, 3, 1)
    attrs = {
        "kernel": ints(3, 3),
        "stride": ints(2, 2),
        "pad": ints(1, 1, 1, 1),
        "pad_mode": Attr("string", "CEIL" if ceil else "FLOOR"),
        "count_include_pad": Attr("bool", count_pad),
        "count_include_invalid": Attr("bool", False),
    }
    close(calculate(kind, attrs, tuple(wanted.shape), input=[x]), wanted)


@pytest.mark.parametrize("kind", ["maxpool2d", "avgpool2d"])
def test_global_pools_equal_torch(kind: str) -> None:
    """The whole picture is one window."""
    x = noise(1, 8, 9, 4)
    wanted = torch.from_numpy(x).amax((1, 2), True) if kind == "maxpool2d" else torch.from_numpy(x).mean((1, 2), True)
    close(calculate(kind, {"global": Attr("bool", True)}, (1, 1, 1, 4), input=[x]), wanted)


@pytest.mark.parametrize("size", [(10, 14), (4, 5), (7, 9)])
@pytest.mark.parametrize(("mode", "corners"), [("nearest", None), ("bilinear", False), ("bilinear", True)])
def test_resizing_equals_torch(size: tuple[int, int], mode: str, corners: bool | None) -> None:
    """Larger and smaller, with torch's pixel centres."""
    x = noise(1, 5, 7, 3)
    picture = torch.from_numpy(x).double().permute(0, 3, 1, 2)
    wanted = F.interpolate(picture, size, mode=mode, align_corners=corners).float()
    attrs = {
        "mode": Attr("string", mode.upper()),
        "align_corners": Attr("bool", bool(corners)),
        "half_pixel_centers": Attr("bool", mode == "bilinear" and not corners),
    }
    close(calculate("resize", attrs, (1, *size, 3), input=[x]), wanted.permute(0, 2, 3, 1))


def test_products_of_matrices_equal_torch() -> None:
    """Batched, with the second matrix transposed, and a bias; inner-product flattens from an axis on."""
    a, b, bias = noise(2, 3, 4), noise(2, 5, 4, seed=1), noise(5, seed=2)
    wanted = torch.from_numpy(a) @ torch.from_numpy(b).mT + torch.from_numpy(bias)
    close(calculate("matmul", {"transpose_b": Attr("bool", True)}, (2, 3, 5), input=[a, b], bias=[bias]), wanted)
    picture, weights = noise(1, 2, 3, 4), noise(6, 2, 3, 4, seed=3)
    wanted = F.linear(torch.from_numpy(picture).reshape(1, -1), torch.from_numpy(weights).reshape(6, -1))
    close(calculate("inner-product", {"axis": Attr("int32", 1)}, (1, 6), input=[picture], weights=[weights]), wanted)


def test_batchnorm_scale_and_prelu_equal_torch() -> None:
    """The three with parameters for each channel."""
    x, gamma, beta, mean = noise(1, 3, 3, 4), noise(4, seed=1), noise(4, seed=2), noise(4, seed=3)
    variance = np.abs(noise(4, seed=4)) + 0.1
    picture = torch.from_numpy(x).permute(0, 3, 1, 2)
    of = [torch.from_numpy(array) for array in (mean, variance, gamma, beta)]
    wanted = F.batch_norm(picture, *of, eps=1e-3).permute(0, 2, 3, 1)
    attrs = {"axis": Attr("int32", 3), "epsilon": Attr("float", 1e-3)}
    arguments = {"gamma": [gamma], "beta": [beta], "moving_mean": [mean], "moving_var": [variance]}
    close(calculate("batchnorm", attrs, x.shape, input=[x], **arguments), wanted)
    wanted = torch.from_numpy(x * gamma + beta)
    close(calculate("scale", {"axis": Attr("int32", -1)}, x.shape, input=[x], scale=[gamma], bias=[beta]), wanted)
    wanted = F.prelu(picture, of[2]).permute(0, 2, 3, 1)
    close(calculate("prelu", {}, x.shape, input=[x], weight=[gamma]), wanted)


def fix_attrs(fix_point: int, **other: Attr) -> dict[str, Attr]:
    return {
        "fix_point": Attr("int32", fix_point),
        "bit_width": Attr("int32", 8),
        "if_signed": Attr("bool", True),
        "round_mode": Attr("string", "DPU_ROUND"),
        **other,
    }


def test_conversions_round_half_up_and_saturate() -> None:
    """float2fix, fix and fix2float at the halves and beyond both ends."""
    x = np.array([-2.5, -0.75, -0.25, 0.25, 0.75, 1.25, 63.5, 64.0, -99.0], np.float32)
    integers = calculate("float2fix", fix_attrs(1), x.shape, input=[x])
    assert integers.dtype == np.int8 and integers.tolist() == [-5, -1, 0, 1, 2, 3, 127, 127, -128]
    fixed = calculate("fix", fix_attrs(1), x.shape, input=[x])
    assert fixed.dtype == np.float32 and fixed.tolist() == (integers / 2).tolist()
    assert np.array_equal(calculate("fix2float", fix_attrs(1), x.shape, input=[integers]), fixed)


@pytest.mark.parametrize(
    "attrs",
    [
        fix_attrs(1, bit_width=Attr("int32", 16)),
        fix_attrs(1, if_signed=Attr("bool", False)),
        fix_attrs(1, round_mode=Attr("string", "STD_ROUND")),
        fix_attrs(99),
    ],
)
def test_other_widths_and_roundings_are_refused(attrs: dict[str, Attr]) -> None:
    """What the DPU has not is not guessed on the CPU either."""
    with pytest.raises(UnsupportedModelError, match="'op' \\(fix\\) on the CPU"):
        calculate("fix", attrs, (2,), input=[np.zeros(2, np.float32)])


def test_nan_is_not_quantised() -> None:
    """NaN from an operator before is an error that names it."""
    with pytest.raises(RunError, match="found NaN or infinity, computed by 'x'"):
        calculate("float2fix", fix_attrs(1), (1,), input=[np.array([np.nan], np.float32)])


@pytest.mark.parametrize(
    ("kind", "attrs", "shapes", "message"),
    [
        ("transpose", {"order": ints(0, 1)}, [(1, 2, 3)], "order"),
        ("softmax", {"axis": Attr("int32", 5)}, [(1, 2)], "axis is 5"),
        ("concat", {"axis": Attr("int32", 0)}, [(1, 2), (3, 4)], "cannot be joined"),
        ("stack", {"axis": Attr("int32", 0)}, [(1, 2), (3, 4)], "cannot be stacked"),
        ("matmul", {}, [(2, 3), (2, 3)], "do not fit"),
        ("strided_slice", {"begin": ints(0), "end": ints(1)}, [(2, 3)], "do not fit"),
        ("pad", {"paddings": ints(1), "mode": Attr("string", "CONSTANT")}, [(2, 3)], "do not fit"),
        ("pixel-shuffle", {"scale": Attr("int32", 2)}, [(1, 2, 2, 3)], "does not divide"),
        ("maxpool2d", {"kernel": ints(2)}, [(1, 2, 2, 3)], "kernel"),
        ("resize", {"mode": Attr("string", "CUBIC")}, [(1, 2, 2, 3)], "CUBIC"),
        ("relu", {}, [(1,), (1,)], "2 arrays"),
        ("add", {}, [], "no input"),
    ],
)
def test_wrong_attributes_are_named(
    kind: str, attrs: dict[str, Attr], shapes: list[tuple[int, ...]], message: str
) -> None:
    """Operator, type and what does not fit."""
    arrays = [np.zeros(shape, np.float32) for shape in shapes]
    with pytest.raises(UnsupportedModelError, match=rf"'op' \({kind}\) on the CPU: .*{message}"):
        calculate(kind, attrs, (1, 2, 2, 3), input=arrays)


@pytest.mark.parametrize(
    ("kind", "attrs", "arguments"),
    [
        ("scale", {}, {"scale": (4,)}),
        ("scale", {}, {"scale": (3,), "bias": (4,)}),
        ("prelu", {}, {"weight": (4,)}),
        ("conv2d", {"kernel": ints(1, 1), "stride": ints(1, 1)}, {"weights": (5, 1, 1, 3), "bias": (2,)}),
        ("batchnorm", {}, {"gamma": (3,), "beta": (3,), "moving_mean": (3,), "moving_var": (4,)}),
    ],
)
def test_parameters_that_do_not_fit_are_named(
    kind: str, attrs: dict[str, Attr], arguments: dict[str, tuple[int, ...]]
) -> None:
    """A damaged file's parameters end in an error of this package, not of numpy."""
    arrays = {name: [np.zeros(shape, np.float32)] for name, shape in arguments.items()}
    with pytest.raises(UnsupportedModelError, match=rf"'op' \({kind}\) on the CPU: .*do(es)? not fit"):
        calculate(kind, attrs, (1, 2, 2, 5), input=[noise(1, 2, 2, 3)], **arrays)
