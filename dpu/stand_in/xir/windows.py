"""Shapes of what slides a window over a picture: convolutions and pools.

Windows are given width first: kernel {w, h}, pad {left, right, top, bottom}.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING

from .op_shapes import input_shape, wrong

if TYPE_CHECKING:
    from .op import Op

SPATIAL = {1: (1,), 2: (2, 1), 3: (2, 1, 3)}  # which axis each number of a window is for: width, height, depth


def _extent(op: Op, size: int, kernel: int, stride: int, dilation: int, pads: int) -> int:
    """Places of a window along one axis, by the attribute pad_mode (integer operators: FLOOR)."""
    mode = op.get_attr("pad_mode") if op.has_attr("pad_mode") else "FLOOR"
    last = size + pads - (kernel - 1) * dilation  # one more than where the last window begins
    room = {"FLOOR": last - 1 + stride, "CEIL": last + 2 * (stride - 1), "SAME": size + pads + stride - 1}
    room["VALID"] = last + stride - 1
    if mode not in room:
        raise wrong(op, f"expected pad_mode FLOOR, CEIL, SAME or VALID, found {mode!r}")
    return room[mode] // stride


def _window(op: Op, extent: Callable[..., int], channels: int) -> list[int]:
    """The input's shape with each spatial axis replaced by `extent(op, size, kernel, stride, dilation, pads)`."""
    kernel, stride = op.get_attr("kernel"), op.get_attr("stride")
    dilation = op.get_attr("dilation") if op.has_attr("dilation") else [1] * len(kernel)
    pad = op.get_attr("pad") if op.has_attr("pad") else [0] * 2 * len(kernel)
    if min(stride) < 1:
        raise wrong(op, f"expected strides of at least 1, found {stride}")
    shape = [*input_shape(op, rank=len(kernel) + 2)[:-1], channels]
    for i, axis in enumerate(SPATIAL[len(kernel)]):
        shape[axis] = extent(op, shape[axis], kernel[i], stride[i], dilation[i], pad[2 * i] + pad[2 * i + 1])
    return shape


def conv(op: Op) -> list[int]:
    """A convolution: weights OHWI, as many output channels as weights."""
    dimensions = len(op.get_attr("kernel"))
    depth, weights = input_shape(op)[-1], input_shape(op, "weights", dimensions + 2)
    group = op.get_attr("group") if op.has_attr("group") else 1
    if group < 1 or depth % group or weights[0] % group or weights[-1] != depth // group:
        raise wrong(op, f"weights {weights} do not fit an input of {depth} channels in {group} groups")
    return _window(op, _extent, weights[0])


def depthwise(op: Op) -> list[int]:
    """A convolution of each channel by itself: weights [multiplier, H, W, C]."""
    dimensions = len(op.get_attr("kernel"))
    weights = input_shape(op, "weights", dimensions + 2)
    return _window(op, _extent, weights[0] * weights[-1] if dimensions == 2 else weights[-1])


def _transposed_extent(op: Op, size: int, kernel: int, stride: int, dilation: int, pads: int) -> int:
    mode = op.get_attr("pad_mode") if op.has_attr("pad_mode") else "FLOOR"
    if mode in ("FLOOR", "CEIL"):
        return (size - 1) * stride + dilation * (kernel - 1) + 1 - pads
    if mode not in ("SAME", "VALID"):
        raise wrong(op, f"expected pad_mode FLOOR, CEIL, SAME or VALID, found {mode!r}")
    return size * stride if mode == "SAME" else (size - 1) * stride + kernel


def transposed(op: Op) -> list[int]:
    """A transposed convolution: weights OHWI."""
    return _window(op, _transposed_extent, input_shape(op, "weights")[0])


def transposed_depthwise(op: Op) -> list[int]:
    """A transposed convolution of each channel by itself."""
    weights = input_shape(op, "weights")
    if len(op.get_attr("kernel")) == 3:
        return _window(op, _transposed_extent, weights[-1])
    fixed = op.get_type().endswith("-fix")
    return _window(op, _transposed_extent, weights[0] * weights[-1] if fixed else input_shape(op)[-1])


def pool(op: Op) -> list[int]:
    """A pool over a window, or over the whole picture."""
    whole = op.has_attr("global") and op.get_attr("global")
    extent: Callable[..., int] = (lambda *_: 1) if whole else _extent
    return _window(op, extent, input_shape(op)[-1])
