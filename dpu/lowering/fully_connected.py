"""Fully connected layers as convolutions over the whole picture, as AMD's compiler makes them.

A network flattens a picture before such a layer, often after moving its channels to the front. These views are followed
back to the picture, and the weights are put in its order instead.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np

from dpu.graph import Attr, Op
from dpu.lowering.forms import Form, FormOrReason, const_fix, fixed_constant
from dpu.lowering.groups import VIEWS, Group, Grouped

_LARGEST_KERNEL = 16


@dataclass(frozen=True)
class Source:
    """What a fully connected layer really reads: `order[i]` is where its input i lies in the flat tensor."""

    name: str
    shape: tuple[int, ...]
    order: np.ndarray
    passed: tuple[Group, ...]  # the views on the way


def source_of(graph: Grouped, name: str, fix_point: Callable[[str], int | None]) -> Source:
    """Follow a value back through views that stay on its grid."""
    passed: list[Group] = []
    while (group := graph.of[name]).op.type in VIEWS and group.inputs:
        before = group.inputs[0]
        if fix_point(before) != fix_point(name) or fix_point(name) is None:
            break
        passed.append(group)
        name = before
    shape = graph.of[name].shape
    order = np.arange(int(np.prod(shape))).reshape(shape)
    for group in reversed(passed):
        order = order.transpose(group.op.value("order")) if group.op.type == "transpose" else order.reshape(group.shape)
    return Source(name, shape, order.ravel(), tuple(passed))


def picture_shape(shape: tuple[int, ...]) -> tuple[int, ...]:
    """The [1, H, W, C] that a convolution reads a tensor as."""
    return shape if len(shape) == 4 else (1, 1, 1, int(np.prod(shape)))


def fully_connected(graph: Grouped, op: Op, activation: str, source: Source, in_shape: tuple[int, ...]) -> FormOrReason:
    """The convolution that a matmul of a vector with constant weights is, or why it is none."""
    if op.type == "matmul":
        names = op.inputs.get("input", [])
        if len(names) != 2 or names[1] not in graph.constant or len(in_shape) != 2 or in_shape[0] != 1:
            return f"a product of {list(in_shape)} with what is not a constant matrix"
        if op.typed("transpose_a", "bool", False):
            return "a transposed first operand"
        weights = fixed_constant(graph, Op(op.name, op.type, {}, {"weights": names[1:]}, op.output), "weights")
    else:
        weights = fixed_constant(graph, op, "weights")
    if weights is None or source.shape[0] != 1:
        return f"weights missing, or a batch of {source.shape[0]}"
    shape = weights.output.shape
    integers = np.frombuffer(weights.value("data"), np.int8).reshape(shape)
    if op.type == "matmul" and not op.typed("transpose_b", "bool", False):
        integers = integers.T
    integers = integers.reshape(integers.shape[0], -1)  # (O, I)
    if integers.shape[1] != source.order.size:
        return f"weights {list(shape)} for {source.order.size} inputs"
    _, height, width, channels = picture_shape(source.shape)
    if max(height, width) > _LARGEST_KERNEL:
        return f"a picture of {height} x {width}; the DPU's kernels end at {_LARGEST_KERNEL}"
    in_order = np.empty_like(integers)
    in_order[:, source.order] = integers
    name, fix_point = f"{weights.name}(reshaped)", weights.output.value("fix_point")
    kernel = const_fix(name, weights.output.name, in_order.reshape(-1, height, width, channels), fix_point)
    bias = fixed_constant(graph, op, "bias")
    attrs = {
        "kernel": Attr("int32_vec", (width, height)),
        "stride": Attr("int32_vec", (1, 1)),
        "dilation": Attr("int32_vec", (1, 1)),
        "pad": Attr("int32_vec", (0, 0, 0, 0)),
        "pad_mode": Attr("string", "FLOOR"),
        "nonlinear": Attr("string", activation),
    }
    return Form("conv2d-fix", attrs, {"weights": kernel, **({"bias": bias} if bias is not None else {})})
