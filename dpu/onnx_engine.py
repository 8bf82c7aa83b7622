"""The fast engine: a whole program as ONE ONNX Runtime graph, with results proven equal to whole-number arithmetic.

Inside, activations are float32 tensors that hold whole numbers from -128 to 127, NCHW. Scales are powers of two and
sit in the weights, so a convolution needs only Floor and Clip after it (`dpu.exactness` proves when that is exact and
gives another way when it is not). Inputs and outputs are int8 NHWC.
"""

from __future__ import annotations

import threading
from collections.abc import Mapping
from typing import Any

import numpy as np
import onnx
import onnxruntime
from onnx import TensorProto, helper, numpy_helper

from dpu.arithmetic import LEAKY_SLOPE
from dpu.exactness import plan
from dpu.program import Add, Concat, Convolution, MaxPool, Program, Step, Value

_OPSET, _IR_VERSION = 17, 8
_LARGE = 1024  # elements from which a constant is handed over apart from the model


class OnnxEngine:
    """Runs a program in one ONNX Runtime session for each set of wanted tensors. Threads may share it."""

    name = "onnxruntime"

    def __init__(self, program: Program, threads: int = 1) -> None:
        self._program = program
        self._threads = threads
        self._sessions: dict[tuple[str, ...], onnxruntime.InferenceSession] = {}
        self._lock = threading.Lock()

    def run(self, inputs: Mapping[str, np.ndarray], names: tuple[str, ...]) -> dict[str, np.ndarray]:
        """The named int8 tensors (values of the program or its outputs) for int8 inputs by name."""
        session = self._session(names)
        values = self._program.values()
        feeds = {value.name: inputs[value.name] for value in self._program.inputs}
        known = {f"out:{values[name].name}" for name in names}
        wanted = sorted(known)
        held = dict(zip(wanted, session.run(wanted, feeds)))  # noqa: B905 (runs on Python 3.9 too)
        return {name: held[f"out:{values[name].name}"] for name in names}

    def prepare(self, names: tuple[str, ...]) -> None:
        """Make the session that `run` with these names uses."""
        self._session(names)

    def _session(self, names: tuple[str, ...]) -> onnxruntime.InferenceSession:
        with self._lock:
            if names not in self._sessions:
                values = self._program.values()
                model, large = model_of(self._program, [values[name] for name in names])
                options = onnxruntime.SessionOptions()
                options.intra_op_num_threads = self._threads
                options.inter_op_num_threads = 1
                options.log_severity_level = 3
                as_values = [onnxruntime.OrtValue.ortvalue_from_numpy(array) for array in large.values()]
                options.add_external_initializers(list(large), as_values)
                self._sessions[names] = onnxruntime.InferenceSession(
                    model.SerializeToString(), options, providers=["CPUExecutionProvider"]
                )
            return self._sessions[names]


def model_of(program: Program, wanted: list[Value]) -> tuple[onnx.ModelProto, dict[str, np.ndarray]]:
    """The ONNX model of a program that gives the wanted values as int8 NHWC, named `out:NAME`.

    Large weights stand beside it by name, as external initializers: a model of 250 MB would be copied several times.
    """
    builder = _Builder(program)
    return builder.build(wanted), builder.large


class _Builder:
    def __init__(self, program: Program) -> None:
        self.program = program
        self.nodes: list[onnx.NodeProto] = []
        self.constants: list[TensorProto] = []
        self.large: dict[str, np.ndarray] = {}
        self.scalars: dict[tuple[float, bool], str] = {}
        self.held: dict[str, str] = {}  # program value -> ONNX tensor, float32 NCHW

    def build(self, wanted: list[Value]) -> onnx.ModelProto:
        inputs = []
        for value in self.program.inputs:
            inputs.append(helper.make_tensor_value_info(value.name, TensorProto.INT8, value.shape))
            as_float = self.node("Cast", [value.name], to=TensorProto.FLOAT)
            self.held[value.name] = self.node("Transpose", [as_float], perm=(0, 3, 1, 2))
        for step in self.program.steps:
            self.held[step.output.name] = self.step(step)
        outputs = []
        for value in {value.name: value for value in wanted}.values():
            as_int8 = self.node("Cast", [self.held[value.name]], to=TensorProto.INT8)
            name = f"out:{value.name}"
            self.nodes.append(helper.make_node("Transpose", [as_int8], [name], perm=(0, 2, 3, 1)))
            outputs.append(helper.make_tensor_value_info(name, TensorProto.INT8, value.shape))
        graph = helper.make_graph(self.nodes, "dpu", inputs, outputs, self.constants)
        opset = [helper.make_opsetid("", _OPSET)]
        return helper.make_model(graph, opset_imports=opset, ir_version=_IR_VERSION)

    def node(self, kind: str, inputs: list[str], **attributes: Any) -> str:
        name = f"t{len(self.nodes)}"
        self.nodes.append(helper.make_node(kind, inputs, [name], **attributes))
        return name

    def constant(self, array: np.ndarray) -> str:
        name = f"c{len(self.constants)}"
        array = np.ascontiguousarray(array)
        if array.size < _LARGE:
            self.constants.append(numpy_helper.from_array(array, name))
            return name
        self.large[name] = array
        outside = TensorProto(name=name, dims=array.shape, data_type=helper.np_dtype_to_tensor_dtype(array.dtype))
        outside.data_location = TensorProto.EXTERNAL
        outside.external_data.add(key="location", value=name)
        self.constants.append(outside)
        return name

    def scalar(self, value: float, double: bool = False) -> str:
        key = (value, double)
        if key not in self.scalars:
            self.scalars[key] = self.constant(np.array(value, np.float64 if double else np.float32))
        return self.scalars[key]

    def step(self, step: Step) -> str:
        if isinstance(step, Convolution):
            return self.convolution(step)
        target = step.output.fix_point
        if isinstance(step, MaxPool):
            top, bottom, left, right = step.pad_tblr
            pooled = self.node(
                "MaxPool",
                [self.held[step.input.name]],
                kernel_shape=step.kernel_hw,
                strides=step.stride_hw,
                pads=(top, left, bottom, right),
            )
            return self.moved(pooled, step.input.fix_point, target)
        if isinstance(step, Add):
            return self.add(step)
        if isinstance(step, Concat):
            parts = [self.moved(self.held[value.name], value.fix_point, target) for value in step.inputs]
            return self.node("Concat", parts, axis={1: 2, 2: 3, 3: 1}[step.axis])
        scales = self.constant(np.array([1, 1, *step.scale_hw], np.float32))
        enlarged = self.node(
            "Resize",
            [self.held[step.input.name], "", scales],
            mode="nearest",
            nearest_mode="floor",
            coordinate_transformation_mode="asymmetric",
        )
        return self.moved(enlarged, step.input.fix_point, target)

    def moved(self, tensor: str, fix_point: int, target: int) -> str:
        """A tensor on another grid; int8 values times a power of two (at most 2^20) are exact in float32."""
        if fix_point == target:
            return tensor
        scaled = self.node("Mul", [tensor, self.scalar(2.0 ** (target - fix_point))])
        return self.rounded(scaled, target < fix_point, "NONE")

    def rounded(self, tensor: str, needs_half: bool, activation: str, floor: bool = True, double: bool = False) -> str:
        """clip(floor(x + 1/2)); ReLU is the lower limit of the clip. `floor` False where x is whole already."""
        if needs_half:
            tensor = self.node("Add", [tensor, self.scalar(0.5, double)])
        if floor:
            tensor = self.node("Floor", [tensor])
        low = self.scalar(0.0 if activation == "RELU" else -128.0, double)
        return self.node("Clip", [tensor, low, self.scalar(127.0, double)])

    def add(self, step: Add) -> str:
        """Sums of int8 values times powers of two: exact in float32 up to 22 bits, else in float64 (`wide`)."""
        target = step.output.fix_point
        finest = max(value.fix_point for value in step.inputs)
        spread = max(finest, target) - min(value.fix_point for value in step.inputs)
        wide = 7 + spread + len(step.inputs) > 22
        total = ""
        for value in step.inputs:
            term = self.held[value.name]
            if wide:
                term = self.node("Cast", [term], to=TensorProto.DOUBLE)
            if value.fix_point != target:
                term = self.node("Mul", [term, self.scalar(2.0 ** (target - value.fix_point), wide)])
            total = self.node("Add", [total, term]) if total else term
        fraction = finest > target
        result = self.rounded(total, fraction, step.activation, floor=fraction, double=wide)
        return self.node("Cast", [result], to=TensorProto.FLOAT) if wide else result

    def convolution(self, step: Convolution) -> str:
        way = plan(step)
        top, bottom, left, right = step.pad_tblr
        attributes: dict[str, Any] = {
            "kernel_shape": step.weights.shape[1:3],
            "strides": step.stride_hw,
            "pads": (top, left, bottom, right),
            "dilations": step.dilation_hw,
        }
        position = step.input.fix_point + step.weights_fix_point
        target = step.output.fix_point
        source = self.held[step.input.name]
        weights = step.weights.transpose(0, 3, 1, 2).astype(np.float32)  # OHWI -> OIHW
        bias = np.zeros(weights.shape[0]) if step.bias is None else step.bias * 2.0 ** (target - step.bias_fix_point)
        leaky = step.activation == "LEAKYRELU"
        if way.float32:
            scaled = self.constant(weights * np.float32(2.0 ** (target - position)))
            offset = self.constant((bias + way.half).astype(np.float32))
            total = self.node("Conv", [source, scaled, offset], **attributes)
            if leaky:
                total = self.node("LeakyRelu", [total], alpha=LEAKY_SLOPE)
            return self.rounded(total, leaky, step.activation, floor=leaky or way.shift > 0)
        total = ""
        for first, end in way.channel_groups:
            part = source
            if len(way.channel_groups) > 1:
                bounds = [self.constant(np.array([number], np.int64)) for number in (first, end, 1)]
                part = self.node("Slice", [source, *bounds])
            part = self.node("Conv", [part, self.constant(weights[:, first:end])], **attributes)
            part = self.node("Cast", [part], to=TensorProto.DOUBLE)
            total = self.node("Add", [total, part]) if total else part
        total = self.node("Mul", [total, self.scalar(2.0 ** (target - position), True)])
        total = self.node("Add", [total, self.constant(bias.reshape(1, -1, 1, 1).astype(np.float64))])
        if leaky:
            total = self.node("Max", [total, self.node("Mul", [total, self.scalar(LEAKY_SLOPE, True)])])
        return self.node("Cast", [self.rounded(total, True, step.activation, double=True)], to=TensorProto.FLOAT)
