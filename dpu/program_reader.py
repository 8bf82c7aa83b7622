"""Read the program of a DPU subgraph out of an integer graph (compiled by AMD's compiler, or made by `dpu.lowering`).

Every shape and attribute is checked and every weight resolved here, so that an engine has nothing left to refuse.
"""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

from dpu.arithmetic import FIX_POINT_RANGE, Activation
from dpu.errors import UnsupportedModelError, XmodelError
from dpu.graph import Graph, Op, Subgraph
from dpu.program import Add, Concat, Convolution, MaxPool, Program, Step, Upsample, Value, output_shape, step_inputs

# Sums are held in int64: 34 bits of accumulator, 8 for the slope, and this many for positions that differ.
_WIDEST_SHIFT = 20


def program_of(graph: Graph, subgraph: Subgraph) -> Program:
    """The program of a DPU subgraph. Raises UnsupportedModelError (names operator and subgraph) or XmodelError."""
    return _Reader(graph, subgraph).read()


class _Reader:
    def __init__(self, graph: Graph, subgraph: Subgraph) -> None:
        self.ops = graph.op_by_name()
        self.subgraph = subgraph
        self.inside = set(subgraph.all_op_names())
        self.order = [op for op in graph.ops if op.name in self.inside]
        self.registers = subgraph.typed("reg_id_to_parameter_value", "map_string_2_bytes", {})
        self.values: dict[str, Value] = {}
        self.inputs: dict[str, Value] = {}
        self.outer_name = {op.input_names()[0]: op.output.name for op in self.order if op.type == "download"}
        read_outside = {name for op in graph.ops if op.name not in self.inside for name in op.input_names()}
        read_at_all = {name for op in graph.ops for name in op.input_names()}
        self.leaves = [op for op in self.order if op.name in read_outside or op.name not in read_at_all]

    def read(self) -> Program:
        steps: list[Step] = []
        named: set[str] = set()
        for op in self.order:
            if op.type == "const-fix":
                continue
            if op.type in ("upload", "download"):
                self.values[op.name] = self.input(op)
                continue
            maker = _MAKERS.get(op.type)
            if maker is None:
                raise self.unsupported(op, f"operator type {op.type!r} is not known to this software DPU")
            step = maker(self, op)
            _check_shape(self, op, step)
            self.values[op.name] = step.output
            if step.output.name in named:
                raise XmodelError(
                    f"two tensors are called {step.output.name!r}; names must be unique. Export it again."
                )
            named.add(step.output.name)
            if not isinstance(step, Convolution):
                self.check_span(op, [step.output.fix_point, *(value.fix_point for value in step_inputs(step))])
            steps.append(step)
        outputs = {op.output.name: self.values[op.name] for op in self.leaves if op.type != "const-fix"}
        if not outputs:
            raise XmodelError(f"subgraph {self.subgraph.name!r} has no output. The file is damaged: export it again.")
        return Program(self.subgraph.name, tuple(self.inputs.values()), outputs, tuple(steps))

    def unsupported(self, op: Op, why: str) -> UnsupportedModelError:
        return UnsupportedModelError(
            f"operator {op.name!r} ({op.type}) in subgraph {self.subgraph.name!r}: {why}. "
            "Change the network so that the DPU can run it, or take a model made for this DPU."
        )

    def output(self, op: Op) -> Value:
        return self._value(op, self.outer_name.get(op.name, op.output.name))

    def _value(self, op: Op, name: str) -> Value:
        tensor = op.output
        if tensor.dtype != "xint8":
            raise self.unsupported(op, f"its tensor is {tensor.dtype}, expected xint8")
        if len(tensor.shape) != 4 or tensor.shape[0] != 1 or min(tensor.shape) < 1:
            raise self.unsupported(op, f"its tensor has shape {list(tensor.shape)}, expected [1, H, W, C]")
        return Value(name, tensor.shape, self._fix_point(op))

    def _fix_point(self, op: Op) -> int:
        fix_point = op.output.typed("fix_point", "int32")
        if fix_point is None or fix_point not in FIX_POINT_RANGE:
            raise self.unsupported(op, f"its tensor has fix point {fix_point}, expected one from -32 to 32")
        return int(fix_point)

    def inputs_of(self, op: Op) -> tuple[Value, ...]:
        names = op.inputs.get("input", [])
        if not names:
            raise self.unsupported(op, "it has no input")
        return tuple(self._resolve(name) for name in names)

    def input(self, op: Op) -> Value:
        values = self.inputs_of(op)
        if len(values) != 1:
            raise self.unsupported(op, f"it has {len(values)} inputs, expected 1")
        return values[0]

    def _resolve(self, name: str) -> Value:
        if name in self.inside:
            if name not in self.values:
                raise self.unsupported(self.ops[name], "a constant is read where an activation is expected")
            return self.values[name]
        if name not in self.inputs:
            self.inputs[name] = self._value(self.ops[name], self.ops[name].output.name)
        return self.inputs[name]

    def constant(self, op: Op, argument: str) -> tuple[np.ndarray, int] | None:
        names = op.inputs.get(argument, [])
        if not names:
            return None
        constant = self.ops[names[0]]
        if len(names) != 1 or constant.type != "const-fix" or constant.output.dtype != "xint8":
            raise self.unsupported(op, f"its {argument} must be one int8 constant")
        shape = constant.output.shape
        size = 1
        for extent in shape:
            size *= extent
        content = constant.typed("data", "bytes", b"") or self._register(constant, size)
        if len(content) != size:
            raise XmodelError(
                f"constant {constant.name!r}: expected {size} bytes for shape {list(shape)}, found {len(content)}. "
                "The file is damaged: export it again."
            )
        return np.frombuffer(content, np.int8).reshape(shape), self._fix_point(constant)

    def _register(self, constant: Op, size: int) -> bytes:
        """The constant's bytes in the compiled parameter block: plain int8 at the tensor's `ddr_addr`."""
        content = self.registers.get(f"REG_{constant.output.typed('reg_id', 'int32', 0)}", b"")
        address = constant.output.typed("ddr_addr", "int32", 0)
        return bytes(content[address : address + size]) if address >= 0 else b""

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
        """The fused activation; LEAKYRELU means slope 26/256."""
        value = op.typed("nonlinear", "string", "") or "NONE"
        for name in allowed:
            if value == name:
                return name
        raise self.unsupported(op, f"activation {value!r} is not known to this software DPU")


def _convolution(reader: _Reader, op: Op) -> Convolution:
    weights = reader.constant(op, "weights")
    if weights is None or weights[0].ndim != 4:
        raise reader.unsupported(op, "its weights must be one int8 constant of shape (O, kh, kw, I)")
    source = reader.input(op)
    kernel_hw = reader.pair(op, "kernel")
    if op.typed("group", "int32", 1) != 1 or weights[0].shape[1:] != (*kernel_hw, source.shape[3]):
        raise reader.unsupported(
            op,
            f"weights {list(weights[0].shape)} with kernel {list(kernel_hw)} and group {op.typed('group', 'int32', 1)} "
            f"do not fit {source.shape[3]} input channels (the DPU has no grouped convolution)",
        )
    if op.typed("pad_mode", "string", "FLOOR") not in (
        "FLOOR",
        "VALID",
    ):  # VALID: pads are 0; the shape check holds both
        raise reader.unsupported(op, f"pad_mode {op.value('pad_mode')!r} is not known to this software DPU")
    bias = reader.constant(op, "bias")
    if bias is not None and bias[0].shape != (weights[0].shape[0],):
        raise reader.unsupported(op, f"bias {list(bias[0].shape)} does not fit {weights[0].shape[0]} output channels")
    output = reader.output(op)
    position = source.fix_point + weights[1]
    reader.check_span(op, [position, output.fix_point, *([bias[1]] if bias else [])])
    return Convolution(
        output,
        source,
        weights[0],
        weights[1],
        bias[0] if bias else None,
        bias[1] if bias else 0,
        reader.pair(op, "stride"),
        reader.pads(op),
        reader.pair(op, "dilation", (1, 1)),
        reader.activation(op, ("NONE", "RELU", "LEAKYRELU")),
    )


def _pool(reader: _Reader, op: Op) -> MaxPool:
    if op.typed("type", "string") != "MAX":
        raise reader.unsupported(op, f"pooling of type {op.value('type')!r} is not known to this software DPU")
    kernel_hw, pad_tblr = reader.pair(op, "kernel"), reader.pads(op)
    if max(pad_tblr[:2]) >= kernel_hw[0] or max(pad_tblr[2:]) >= kernel_hw[1]:
        raise reader.unsupported(op, f"padding {list(pad_tblr)} is not smaller than the kernel {list(kernel_hw)}")
    return MaxPool(reader.output(op), reader.input(op), kernel_hw, reader.pair(op, "stride"), pad_tblr)


def _add(reader: _Reader, op: Op) -> Add:
    if op.typed("type", "string", "ADD") != "ADD":
        raise reader.unsupported(op, f"element-wise {op.value('type')!r} is not known to this software DPU")
    inputs = reader.inputs_of(op)
    if len({value.shape for value in inputs}) != 1:
        raise reader.unsupported(op, f"its inputs have shapes {[list(v.shape) for v in inputs]}, expected equal ones")
    return Add(reader.output(op), inputs, reader.activation(op, ("NONE", "RELU")))


def _concat(reader: _Reader, op: Op) -> Concat:
    axis = op.typed("axis", "int32", 3)
    if axis not in (1, 2, 3):
        raise reader.unsupported(op, f"axis {axis} is not one of 1, 2, 3")
    return Concat(reader.output(op), reader.inputs_of(op), axis)


def _upsample(reader: _Reader, op: Op) -> Upsample:
    scale = op.typed("scale", "float_vec", ())
    plain = op.typed("mode", "string") == "NEAREST" and not op.value("align_corners", False)
    plain = plain and not op.value("half_pixel_centers", False) and not op.inputs.get("size")
    if not plain or len(scale) != 2 or not all(1 <= factor <= 64 and factor == int(factor) for factor in scale):
        raise reader.unsupported(op, "only nearest-neighbour upsampling by whole factors is known to this software DPU")
    return Upsample(reader.output(op), reader.input(op), (int(scale[1]), int(scale[0])))


_MAKERS: dict[str, Callable[[_Reader, Op], Step]] = {
    "conv2d-fix": _convolution,
    "pool-fix": _pool,
    "eltwise-fix": _add,
    "concat-fix": _concat,
    "upsample-fix": _upsample,
}


def _check_shape(reader: _Reader, op: Op, step: Step) -> None:
    shape = output_shape(step)
    if shape != step.output.shape:
        raise XmodelError(
            f"operator {op.name!r} ({op.type}) in subgraph {reader.subgraph.name!r}: its tensor has shape "
            f"{list(step.output.shape)}, but its inputs and attributes give {list(shape)}. Export the model again."
        )
