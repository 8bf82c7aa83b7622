"""What an operator of a quantised graph becomes on the DPU: its `-fix` type, attributes and constants.

A maker gives the form, or the reason why the DPU does not have it; then the operator runs on the CPU as it is.
"""

from __future__ import annotations

import numpy as np

from dpu.arithmetic import LEAKY_SLOPE
from dpu.graph import Attr
from dpu.lowering.form import Form, FormOrReason, Maker, kept
from dpu.lowering.groups import Group, Grouped
from dpu.lowering.window_forms import WINDOW_MAKERS

_HARD_SIGMOID_BITS = 14  # relu6(x + 3) * 2731 / 2^14


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
    return Form("pad-fix", kept(op, "paddings", "mode"))


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
    **WINDOW_MAKERS,
    **dict.fromkeys(("add", "mul", "eltwise"), _eltwise),
    **dict.fromkeys(("reshape", "flatten", "squeeze"), _view),
    "concat": _concat,
    "pad": _pad,
    "strided_slice": _slice,
    "hard-sigmoid": _hard_sigmoid,
}
