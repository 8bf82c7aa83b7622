"""Read the program of a DPU subgraph out of an integer graph (compiled by AMD's compiler, or made by `dpu.lowering`).

Every shape and attribute is checked and every weight resolved here, so that an engine has nothing left to refuse.
"""

from __future__ import annotations

import math
from collections.abc import Callable

import numpy as np

from dpu.architecture import FAMILY, decode_fingerprint
from dpu.arithmetic import FIX_POINT_RANGE, Activation
from dpu.errors import UnsupportedModelError, XmodelError
from dpu.graph import Graph, Op, Subgraph
from dpu.operators import blocks, convolution, elementwise, lookup, movement, padding, pooling, reduction, resizing
from dpu.program import Program, Step, Value

# Sums are held in int64: 34 bits of accumulator, 8 for the slope, and this many for positions that differ.
_WIDEST_SHIFT = 20
_LARGEST_TENSOR = 2**30  # bytes; a ZCU104 has 2^31


def program_of(graph: Graph, subgraph: Subgraph) -> Program:
    """The program of a DPU subgraph. Raises UnsupportedModelError (names operator and subgraph) or XmodelError."""
    return Reader(graph, subgraph).read()


class Reader:
    """Resolves the inputs, constants and attributes of a subgraph's operators, refusing what contradicts itself."""

    def __init__(self, graph: Graph, subgraph: Subgraph) -> None:
        self.ops = graph.op_by_name()
        self.subgraph = subgraph
        self.inside = set(subgraph.all_op_names())
        self.order = [op for op in graph.ops if op.name in self.inside]
        self.registers = subgraph.typed("reg_id_to_parameter_value", "map_string_2_bytes", {})
        self.values: dict[str, Value] = {}
        self.inputs: dict[str, Value] = {}
        self.steps: list[Step] = []
        self.named: set[str] = set()
        downloads = [op for op in self.order if op.type == "download"]
        self.outer_name = {name: op.output.name for op in downloads for name in op.input_names()}
        read_outside = {name for op in graph.ops if op.name not in self.inside for name in op.input_names()}
        read_at_all = {name for op in graph.ops for name in op.input_names()}
        self.leaves = [op for op in self.order if op.name in read_outside or op.name not in read_at_all]

    def read(self) -> Program:
        """The whole program."""
        self._check_family()
        for op in self.order:
            if op.type == "const-fix":
                continue
            if op.type in ("upload", "download"):
                self.values[op.name] = self.input(op)
                continue
            read = _READERS.get(op.type)
            if read is None:
                raise self.unsupported(op, f"operator type {op.type!r} is not known to this software DPU")
            for step in read(self, op):
                self._append(op, step)
            self.values[op.name] = step.output
        outputs = {op.output.name: self.values[op.name] for op in self.leaves if op.type != "const-fix"}
        if not outputs:
            raise XmodelError(f"subgraph {self.subgraph.name!r} has no output. The file is damaged: export it again.")
        return Program(self.subgraph.name, tuple(self.inputs.values()), outputs, tuple(self.steps))

    def _check_family(self) -> None:
        fingerprint = self.subgraph.fingerprint
        name = self.subgraph.typed("dpu_name", "string", "")
        family = decode_fingerprint(fingerprint).family if fingerprint else name.split("_")[0] or FAMILY
        if family != FAMILY:
            raise UnsupportedModelError(
                f"subgraph {self.subgraph.name!r}: expected a model for {FAMILY}, found one for {family}, whose "
                "weights lie in another order. Compile it for a ZCU104, or run its quantised source (*_int.xmodel)."
            )

    def _append(self, op: Op, step: Step) -> None:
        shape = step.output_shape()
        if shape != step.output.shape:
            raise self.contradicting(op, shape)
        self._claim(step.output.name)
        self.steps.append(step)

    def _claim(self, name: str) -> None:
        if name in self.named:
            raise XmodelError(f"two tensors are called {name!r}; names must be unique. Export it again.")
        self.named.add(name)

    def unsupported(self, op: Op, why: str) -> UnsupportedModelError:
        return UnsupportedModelError(
            f"operator {op.name!r} ({op.type}) in subgraph {self.subgraph.name!r}: {why}. "
            "Change the network so that the DPU can run it, or take a model made for this DPU."
        )

    def contradicting(self, op: Op, shape: tuple[int, ...]) -> XmodelError:
        """The error for an operator whose inputs and attributes give another shape than its tensor has."""
        return XmodelError(
            f"operator {op.name!r} ({op.type}) in subgraph {self.subgraph.name!r}: its tensor has shape "
            f"{list(op.output.shape)}, but its inputs and attributes give {list(shape)}. Export the model again."
        )

    def output(self, op: Op) -> Value:
        """The operator's output tensor."""
        return self._value(op, self.outer_name.get(op.name, op.output.name))

    def _value(self, op: Op, name: str) -> Value:
        tensor = op.output
        if tensor.dtype != "xint8":
            raise self.unsupported(op, f"its tensor is {tensor.dtype}, expected xint8")
        if not tensor.shape or min(tensor.shape) < 1 or math.prod(tensor.shape) > _LARGEST_TENSOR:
            raise self.unsupported(op, f"its tensor has shape {list(tensor.shape)}, expected 1 to 2^30 values")
        return Value(name, tensor.shape, self._fix_point(op))

    def _fix_point(self, op: Op) -> int:
        fix_point = op.output.typed("fix_point", "int32")
        if fix_point is None or fix_point not in FIX_POINT_RANGE:
            raise self.unsupported(op, f"its tensor has fix point {fix_point}, expected one from -32 to 32")
        return int(fix_point)

    def inputs_of(self, op: Op) -> tuple[Value, ...]:
        """The tensors that an operator reads as `input`, at least one."""
        names = op.inputs.get("input", [])
        if not names:
            raise self.unsupported(op, "it has no input")
        return tuple(self._resolve(name) for name in names)

    def input(self, op: Op) -> Value:
        """The one tensor that an operator reads as `input`."""
        values = self.inputs_of(op)
        if len(values) != 1:
            raise self.unsupported(op, f"it has {len(values)} inputs, expected 1")
        return values[0]

    def picture(self, op: Op) -> Value:
        """The one tensor that an operator reads, which must have shape (1, H, W, C)."""
        value = self.input(op)
        if len(value.shape) != 4 or value.shape[0] != 1:
            raise self.unsupported(op, f"its input has shape {list(value.shape)}, expected [1, H, W, C]")
        return value

    def _resolve(self, name: str) -> Value:
        op = self.ops[name]
        if name in self.inside:
            if name not in self.values:
                content, fix_point = self._content(op)
                value = Value(op.output.name, content.shape, fix_point)
                self._append(op, movement.Constant(value, (), content))
                self.values[name] = value
            return self.values[name]
        if name not in self.inputs:
            value = self._value(op, op.output.name)
            if value.shape[0] != 1:
                raise self.unsupported(op, f"its tensor has shape {list(value.shape)}, expected batch 1: [1, ...]")
            self._claim(value.name)
            self.inputs[name] = value
        return self.inputs[name]

    def constant(self, op: Op, argument: str) -> tuple[np.ndarray, int] | None:
        """The int8 constant that an operator reads as an argument, and its fix point; None where it reads none."""
        names = op.inputs.get(argument, [])
        if not names:
            return None
        constant = self.ops[names[0]]
        if len(names) != 1 or constant.type != "const-fix" or constant.output.dtype != "xint8":
            raise self.unsupported(op, f"its {argument} must be one int8 constant")
        return self._content(constant)

    def _content(self, constant: Op) -> tuple[np.ndarray, int]:
        shape, size = constant.output.shape, math.prod(constant.output.shape)
        content = constant.typed("data", "bytes", b"") or self._register(constant, size)
        if len(content) != size or 0 in shape or constant.output.dtype != "xint8":
            raise XmodelError(
                f"constant {constant.name!r}: expected {size} bytes of xint8 for shape {list(shape)}, found "
                f"{len(content)} of {constant.output.dtype}. The file is damaged: export it again."
            )
        return np.frombuffer(content, np.int8).reshape(shape), self._fix_point(constant)

    def _register(self, constant: Op, size: int) -> bytes:
        """The constant's bytes in the compiled parameter block: plain int8 at the tensor's `ddr_addr`."""
        content = self.registers.get(f"REG_{constant.output.typed('reg_id', 'int32', 0)}", b"")
        address = constant.output.typed("ddr_addr", "int32")
        return b"" if address is None or address < 0 else bytes(content[address : address + size])

    def pair(self, op: Op, key: str, default: tuple[int, int] | None = None) -> tuple[int, int]:
        """A {w, h} attribute as (h, w)."""
        value = op.typed(key, "int32_vec", default[::-1] if default else None)
        if value is None or len(value) != 2 or not all(1 <= v <= 256 for v in value):
            raise self.unsupported(op, f"attribute {key} is {value}, expected two whole numbers from 1 to 256")
        return value[1], value[0]

    def pads(self, op: Op) -> tuple[int, int, int, int]:
        """The {left, right, top, bottom} attribute as (top, bottom, left, right)."""
        value = op.typed("pad", "int32_vec", (0, 0, 0, 0))
        if len(value) != 4 or not all(0 <= v <= 255 for v in value):
            raise self.unsupported(op, f"attribute pad is {value}, expected four whole numbers from 0 to 255")
        return value[2], value[3], value[0], value[1]

    def check_span(self, op: Op, positions: list[int]) -> None:
        """Refuse positions so far apart that an exact sum would not fit 64 bits; the quantiser keeps within 16."""
        if max(positions) - min(positions) > _WIDEST_SHIFT:
            raise self.unsupported(op, f"its fix points {positions} lie more than {_WIDEST_SHIFT} bits apart")

    def activation(self, op: Op, allowed: tuple[Activation, ...]) -> Activation:
        """The fused activation, one of those allowed."""
        value = op.typed("nonlinear", "string", "") or "NONE"
        for name in allowed:
            if value == name:
                return name
        raise self.unsupported(op, f"activation {value!r} is not known to this software DPU")


_READERS: dict[str, Callable[[Reader, Op], tuple[Step, ...]]] = {}
for _family in (convolution, pooling, elementwise, movement, blocks, resizing, padding, lookup, reduction):
    _READERS |= _family.READERS
