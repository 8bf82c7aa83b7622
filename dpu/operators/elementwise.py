"""Sums and products of tensors, element by element; a smaller operand is repeated as numpy does it."""

from __future__ import annotations

from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING

import numpy as np

from dpu.arithmetic import Activation, finish
from dpu.program import Step, Value

if TYPE_CHECKING:
    from dpu.graph import Op
    from dpu.onnx_builder import OnnxBuilder
    from dpu.program_reader import Reader


@dataclass(frozen=True)
class _Elementwise(Step):
    activation: Activation

    def output_shape(self) -> tuple[int, ...]:
        try:
            return tuple(np.broadcast_shapes(*(value.shape for value in self.inputs)))
        except ValueError:
            return ()

    def _operand(self, onnx: OnnxBuilder, value: Value) -> str:
        """The tensor of an input, with as many axes as the output has."""
        missing = len(self.output.shape) - len(value.shape)
        if not missing:
            return onnx.take(value)
        shape = onnx.integers((*[1] * missing, *value.shape))
        return onnx.from_natural(onnx.node("Reshape", [onnx.take_natural(value), shape]), len(self.output.shape))


@dataclass(frozen=True)
class Add(_Elementwise):
    """The sum: exact at the finest input position, then the activation and one rounding."""

    def run(self, *inputs: np.ndarray) -> np.ndarray:
        finest = max(value.fix_point for value in self.inputs)
        total = np.zeros(self.output.shape, np.int64)
        for value, x in zip(self.inputs, inputs):  # noqa: B905 (runs on Python 3.9 too)
            total += x.astype(np.int64) << np.int64(finest - value.fix_point)
        return finish(total, finest, self.output.fix_point, self.activation)

    def build(self, onnx: OnnxBuilder) -> str:
        """Sums of int8 values times powers of two: exact in float32 up to 22 bits, else in float64."""
        target = self.output.fix_point
        positions = [value.fix_point for value in self.inputs]
        wide = 7 + max(*positions, target) - min(positions) + len(self.inputs) > 22
        total = ""
        for value in self.inputs:
            term = self._operand(onnx, value)
            term = onnx.double(term) if wide else term
            if value.fix_point != target:
                term = onnx.node("Mul", [term, onnx.scalar(2.0 ** (target - value.fix_point), wide)])
            total = onnx.node("Add", [total, term]) if total else term
        fraction = max(positions) > target
        return onnx.rounded(total, fraction, target, self.activation, floor=fraction, double=wide)


@dataclass(frozen=True)
class Multiply(_Elementwise):
    """The product of two tensors: exact, at the sum of their positions, then the activation and one rounding."""

    def run(self, *inputs: np.ndarray) -> np.ndarray:
        a, b = inputs
        position = self.inputs[0].fix_point + self.inputs[1].fix_point
        return finish(a.astype(np.int64) * b.astype(np.int64), position, self.output.fix_point, self.activation)

    def build(self, onnx: OnnxBuilder) -> str:
        """A product takes 15 bits and the half at most 20 (the reader's limit), so float32 is exact."""
        shift = self.inputs[0].fix_point + self.inputs[1].fix_point - self.output.fix_point
        product = onnx.node("Mul", [self._operand(onnx, value) for value in self.inputs])
        if shift:
            product = onnx.node("Mul", [product, onnx.scalar(2.0**-shift)])
        return onnx.rounded(product, shift > 0, self.output.fix_point, self.activation, floor=shift > 0)


def _read(reader: Reader, op: Op, default: str, allowed: tuple[Activation, ...]) -> tuple[Step, ...]:
    kind = op.typed("type", "string", default)
    inputs, output = reader.inputs_of(op), reader.output(op)
    activation = reader.activation(op, allowed)
    if kind not in ("ADD", "MUL"):
        raise reader.unsupported(op, f"element-wise {kind!r} is not known to this software DPU")
    if kind == "MUL" and len(inputs) != 2:
        raise reader.unsupported(op, f"it multiplies {len(inputs)} tensors, expected 2")
    shapes = [list(value.shape) for value in inputs]
    if len(inputs) > 2 and any(shape != shapes[0] for shape in shapes):
        raise reader.unsupported(op, f"its inputs have shapes {shapes}, expected equal ones")
    positions = [value.fix_point for value in inputs]
    reader.check_span(op, [output.fix_point, *([sum(positions)] if kind == "MUL" else positions)])
    return ((Add if kind == "ADD" else Multiply)(output, inputs, activation),)


READERS = {
    "eltwise-fix": partial(_read, default="ADD", allowed=("NONE", "RELU", "RELU6")),
    "depthwise-fix": partial(_read, default="MUL", allowed=("NONE",)),
}
