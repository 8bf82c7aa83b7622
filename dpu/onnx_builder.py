"""Build the ONNX graph of a program, step by step.

Activations are float32 tensors that hold whole numbers from -128 to 127. Those with four axes are kept as NCHW (the
layout that ONNX Runtime convolves in), all others in the order that the program's values have.
"""

from __future__ import annotations

from typing import Any

import numpy as np
import onnx
from onnx import TensorProto, helper, numpy_helper

from dpu.arithmetic import Activation, limits
from dpu.program import Program, Value

_OPSET, _IR_VERSION = 17, 8
_LARGE = 1024  # elements from which a constant is handed over apart from the model
_TO_NCHW, _TO_NHWC = (0, 3, 1, 2), (0, 2, 3, 1)


def model_of(program: Program, wanted: list[Value]) -> tuple[onnx.ModelProto, dict[str, np.ndarray]]:
    """The ONNX model of a program, from inputs `in:NAME` to the wanted values `out:NAME`, int8 in the program's order.

    Large weights stand beside it by name, as external initializers: a model of 250 MB would be copied several times.
    """
    builder = OnnxBuilder()
    return builder.model(program, wanted), builder.large


class OnnxBuilder:
    """Nodes and constants of one graph; `large` holds the constants that are handed over apart from it."""

    def __init__(self) -> None:
        self.large: dict[str, np.ndarray] = {}
        self._nodes: list[onnx.NodeProto] = []
        self._constants: list[TensorProto] = []
        self._scalars: dict[tuple[float, bool], str] = {}
        self._held: dict[str, str] = {}  # program value -> ONNX tensor, in the builder's layout

    def model(self, program: Program, wanted: list[Value]) -> onnx.ModelProto:
        """The whole model, for `model_of`."""
        inputs = []
        for value in program.inputs:
            name = f"in:{value.name}"  # a model's own names may be any, those of the nodes too
            inputs.append(helper.make_tensor_value_info(name, TensorProto.INT8, value.shape))
            self._held[value.name] = self.from_natural(self.single(name), len(value.shape))
        for step in program.steps:
            self._held[step.output.name] = step.build(self)
        outputs = []
        for value in {value.name: value for value in wanted}.values():
            as_int8 = self.node("Cast", [self.take(value)], to=TensorProto.INT8)
            name = f"out:{value.name}"
            self._nodes.append(
                helper.make_node("Transpose", [as_int8], [name], perm=_TO_NHWC)
                if len(value.shape) == 4
                else helper.make_node("Identity", [as_int8], [name])
            )
            outputs.append(helper.make_tensor_value_info(name, TensorProto.INT8, value.shape))
        graph = helper.make_graph(self._nodes, "dpu", inputs, outputs, self._constants)
        opset = [helper.make_opsetid("", _OPSET)]
        return helper.make_model(graph, opset_imports=opset, ir_version=_IR_VERSION)

    def node(self, kind: str, inputs: list[str], **attributes: Any) -> str:
        """Add a node with one output; returns its tensor."""
        name = f"t{len(self._nodes)}"
        self._nodes.append(helper.make_node(kind, inputs, [name], **attributes))
        return name

    def constant(self, array: np.ndarray) -> str:
        """A constant tensor."""
        name = f"c{len(self._constants)}"
        array = np.ascontiguousarray(array)
        if array.size < _LARGE:
            self._constants.append(numpy_helper.from_array(array, name))
            return name
        self.large[name] = array
        outside = TensorProto(name=name, dims=array.shape, data_type=helper.np_dtype_to_tensor_dtype(array.dtype))
        outside.data_location = TensorProto.EXTERNAL
        outside.external_data.add(key="location", value=name)
        self._constants.append(outside)
        return name

    def scalar(self, value: float, double: bool = False) -> str:
        """A float32 or float64 number; the same one is made once."""
        key = (value, double)
        if key not in self._scalars:
            self._scalars[key] = self.constant(np.array(value, np.float64 if double else np.float32))
        return self._scalars[key]

    def integers(self, values: tuple[int, ...]) -> str:
        """An int64 vector: axes, bounds, a shape."""
        return self.constant(np.array(values, np.int64))

    def take(self, value: Value) -> str:
        """The tensor that holds a value of the program, in the builder's layout."""
        return self._held[value.name]

    def take_natural(self, value: Value) -> str:
        """The tensor that holds a value, its axes in the program's order."""
        tensor = self._held[value.name]
        return self.node("Transpose", [tensor], perm=_TO_NHWC) if len(value.shape) == 4 else tensor

    def from_natural(self, tensor: str, rank: int) -> str:
        """A tensor whose axes are in the program's order, brought into the builder's layout."""
        return self.node("Transpose", [tensor], perm=_TO_NCHW) if rank == 4 else tensor

    def axis(self, value: Value, axis: int) -> int:
        """Where the builder's layout has an axis of a value."""
        return _TO_NCHW.index(axis) if len(value.shape) == 4 else axis

    def single(self, tensor: str) -> str:
        """A tensor as float32."""
        return self.node("Cast", [tensor], to=TensorProto.FLOAT)

    def double(self, tensor: str) -> str:
        """A tensor as float64."""
        return self.node("Cast", [tensor], to=TensorProto.DOUBLE)

    def index(self, tensor: str) -> str:
        """A tensor as int32, to gather by."""
        return self.node("Cast", [tensor], to=TensorProto.INT32)

    def moved(self, tensor: str, fix_point: int, target: int) -> str:
        """A tensor on another grid; int8 values times a power of two (at most 2^20) are exact in float32."""
        if fix_point == target:
            return tensor
        scaled = self.node("Mul", [tensor, self.scalar(2.0 ** (target - fix_point))])
        return self.rounded(scaled, target < fix_point, target, floor=target < fix_point)

    def rounded(
        self,
        tensor: str,
        needs_half: bool,
        fix_point: int,
        activation: Activation = "NONE",
        floor: bool = True,
        double: bool = False,
    ) -> str:
        """floor(clip(x + 1/2)), the clip's limits being int8's and the activation's; `floor` False where x is whole.

        The limits are whole numbers, so the clip may come first; ONNX Runtime merges it into a convolution there.
        """
        if needs_half:
            tensor = self.node("Add", [tensor, self.scalar(0.5, double)])
        low, high = limits(activation, fix_point)
        tensor = self.node("Clip", [tensor, self.scalar(float(low), double), self.scalar(float(high), double)])
        tensor = self.node("Floor", [tensor]) if floor else tensor
        return self.single(tensor) if double else tensor
