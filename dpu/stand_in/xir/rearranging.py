"""Shapes of what moves values without computing: reshapes, slices, padding, resizing, tiles."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

import numpy as np

from .op_shapes import axis_of, input_shape, wrong
from .windows import SPATIAL

if TYPE_CHECKING:
    from .op import Op


def _constant(op: Op, argument: str) -> list[int]:
    """The whole numbers that a constant input holds."""
    source = op.get_input_op(argument)
    if not source.has_attr("data"):
        raise wrong(op, f"its {argument} is computed in the network", f"Give the {argument} as a constant.")
    letter = {"int": "i", "uint": "u", "float": "f"}.get(source.get_output_tensor().dtype.rstrip("0123456789"))
    bits = int(source.get_output_tensor().dtype.lstrip("abcdefghijklmnopqrstuvwxyz"))
    if letter is None:
        raise wrong(op, f"its {argument} is of type {source.get_output_tensor().dtype}")
    return [int(value) for value in np.frombuffer(source.get_attr("data"), f"<{letter}{bits // 8}")]


def reshape(op: Op) -> list[int]:
    """The same values under another shape: 0 keeps an extent, -1 takes the rest."""
    shape = input_shape(op)
    wanted = _constant(op, "shape") if op.get_input_num("shape") else list(op.get_attr("shape"))
    result = [shape[i] if n == 0 and i < len(shape) else n for i, n in enumerate(wanted)]
    if op.get_type() == "reshape" and any(n < 0 for n in result):
        rest = math.prod(n for n in result if n > 0)
        result = [math.prod(shape) // rest if n < 0 else n for n in result]
    if math.prod(result) != math.prod(shape):
        raise wrong(op, f"{shape} has {math.prod(shape)} elements, {wanted} has {math.prod(result)}")
    return result


def flatten(op: Op) -> list[int]:
    """Neighbouring axes as one."""
    shape = input_shape(op)
    first, last = (axis_of(op, len(shape), op.get_attr(name)) for name in ("start_axis", "end_axis"))
    if first > last:
        raise wrong(op, f"start_axis {first} lies behind end_axis {last}")
    return [*shape[:first], math.prod(shape[first : last + 1]), *shape[last + 1 :]]


def squeeze(op: Op) -> list[int]:
    """Without the named axes, or without all of extent 1."""
    shape = input_shape(op)
    axes = op.get_attr("axis") or [i for i, extent in enumerate(shape) if extent == 1]
    return [extent for i, extent in enumerate(shape) if i not in axes]


def transpose(op: Op) -> list[int]:
    """The axes in another order."""
    shape, order = input_shape(op), op.get_attr("order")
    return [shape[axis_of(op, len(shape), axis)] for axis in order]


def strided_slice(op: Op) -> list[int]:
    """The values between two bounds of each axis, in steps."""
    for mask in ("begin_mask", "end_mask", "ellipsis_mask", "new_axis_mask", "shrink_axis_mask"):
        if op.has_attr(mask) and op.get_attr(mask):
            raise wrong(op, f"{mask} is not known to this stand-in", "Write begin, end and strides in full.")
    shape, bounds = input_shape(op), [op.get_attr(name) for name in ("begin", "end", "strides")]
    if any(len(bound) != len(shape) for bound in bounds):
        raise wrong(op, f"begin, end and strides {bounds} need one number for each of {len(shape)} axes")
    return [len(range(*slice(*(bound[i] for bound in bounds)).indices(n))) for i, n in enumerate(shape)]


def pad(op: Op) -> list[int]:
    """Values before and after, for each axis."""
    shape, pads = input_shape(op), op.get_attr("paddings")
    if len(pads) != 2 * len(shape):
        raise wrong(op, f"expected two paddings for each of {len(shape)} axes, found {pads}")
    return [extent + pads[2 * i] + pads[2 * i + 1] for i, extent in enumerate(shape)]


def resize(op: Op) -> list[int]:
    """Another size: given as a constant, or by scales, width first."""
    shape = input_shape(op)
    if op.get_input_num("size"):
        size = _constant(op, "size")
        return [shape[0], *size, shape[-1]] if len(size) == len(shape) - 2 else size
    scale = op.get_attr("scale")
    if len(scale) not in (2, 3) or len(scale) != len(shape) - 2 or min(scale) <= 0:
        raise wrong(op, f"expected a positive scale for each of {len(shape) - 2} axes, width first, found {scale}")
    for axis, factor in zip(SPATIAL[len(scale)], scale):  # noqa: B905 (Python 3.9)
        down = op.get_type() == "downsample-fix"
        shape[axis] = math.ceil(shape[axis] / factor) if down else int(np.float32(shape[axis]) * np.float32(factor))
    return shape


def tiles(op: Op) -> list[int]:
    """Blocks of pixels to channels and back."""
    batch, height, width, channels = input_shape(op, rank=4)
    block = op.get_attr("stride" if op.get_type() in ("gstiling", "tile-fix") else "scale")
    # The real one, too, asks pixel-shuffle-fix for `upscale`, which its definition lacks.
    back = op.get_attr("upscale" if op.get_type().startswith("pixel") else "reverse")
    uneven = channels % (block * block) if back else height % block or width % block
    if uneven and not op.get_type().startswith("reorg"):
        raise wrong(op, f"{[batch, height, width, channels]} does not divide into blocks of {block} by {block}")
    if back:
        return [batch, height * block, width * block, channels // (block * block)]
    return [batch, height // block, width // block, channels * block * block]
