"""Operators that only move values: constants, concat, reshape, slice."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from dpu.arithmetic import requantise
from dpu.program import Step, Value

if TYPE_CHECKING:
    from dpu.graph import Op
    from dpu.onnx_builder import OnnxBuilder
    from dpu.program_reader import Reader


@dataclass(frozen=True)
class Constant(Step):
    """An int8 constant that is read as an activation: an operand of a sum, for instance."""

    array: np.ndarray

    def output_shape(self) -> tuple[int, ...]:
        return self.array.shape

    def run(self, *inputs: np.ndarray) -> np.ndarray:
        return self.array

    def build(self, onnx: OnnxBuilder) -> str:
        return onnx.from_natural(onnx.constant(self.array.astype(np.float32)), self.array.ndim)


@dataclass(frozen=True)
class Concat(Step):
    """Tensors joined along an axis, each moved to the output's position first."""

    axis: int

    def output_shape(self) -> tuple[int, ...]:
        shape = list(self.input.shape)
        for value in self.inputs[1:]:
            others = (a for a in range(len(shape)) if a != self.axis)
            if len(value.shape) != len(shape) or any(value.shape[a] != shape[a] for a in others):
                return ()
            shape[self.axis] += value.shape[self.axis]
        return tuple(shape)

    def run(self, *inputs: np.ndarray) -> np.ndarray:
        target = self.output.fix_point
        moved = [requantise(x, value.fix_point, target) for value, x in zip(self.inputs, inputs)]  # noqa: B905
        return np.concatenate(moved, axis=self.axis)

    def build(self, onnx: OnnxBuilder) -> str:
        target = self.output.fix_point
        parts = [onnx.moved(onnx.take(value), value.fix_point, target) for value in self.inputs]
        return onnx.node("Concat", parts, axis=onnx.axis(self.output, self.axis))


@dataclass(frozen=True)
class Rearrange(Step):
    """The input reshaped to `split`, its axes then put into `order`, then reshaped to the output's shape."""

    split: tuple[int, ...]
    order: tuple[int, ...]

    def output_shape(self) -> tuple[int, ...]:
        """What was declared, where the number of values is the same."""
        same = math.prod(self.input.shape) == math.prod(self.split) == math.prod(self.output.shape)
        return self.output.shape if same else ()

    def run(self, *inputs: np.ndarray) -> np.ndarray:
        (x,) = inputs
        return x.reshape(self.split).transpose(self.order).reshape(self.output.shape)

    def build(self, onnx: OnnxBuilder) -> str:
        tensor = onnx.take_natural(self.input)
        if self.order != tuple(range(len(self.order))):
            tensor = onnx.node("Reshape", [tensor, onnx.integers(self.split)])
            tensor = onnx.node("Transpose", [tensor], perm=self.order)
        tensor = onnx.node("Reshape", [tensor, onnx.integers(self.output.shape)])
        return onnx.from_natural(tensor, len(self.output.shape))


@dataclass(frozen=True)
class Slice(Step):
    """Along each axis every stride-th value from begin (0 or more) to before end."""

    begin: tuple[int, ...]
    end: tuple[int, ...]
    strides: tuple[int, ...]

    def _ranges(self) -> list[range]:
        return [range(*bounds) for bounds in zip(self.begin, self.end, self.strides)]  # noqa: B905

    def output_shape(self) -> tuple[int, ...]:
        return tuple(len(indices) for indices in self._ranges())

    def run(self, *inputs: np.ndarray) -> np.ndarray:
        (x,) = inputs
        return x[tuple(slice(r.start, r.stop, r.step) for r in self._ranges())]

    def build(self, onnx: OnnxBuilder) -> str:
        axes = tuple(onnx.axis(self.input, axis) for axis in range(len(self.begin)))
        bounds = [onnx.integers(numbers) for numbers in (self.begin, self.end, axes, self.strides)]
        return onnx.node("Slice", [onnx.take(self.input), *bounds])


def _concat(reader: Reader, op: Op) -> tuple[Step, ...]:
    inputs, output = reader.inputs_of(op), reader.output(op)
    rank = len(inputs[0].shape)
    axis = op.typed("axis", "int32", 3)
    if not -rank <= axis < rank:
        raise reader.unsupported(op, f"axis {axis} is not one of its input's {rank}")
    reader.check_span(op, [output.fix_point, *(value.fix_point for value in inputs)])
    return (Concat(output, inputs, axis % rank),)


def same_grid(reader: Reader, op: Op) -> tuple[Value, Value]:
    """The output and the one input; AMD's public code copies bytes, so another position would change the values."""
    source, output = reader.input(op), reader.output(op)
    if source.fix_point != output.fix_point:
        raise reader.unsupported(op, f"it moves fix point {source.fix_point} to {output.fix_point}, expected no change")
    return output, source


def _reshape(reader: Reader, op: Op) -> tuple[Step, ...]:
    """The tensor tells the new shape; the attribute may hold it with 0 and -1 for what is the same or follows."""
    output, source = same_grid(reader, op)
    shape = op.typed("shape", "int32_vec")
    if shape is not None:
        fixed = [(i, extent) for i, extent in enumerate(shape) if extent > 0]
        if len(shape) != len(output.shape) or any(output.shape[i] != extent for i, extent in fixed):
            raise reader.unsupported(op, f"attribute shape is {list(shape)}, its tensor has {list(output.shape)}")
    return (Rearrange(output, (source,), source.shape, tuple(range(len(source.shape)))),)


def _slice(reader: Reader, op: Op) -> tuple[Step, ...]:
    output, source = same_grid(reader, op)
    begin, end, strides = (op.typed(key, "int32_vec", ()) for key in ("begin", "end", "strides"))
    rank = len(source.shape)
    masks = [key for key, attr in op.attrs.items() if key.endswith("_mask") and attr.value]
    if {len(begin), len(end), len(strides)} != {rank} or min(strides) < 1 or masks:
        raise reader.unsupported(
            op, f"begin {begin}, end {end}, strides {strides}, masks {masks}: expected {rank} each, forwards, no mask"
        )
    ranges = [slice(*bounds).indices(size) for *bounds, size in zip(begin, end, strides, source.shape)]  # noqa: B905
    starts, stops, steps = (tuple(numbers) for numbers in zip(*ranges))  # noqa: B905
    return (Slice(output, (source,), starts, stops, steps),)


READERS = {
    "concat-fix": _concat,
    "reshape-fix": _reshape,
    "strided_slice-fix": _slice,
}
