"""The largest value along axes, and where it stands."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from dpu.arithmetic import requantise
from dpu.program import Step

if TYPE_CHECKING:
    from dpu.graph import Op
    from dpu.onnx_builder import OnnxBuilder
    from dpu.program_reader import Reader


@dataclass(frozen=True)
class ReduceMax(Step):
    """The maximum over some axes, which stay with one value each or go."""

    axes: tuple[int, ...]
    keep_dims: bool

    def output_shape(self) -> tuple[int, ...]:
        shape = self.input.shape
        kept = [1 if axis in self.axes else shape[axis] for axis in range(len(shape))]
        return tuple(kept if self.keep_dims else (shape[a] for a in range(len(shape)) if a not in self.axes))

    def run(self, *inputs: np.ndarray) -> np.ndarray:
        (x,) = inputs
        largest = x.max(axis=self.axes, keepdims=self.keep_dims)
        return requantise(largest, self.input.fix_point, self.output.fix_point)

    def build(self, onnx: OnnxBuilder) -> str:
        source = onnx.take_natural(self.input)
        largest = onnx.node("ReduceMax", [source], axes=self.axes, keepdims=int(self.keep_dims))
        largest = onnx.from_natural(largest, len(self.output.shape))
        return onnx.moved(largest, self.input.fix_point, self.output.fix_point)


@dataclass(frozen=True)
class ArgMax(Step):
    """The index of the maximum along an axis, the first of equal ones."""

    axis: int

    def output_shape(self) -> tuple[int, ...]:
        return tuple(1 if axis == self.axis else size for axis, size in enumerate(self.input.shape))

    def run(self, *inputs: np.ndarray) -> np.ndarray:
        (x,) = inputs
        return np.expand_dims(x.argmax(axis=self.axis), self.axis).astype(np.int8)

    def build(self, onnx: OnnxBuilder) -> str:
        found = onnx.node("ArgMax", [onnx.take(self.input)], axis=onnx.axis(self.input, self.axis), keepdims=1)
        return onnx.single(found)


def _reduce_max(reader: Reader, op: Op) -> tuple[Step, ...]:
    source, output = reader.input(op), reader.output(op)
    rank, axes = len(source.shape), op.typed("axis", "int32_vec", ())
    keep_dims = op.typed("keep_dims", "bool", False)
    if not axes or not all(-rank <= axis < rank for axis in axes):
        raise reader.unsupported(op, f"attribute axis is {list(axes)}, expected some of its input's {rank} axes")
    reader.check_span(op, [source.fix_point, output.fix_point])
    return (ReduceMax(output, (source,), tuple(sorted({axis % rank for axis in axes})), keep_dims),)


def _arg_max(reader: Reader, op: Op) -> tuple[Step, ...]:
    source, output = reader.input(op), reader.output(op)
    rank, axis = len(source.shape), op.typed("axis", "int32")
    if axis is None or not -rank <= axis < rank:
        raise reader.unsupported(op, f"attribute axis is {axis}, expected one of its input's {rank} axes")
    if output.fix_point != 0 or source.shape[axis] > 128:
        raise reader.unsupported(
            op, f"indices of {source.shape[axis]} values at fix point {output.fix_point} do not fit int8 whole numbers"
        )
    return (ArgMax(output, (source,), axis % rank),)


READERS = {"reduction_max-fix": _reduce_max, "argmax-fix": _arg_max}
