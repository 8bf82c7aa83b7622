"""Functions of one int8 value: hard sigmoid and hard swish, as tables of all 256 results.

Alone (`hard-sigmoid-fix`), or fused behind a convolution, whose sum is rounded to int8 before (at position
`hsigmoid_in`), as the quantiser and AMD's public executor both have it.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from dpu.arithmetic import Activation, hard_sigmoid, hard_swish
from dpu.program import Step, Value

if TYPE_CHECKING:
    from dpu.graph import Op
    from dpu.onnx_builder import OnnxBuilder
    from dpu.program_reader import Reader

_ALL_INT8 = np.arange(256, dtype=np.uint8).view(np.int8)  # 0 ... 127, -128 ... -1: also what a negative index means
_UNSET = -128  # AMD's default of the shift attributes


@dataclass(frozen=True)
class Lookup(Step):
    """table[x] for each value x; the int8 table (256,) has the results of 0 ... 127, then of -128 ... -1."""

    table: np.ndarray

    def output_shape(self) -> tuple[int, ...]:
        return self.input.shape

    def run(self, *inputs: np.ndarray) -> np.ndarray:
        (x,) = inputs
        found: np.ndarray = self.table[x.view(np.uint8)]
        return found

    def build(self, onnx: OnnxBuilder) -> str:
        index = onnx.index(onnx.take(self.input))
        return onnx.node("Gather", [onnx.constant(self.table.astype(np.float32)), index])


def fused_activation(reader: Reader, op: Op, output: Value) -> tuple[Value, Activation, tuple[Step, ...]]:
    """What a convolution rounds to, the activation before that rounding, and the steps after it.

    LEAKYRELU means slope 26/256.
    """
    kind = op.typed("nonlinear", "string", "") or "NONE"
    if kind not in ("HSIGMOID", "HSWISH"):
        return output, reader.activation(op, ("NONE", "RELU", "RELU6", "LEAKYRELU")), ()
    fix_point, table = _table(reader, op, kind)
    for key in ("shift_cut", "shift_bias"):
        if key in op.attrs:
            _check_shift(reader, op, key, fix_point)
    rounded = Value(f"{output.name} before {kind}", output.shape, fix_point)
    return rounded, "NONE", (Lookup(output, (rounded,), table),)


def _table(reader: Reader, op: Op, kind: str) -> tuple[int, np.ndarray]:
    """The position of the int8 values that go in, and all results."""
    fix_point = _attribute(reader, op, "hsigmoid_in", 15)
    sigmoid_shift = _attribute(reader, op, "shift_hsigmoid", 31)
    if kind == "HSIGMOID":
        return fix_point, hard_sigmoid(_ALL_INT8, fix_point, sigmoid_shift)
    return fix_point, hard_swish(_ALL_INT8, fix_point, sigmoid_shift, _attribute(reader, op, "shift_hswish", 31))


def _attribute(reader: Reader, op: Op, key: str, largest: int) -> int:
    value = op.typed(key, "int32", _UNSET)
    if not 0 <= value <= largest:
        raise reader.unsupported(op, f"attribute {key} is {value}, expected a whole number from 0 to {largest}")
    return int(value)


def _check_shift(reader: Reader, op: Op, key: str, fix_point: int) -> None:
    """Refuse shifts that contradict the fix points that they are made from."""
    constants = [reader.constant(op, argument) for argument in ("weights", "bias")]
    positions = [constant[1] for constant in constants if constant]
    if key == "shift_bias" and len(positions) < 2:
        return
    expected = reader.input(op).fix_point + positions[0] - (fix_point if key == "shift_cut" else positions[1])
    if op.typed(key, "int32") != expected:
        raise reader.unsupported(op, f"attribute {key} is {op.value(key)}, but its fix points give {expected}")


def _hard_sigmoid(reader: Reader, op: Op) -> tuple[Step, ...]:
    source = reader.input(op)
    fix_point, table = _table(reader, op, "HSIGMOID")
    if fix_point != source.fix_point:
        raise reader.unsupported(op, f"hsigmoid_in is {fix_point}, but its input has fix point {source.fix_point}")
    return (Lookup(reader.output(op), (source,), table),)


READERS = {"hard-sigmoid-fix": _hard_sigmoid}
