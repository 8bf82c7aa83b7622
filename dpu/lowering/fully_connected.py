"""Fully connected layers as convolutions over the whole picture, as AMD's compiler makes them.

A network flattens a picture before such a layer, often after moving its channels to the front. These views are followed
back to the picture, and the weights are put in its order instead.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass

import numpy as np

from dpu.graph import Attr, Op
from dpu.lowering.form import Form, FormOrReason, const_fix, fixed_constant
from dpu.lowering.groups import VIEWS, Group, Grouped

_LARGEST_KERNEL = 16


@dataclass(frozen=True)
class Source:
    """What a fully connected layer really reads: `order[i]` is where its input i lies in the flat tensor."""

    name: str
    shape: tuple[int, ...]
    order: np.ndarray


def source_of(graph: Grouped, name: str, fix_point: Callable[[str], int | None], size: int) -> Source:
    """Follow a value of `size` numbers back through views that stay on its grid."""
    views: list[Group] = []
    while (group := graph.of[name]).op.type in VIEWS and _is_sound(graph, group, size):
        before = group.inputs[0]
        if fix_point(before) != fix_point(name):
            break
        views.append(group)
        name = before
    shape = graph.of[name].shape
    order = np.arange(size).reshape(shape)
    for group in reversed(views):
        order = order.transpose(group.op.value("order")) if group.op.type == "transpose" else order.reshape(group.shape)
    return Source(name, shape, order.ravel())


def _is_sound(graph: Grouped, group: Group, size: int) -> bool:
    """Whether a view has one input and as many numbers on both sides."""
    if len(group.inputs) != 1:
        return False
    before = graph.of[group.inputs[0]].shape
    if group.op.type == "transpose" and sorted(group.op.typed("order", "int32_vec", ())) != list(range(len(before))):
        return False
    return math.prod(before) == math.prod(group.shape) == size


def picture_shape(shape: tuple[int, ...]) -> tuple[int, ...]:
    """The [1, H, W, C] that a convolution reads a tensor as."""
    return shape if len(shape) == 4 else (1, 1, 1, int(np.prod(shape)))


def fully_connected(
    graph: Grouped, op: Op, activation: str, name: str, fix_point: Callable[[str], int | None]
) -> tuple[FormOrReason, str]:
    """The convolution that a product of the vector `name` with constant weights is, and the value it reads.

    Instead of the form there is the reason why it is none.
    """
    kernel = _weights(graph, op, graph.of[name].shape)
    if isinstance(kernel, str):
        return kernel, name
    constant, integers = kernel
    source = source_of(graph, name, fix_point, integers.shape[1])
    _, height, width, channels = picture_shape(source.shape)
    if source.shape[0] != 1 or max(height, width) > _LARGEST_KERNEL:
        return f"a picture {list(source.shape)}; the DPU's kernels end at {_LARGEST_KERNEL}", name
    in_order = np.empty_like(integers)
    in_order[:, source.order] = integers
    weights = const_fix(
        f"{constant.name}(reshaped)",
        constant.output.name,
        in_order.reshape(-1, height, width, channels),
        constant.output.value("fix_point"),
    )
    bias = fixed_constant(graph, op, "bias")
    attrs = {
        "kernel": Attr("int32_vec", (width, height)),
        "stride": Attr("int32_vec", (1, 1)),
        "dilation": Attr("int32_vec", (1, 1)),
        "pad": Attr("int32_vec", (0, 0, 0, 0)),
        "pad_mode": Attr("string", "FLOOR"),
        "nonlinear": Attr("string", activation),
    }
    constants = {"weights": weights, **({"bias": bias} if bias is not None else {})}
    return Form("conv2d-fix", attrs, constants, (1, 1, 1, len(integers))), source.name


def _weights(graph: Grouped, op: Op, in_shape: tuple[int, ...]) -> tuple[Op, np.ndarray] | str:
    """The constant and its integers as (O, I), or what does not fit."""
    if op.type == "matmul":
        names = op.inputs.get("input", [])
        if len(names) != 2 or names[1] not in graph.constant or len(in_shape) != 2 or in_shape[0] != 1:
            return f"a product of {list(in_shape)} with what is not a constant matrix"
        if op.typed("transpose_a", "bool", False):
            return "a transposed first operand"
        weights = fixed_constant(graph, Op(op.name, op.type, {}, {"weights": names[1:]}, op.output), "weights")
    else:
        weights = fixed_constant(graph, op, "weights")
    if weights is None or weights.output.shape == ():
        return "no weights"
    integers = np.frombuffer(weights.value("data"), np.int8).reshape(weights.output.shape)
    if op.type == "matmul" and not op.typed("transpose_b", "bool", False):
        integers = integers.T
    integers = integers.reshape(integers.shape[0], -1)
    if integers.shape[1] != math.prod(in_shape) or in_shape[0] != 1 or not integers.size:
        return f"weights {list(weights.output.shape)} for an input {list(in_shape)}"
    return weights, integers
