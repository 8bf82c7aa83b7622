"""Operators that only move values: reshape, transpose, concat, stack, slice, pad, pixel shuffle."""

from __future__ import annotations

import numpy as np

from dpu.cpu_ops.arguments import Arguments, CpuOperator, axis_of, one, unsupported
from dpu.graph import Op


def _reshape(op: Op, arguments: Arguments) -> np.ndarray:
    """The tensor's own shape is the new one: attributes and the `shape` argument only tell where it comes from."""
    x = one(op, arguments)
    if x.size != int(np.prod(op.output.shape)):
        unsupported(op, f"{list(x.shape)} cannot become {list(op.output.shape)}")
    return x.reshape(op.output.shape)


def _transpose(op: Op, arguments: Arguments) -> np.ndarray:
    x, order = one(op, arguments), op.typed("order", "int32_vec", ())
    if sorted(order) != list(range(x.ndim)):
        unsupported(op, f"attribute order is {list(order)}, but its input has {x.ndim} axes")
    return np.ascontiguousarray(x.transpose(order))


def _concat(op: Op, arguments: Arguments) -> np.ndarray:
    arrays = arguments.get("input", [])
    axis = axis_of(op, len(op.output.shape), len(op.output.shape) - 1)
    try:
        return np.concatenate(arrays, axis=axis)
    except ValueError:
        unsupported(op, f"tensors of shapes {[list(array.shape) for array in arrays]} cannot be joined")


def _stack(op: Op, arguments: Arguments) -> np.ndarray:
    arrays = arguments.get("input", [])
    if len({array.shape for array in arrays}) != 1:
        unsupported(op, f"tensors of shapes {[list(array.shape) for array in arrays]} cannot be stacked")
    axis = axis_of(op, arrays[0].ndim + 1, 0)
    stacked = np.stack(arrays, axis=axis)
    # Numbers are tensors of shape (1,) in these graphs; a stack of them is a list of numbers.
    return stacked.reshape(op.output.shape) if stacked.size == int(np.prod(op.output.shape)) else stacked


def _strided_slice(op: Op, arguments: Arguments) -> np.ndarray:
    x = one(op, arguments)
    begin, end = (op.typed(key, "int32_vec", ()) for key in ("begin", "end"))
    strides = op.typed("strides", "int32_vec", ()) or (1,) * len(begin)
    if {len(begin), len(end), len(strides)} != {x.ndim} or 0 in strides:
        unsupported(op, f"begin {begin}, end {end}, strides {strides} do not fit {x.ndim} axes")
    return np.ascontiguousarray(x[tuple(slice(*bounds) for bounds in zip(begin, end, strides))])  # noqa: B905


def _pad(op: Op, arguments: Arguments) -> np.ndarray:
    x, paddings = one(op, arguments), op.typed("paddings", "int32_vec", ())
    mode, values = op.typed("mode", "string"), op.typed("constant_values", "float_vec", ())
    if len(paddings) != 2 * x.ndim or min(paddings) < 0 or mode not in ("CONSTANT", "REFLECT", "SYMMETRIC"):
        unsupported(op, f"paddings {list(paddings)} of mode {mode!r} do not fit {x.ndim} axes")
    width = list(zip(paddings[::2], paddings[1::2]))  # noqa: B905
    if tuple(before + size + after for size, (before, after) in zip(x.shape, width)) != op.output.shape:  # noqa: B905
        unsupported(op, f"paddings {list(paddings)} of {list(x.shape)} do not give {list(op.output.shape)}")
    if mode == "REFLECT":
        return np.pad(x, width, mode="reflect")
    if mode == "SYMMETRIC":
        return np.pad(x, width, mode="symmetric")
    if len(set(values)) > 1:
        unsupported(op, f"different values {list(values)} for the sides")
    return np.pad(x, width, constant_values=np.float32(values[0] if values else 0.0))


def _pixel_shuffle(op: Op, arguments: Arguments) -> np.ndarray:
    """As torch.nn.PixelShuffle, on (N, H, W, C): channel (c * r + y) * r + x goes to pixel (y, x) of its block."""
    x, r, upscale = one(op, arguments), op.typed("scale", "int32", 1), op.typed("upscale", "bool", True)
    if x.ndim != 4 or r < 1 or (x.shape[3] % (r * r) if upscale else x.shape[1] % r or x.shape[2] % r):
        unsupported(op, f"scale {r} does not divide {list(x.shape)}")
    n, height, width, channels = x.shape
    if upscale:
        blocks = x.reshape(n, height, width, channels // (r * r), r, r)  # (N, H, W, C, y, x)
        return blocks.transpose(0, 1, 4, 2, 5, 3).reshape(n, height * r, width * r, -1)
    blocks = x.reshape(n, height // r, r, width // r, r, channels)  # (N, H, y, W, x, C)
    return blocks.transpose(0, 1, 3, 5, 2, 4).reshape(n, height // r, width // r, -1)


def _shape(op: Op, arguments: Arguments) -> np.ndarray:
    return np.array(one(op, arguments).shape, np.int32)


OPERATORS: dict[str, CpuOperator] = {
    **dict.fromkeys(("reshape", "flatten", "squeeze"), _reshape),
    "transpose": _transpose,
    "concat": _concat,
    "stack": _stack,
    "strided_slice": _strided_slice,
    "pad": _pad,
    "pixel-shuffle": _pixel_shuffle,
    "shape": _shape,
}
