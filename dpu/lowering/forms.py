"""What an operator of a quantised graph becomes on the DPU: its `-fix` type, attributes and constants.

A maker gives the form, or the reason why the DPU does not have it; then the operator runs on the CPU as it is.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Union

import numpy as np

from dpu.arithmetic import LEAKY_SLOPE, half_up, saturate
from dpu.graph import Attr, Op, Tensor
from dpu.lowering.groups import CONVOLUTIONS, Group, Grouped, constant_values
from dpu.operators.pooling import average_factors
from dpu.operators.resizing import is_exact

_WINDOW = ("kernel", "stride", "dilation", "pad", "pad_mode", "group", "in_dim", "out_dim", "bias_term")
_HARD_SIGMOID_BITS = 14  # relu6(x + 3) * 2731 / 2^14


@dataclass(frozen=True)
class Form:
    """An integer operator in the making; `constants` are its weights and bias by argument name.

    `picture` is the [1, H, W, C] that it gives where the quantised graph's tensor has fewer axes.
    """

    type: str
    attrs: dict[str, Attr] = field(default_factory=dict)
    constants: dict[str, Op] = field(default_factory=dict)
    picture: tuple[int, ...] | None = None


FormOrReason = Union[Form, str]  # noqa: UP007 (evaluated at import on Python 3.9)
Maker = Callable[[Grouped, Group, tuple[tuple[int, ...], ...], tuple[int, ...], int], FormOrReason]


def form_of(
    graph: Grouped, group: Group, shapes: tuple[tuple[int, ...], ...], fix_points: tuple[int, ...], fix_point: int
) -> FormOrReason:
    """A group's form for inputs of these shapes and fix points and this output fix point, or why there is none."""
    maker = MAKERS.get(group.op.type)
    if maker is None:
        return f"{group.op.type!r} of {len(group.inputs)} tensors"
    if group.op.type != "resize" and len(group.inputs) != len(group.op.inputs.get("input", [])):
        return "it reads a constant as an activation"
    if not shapes:
        return "it reads nothing"
    return maker(graph, group, shapes, fix_points, fix_point)


def check_slope(graph: Grouped, group: Group) -> None:
    """Refuse a leaky ReLU with another slope than the DPU's."""
    if group.activation == "LEAKYRELU" and (alpha := group.end.typed("alpha", "float")) != LEAKY_SLOPE:
        graph.refuse(group.end, f"slope {alpha}; the DPU has only 26/256 = {LEAKY_SLOPE}")


def fixed_constant(graph: Grouped, op: Op, argument: str) -> Op | None:
    """An operator's weights or bias as int8 `const-fix`, or None where it has none. Refuses an unquantised one."""
    names = op.inputs.get(argument, [])
    if not names:
        return None
    fix = graph.constant.get(names[0])
    if fix is None or fix.type != "fix" or len(names) != 1:
        graph.refuse(op, f"its {argument} must be a constant with a fix")
    const = graph.constant[fix.input_names()[0]]
    if const.type != "const":
        graph.refuse(op, f"its {argument} must be a constant with a fix")
    position = graph.position(fix)
    integers = saturate(half_up(constant_values(const).astype(np.float64) * 2.0**position.fix_point))
    return const_fix(const.name, position.tensor_name, integers, position.fix_point)


def const_fix(name: str, tensor_name: str, integers: np.ndarray, fix_point: int) -> Op:
    """An int8 constant of the DPU."""
    attrs = {
        "shape": Attr("int32_vec", integers.shape),
        "data_type": Attr("string", "XINT8"),
        "device": Attr("string", "DPU"),
        "data": Attr("bytes", integers.tobytes()),
    }
    return Op(name, "const-fix", attrs, {}, int8_tensor(tensor_name, integers.shape, fix_point))


def int8_tensor(name: str, shape: tuple[int, ...], fix_point: int) -> Tensor:
    """An int8 tensor with its position."""
    attrs = {
        "fix_point": Attr("int32", fix_point),
        "bit_width": Attr("int32", 8),
        "if_signed": Attr("bool", True),
        "round_mode": Attr("string", "DPU_ROUND"),
    }
    return Tensor(name, shape, "xint8", attrs)


def _kept(op: Op, *keys: str) -> dict[str, Attr]:
    return {key: op.attrs[key] for key in keys if key in op.attrs}


def _convolution(
    graph: Grouped, group: Group, shapes: tuple[tuple[int, ...], ...], fix_points: tuple[int, ...], fix_point: int
) -> FormOrReason:
    op, groups = group.op, group.op.typed("group", "int32", 1)
    constants = {name: made for name in ("weights", "bias") if (made := fixed_constant(graph, op, name)) is not None}
    if op.typed("pad_mode", "string", "FLOOR") not in ("FLOOR", "VALID"):  # VALID: pads are 0; the shape tells
        return f"pad_mode {op.value('pad_mode')!r}"
    if groups > 1 and "weights" in constants and constants["weights"].output.shape[-1] * groups == shapes[0][-1]:
        return f"{groups} groups; the DPU has only 1"
    attrs = {**_kept(op, *_WINDOW), "nonlinear": Attr("string", group.activation)}
    return Form(f"{op.type}-fix", attrs, constants)


def _pool(
    graph: Grouped, group: Group, shapes: tuple[tuple[int, ...], ...], fix_points: tuple[int, ...], fix_point: int
) -> FormOrReason:
    if len(shapes) != 1 or len(shapes[0]) != 4:
        return f"its input is {[list(shape) for shape in shapes]}, expected one [N, H, W, C]"
    op, (_, height, width, _) = group.op, shapes[0]
    attrs = _kept(op, "kernel", "stride", "pad")
    sizes = [op.typed(key, "int32_vec", ()) for key in ("kernel", "stride")]
    pad = op.typed("pad", "int32_vec", (0, 0, 0, 0))
    if op.typed("global", "bool", False):
        attrs = {
            "kernel": Attr("int32_vec", (width, height)),
            "stride": Attr("int32_vec", (width, height)),
            "pad": Attr("int32_vec", (0, 0, 0, 0)),
        }
    elif any(len(size) != 2 or not all(1 <= number <= 256 for number in size) for size in sizes) or len(pad) != 4:
        return f"a window of size {sizes[0]}, stride {sizes[1]}, padding {pad}"
    elif op.typed("pad_mode", "string", "FLOOR") == "CEIL" and op.type == "maxpool2d":
        attrs["pad"] = Attr("int32_vec", _ceil_pad(attrs, (width, height), group.shape[2:0:-1], pad))
    elif op.typed("pad_mode", "string", "FLOOR") != "FLOOR":
        return f"pad_mode {op.value('pad_mode')!r}"
    if op.type == "maxpool2d":
        return Form("pool-fix", {**attrs, "type": Attr("string", "MAX")})
    if any(pad) and not op.typed("count_include_pad", "bool", True):
        return "a mean that leaves the padding out"
    kernel_w, kernel_h = attrs["kernel"].value
    return _mean(group, attrs, (kernel_h, kernel_w))


def _ceil_pad(
    attrs: dict[str, Attr], size_wh: tuple[int, ...], out_wh: tuple[int, ...], pad: tuple[int, ...]
) -> tuple[int, ...]:
    """{left, right, top, bottom} with as much more right and bottom as the output needs: a DPU only rounds down.

    The output tells, because torch leaves out a last window that would lie wholly in the padding.
    """
    grown = list(pad)
    for axis in (0, 1):
        kernel, stride = attrs["kernel"].value[axis], attrs["stride"].value[axis]
        needed = (out_wh[axis] - 1) * stride + kernel - size_wh[axis] - pad[2 * axis]
        grown[2 * axis + 1] = max(pad[2 * axis + 1], needed)
    return tuple(grown)


def _mean(
    group: Group, attrs: dict[str, Attr], kernel_hw: tuple[int, int], picture: tuple[int, ...] | None = None
) -> FormOrReason:
    asked = (1.0 if group.factor is None else group.factor) / (kernel_hw[0] * kernel_hw[1])
    factor, shift = average_factors(kernel_hw)
    if not np.isclose(asked, factor / 2**shift, rtol=1e-6, atol=0.0):
        return f"a mean with the factor {asked}; the DPU has {factor} / 2^{shift} for this window"
    return Form("pool-fix", {**attrs, "type": Attr("string", "AVG")}, picture=picture)


def _reduction(
    graph: Grouped, group: Group, shapes: tuple[tuple[int, ...], ...], fix_points: tuple[int, ...], fix_point: int
) -> FormOrReason:
    op, shape = group.op, shapes[0]
    axes = {axis % len(shape) for axis in op.typed("axis", "int32_vec", ())}
    if len(shape) != 4 or not axes or not axes <= {1, 2}:
        return f"a reduction over axes {sorted(axes)} of {list(shape)}"
    kernel_hw = (shape[1] if 1 in axes else 1, shape[2] if 2 in axes else 1)
    attrs = {
        "kernel": Attr("int32_vec", kernel_hw[::-1]),
        "stride": Attr("int32_vec", (1, 1)),
        "pad": Attr("int32_vec", (0, 0, 0, 0)),
    }
    kept = (1, shape[1] // kernel_hw[0], shape[2] // kernel_hw[1], shape[3])
    picture = None if op.typed("keep_dims", "bool", False) else kept
    if op.type == "reduction_max":
        return Form("pool-fix", {**attrs, "type": Attr("string", "MAX")}, picture=picture)
    return _mean(group, attrs, kernel_hw, picture)


def _resize(
    graph: Grouped, group: Group, shapes: tuple[tuple[int, ...], ...], fix_points: tuple[int, ...], fix_point: int
) -> FormOrReason:
    op = group.op
    if len(shapes[0]) != 4 or len(group.shape) != 4 or len(group.inputs) != 1 or 0 in shapes[0]:
        return "a size computed in the graph, or a tensor that is not [1, H, W, C]"
    (_, height, width, _), (_, out_height, out_width, _) = shapes[0], group.shape
    mode, what = op.typed("mode", "string"), f"from {height} x {width} to {out_height} x {out_width}"
    if out_height < height or out_width < width or mode not in ("NEAREST", "BILINEAR"):
        return f"mode {mode!r} {what}"
    if not is_exact(mode, op, (height, width), (out_height, out_width)):
        return f"mode {mode!r} {what}: no exact rule is public for its weights"
    attrs = _kept(op, "mode", "align_corners", "half_pixel_centers")
    scale = Attr("float_vec", (out_width / width, out_height / height))
    return Form("upsample-fix", {"scale": scale, **attrs})


def _eltwise(
    graph: Grouped, group: Group, shapes: tuple[tuple[int, ...], ...], fix_points: tuple[int, ...], fix_point: int
) -> FormOrReason:
    kind = {"add": "ADD", "mul": "MUL"}.get(group.op.type) or group.op.typed("type", "string", "ADD")
    if kind == "MUL" and len(shapes) != 2:
        return f"a product of {len(shapes)}"
    if len(set(shapes)) == 1:
        return Form("eltwise-fix", {"type": Attr("string", kind), "nonlinear": Attr("string", group.activation)})
    channels = (1, 1, 1, group.shape[-1])
    if kind == "MUL" and group.activation == "NONE" and channels in shapes and group.shape in shapes:
        return Form("depthwise-fix", {"type": Attr("string", kind)})
    return f"operands of shapes {[list(shape) for shape in shapes]}"


def _concat(
    graph: Grouped, group: Group, shapes: tuple[tuple[int, ...], ...], fix_points: tuple[int, ...], fix_point: int
) -> FormOrReason:
    axis = group.op.typed("axis", "int32", 3)
    if len(group.shape) != 4 or axis % 4 == 0:
        return f"axis {axis} of {len(group.shape)}"
    return Form("concat-fix", {"axis": Attr("int32", axis % 4)})


def _pad(
    graph: Grouped, group: Group, shapes: tuple[tuple[int, ...], ...], fix_points: tuple[int, ...], fix_point: int
) -> FormOrReason:
    op = group.op
    mode, values = op.typed("mode", "string"), op.typed("constant_values", "float_vec", ())
    if mode not in ("CONSTANT", "SYMMETRIC") or any(values) or len(shapes[0]) != 4:
        return f"padding of mode {mode!r} with {list(values)}"
    return Form("pad-fix", _kept(op, "paddings", "mode"))


def _view(
    graph: Grouped, group: Group, shapes: tuple[tuple[int, ...], ...], fix_points: tuple[int, ...], fix_point: int
) -> FormOrReason:
    if fix_points[0] != fix_point:
        return f"a change of shape that moves fix point {fix_points[0]} to {fix_point}"
    return Form("reshape-fix", {"shape": Attr("int32_vec", group.shape)})


def _slice(
    graph: Grouped, group: Group, shapes: tuple[tuple[int, ...], ...], fix_points: tuple[int, ...], fix_point: int
) -> FormOrReason:
    op, shape = group.op, shapes[0]
    bounds = [op.typed(key, "int32_vec", ()) for key in ("begin", "end", "strides")]
    if len(shape) != 4 or any(len(numbers) != 4 for numbers in bounds) or min(bounds[2]) < 1:
        return f"a slice of {list(shape)} with begin, end, strides {bounds}"
    ranges = [range(*slice(bounds[0][a], bounds[1][a], bounds[2][a]).indices(shape[a])) for a in range(4)]
    if tuple(len(indices) for indices in ranges) != group.shape or bounds[2][0] != 1 or bounds[2][3] != 1:
        return "a slice with steps over channels, or with masks that change its bounds"
    if fix_points[0] != fix_point:
        return f"a slice that moves fix point {fix_points[0]} to {fix_point}"
    numbers = {
        "begin": tuple(r.start for r in ranges),
        "end": tuple(r.stop for r in ranges),
        "strides": tuple(r.step for r in ranges),
    }
    return Form("strided_slice-fix", {key: Attr("int32_vec", value) for key, value in numbers.items()})


def _hard_sigmoid(
    graph: Grouped, group: Group, shapes: tuple[tuple[int, ...], ...], fix_points: tuple[int, ...], fix_point: int
) -> FormOrReason:
    if group.factor is None or not np.isclose(group.factor, 6 * 2731 / 16384, rtol=1e-6, atol=0.0):
        return "its slope is 1/6; the DPU has 2731 / 2^14, which the quantiser writes as a factor"
    shift = _HARD_SIGMOID_BITS + fix_points[0] - fix_point
    if not 0 <= fix_points[0] <= 15 or not 0 <= shift <= 31:
        return f"fix points {fix_points[0]} and {fix_point}; the DPU shifts by 0 to 31 bits"
    return Form(
        "hard-sigmoid-fix", {"hsigmoid_in": Attr("int32", fix_points[0]), "shift_hsigmoid": Attr("int32", shift)}
    )


MAKERS: dict[str, Maker] = {
    **dict.fromkeys(CONVOLUTIONS, _convolution),
    **dict.fromkeys(("maxpool2d", "avgpool2d"), _pool),
    **dict.fromkeys(("reduction_max", "reduction_mean"), _reduction),
    **dict.fromkeys(("add", "mul", "eltwise"), _eltwise),
    **dict.fromkeys(("reshape", "flatten", "squeeze"), _view),
    "resize": _resize,
    "concat": _concat,
    "pad": _pad,
    "strided_slice": _slice,
    "hard-sigmoid": _hard_sigmoid,
}
