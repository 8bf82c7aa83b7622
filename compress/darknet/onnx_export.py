"""The network as ONNX: batch 1, batch normalisation folded, raw heads out; the same file for the same weights."""

from __future__ import annotations

import os
from collections.abc import Sequence
from typing import Any

import numpy as np
import onnx
from onnx import TensorProto, helper, numpy_helper
from torch import nn

from board_app.core.atomic_file import write_bytes
from compress.darknet.cfg import INPUT, layer_shapes, layer_sources
from compress.darknet.fold import folded_parameters
from compress.darknet.network import (
    ConvolutionLayer,
    DarknetNetwork,
    MaxpoolLayer,
    ReorgLayer,
    RouteLayer,
    ShortcutLayer,
    UpsampleLayer,
)
from compress.darknet.shapes import Shape

OPSET = 17
IR_VERSION = 8
INPUT_NAME = "images"


def export_onnx(network: DarknetNetwork, path: str | os.PathLike[str]) -> None:
    """Write the network as ONNX, in one step.

    Input `images`, float32 (1, 3, H, W), RGB / 255; outputs `head_0`, `head_1`, ..., float32 (1, A*(5+C), h, w), the
    raw head convolutions in cfg order. Metadata: the class count, and for each head stride, anchors, scale_xy and
    whether its classes are a softmax.
    """
    write_bytes(path, onnx_model(network).SerializeToString(deterministic=True))


def onnx_model(network: DarknetNetwork) -> onnx.ModelProto:
    """The checked model that `export_onnx` writes."""
    shapes = layer_shapes(network.cfg)
    graph = _Graph(network, shapes)
    for index in graph.needed:
        graph.add_layer(index)
    outputs = [
        helper.make_tensor_value_info(f"head_{number}", TensorProto.FLOAT, [1, *shapes[head.layer]])
        for number, head in enumerate(network.heads)
    ]
    pixels = [1, network.cfg.input_channels, *network.cfg.input_hw]
    inputs = [helper.make_tensor_value_info(INPUT_NAME, TensorProto.FLOAT, pixels)]
    model = helper.make_model(
        helper.make_graph(graph.nodes, network.cfg.name, inputs, outputs, graph.initializers),
        opset_imports=[helper.make_opsetid("", OPSET)],
        ir_version=IR_VERSION,
        producer_name="roadslim",
    )
    helper.set_model_props(
        model,
        {
            "classes": str(network.cfg.classes),
            "strides": ",".join(str(head.stride) for head in network.heads),
            "anchors": ";".join(
                ",".join(f"{x:.8g}" for anchor in head.anchors for x in anchor) for head in network.heads
            ),
            "scale_xy": ",".join(f"{head.scale_xy:g}" for head in network.heads),
            "softmax": ",".join(str(int(head.softmax)) for head in network.heads),
        },
    )
    onnx.checker.check_model(model)
    return model


class _Graph:
    """Nodes in running order; a layer's output is named after its index, a head's after its number."""

    def __init__(self, network: DarknetNetwork, shapes: list[Shape]) -> None:
        self.nodes: list[onnx.NodeProto] = []
        self.initializers: list[onnx.TensorProto] = []
        self._network, self._shapes = network, shapes
        self._sources = layer_sources(network.cfg)
        self._head_names = {head.layer: f"head_{number}" for number, head in enumerate(network.heads)}
        needed = set(self._head_names)
        for index in reversed(range(len(self._sources))):
            if index in needed:
                needed.update(self._sources[index])
        self.needed = sorted(needed - {INPUT})

    def add_layer(self, index: int) -> None:
        layer: nn.Module = self._network.layers[index]
        inputs = [INPUT_NAME if source == INPUT else self._name(source) for source in self._sources[index]]
        name, output = f"{self._network.cfg.layers[index].type}_{index}", self._name(index)
        if isinstance(layer, ConvolutionLayer):
            self._add_convolution(layer, name, inputs[0], output)
        elif isinstance(layer, MaxpoolLayer):
            left, right, top, bottom = layer.padding
            pads, kernel, strides = [top, left, bottom, right], [layer.size] * 2, [layer.stride] * 2
            self._add("MaxPool", name, inputs, output, kernel_shape=kernel, strides=strides, pads=pads)
        elif isinstance(layer, UpsampleLayer):
            self._add_upsample(layer, name, inputs[0], output)
        elif isinstance(layer, ShortcutLayer):
            self._add("Add", name, inputs, self._before(layer.activation, output))
            self._add_activation(layer.activation, layer.slope, name, output)
        elif isinstance(layer, RouteLayer):
            self._add_route(layer, index, name, inputs, output)
        elif isinstance(layer, ReorgLayer):
            self._add_reorg(layer, self._shape(self._sources[index][0]), name, inputs[0], output)
        else:
            raise AssertionError(f"no ONNX for {type(layer).__name__}")

    def _shape(self, source: int) -> Shape:
        cfg = self._network.cfg
        return (cfg.input_channels, *cfg.input_hw) if source == INPUT else self._shapes[source]

    def _constant(self, name: str, values: float | Sequence[float], kind: type[np.generic]) -> str:
        self.initializers.append(numpy_helper.from_array(np.array(values, kind), name))
        return name

    def _name(self, index: int) -> str:
        return self._head_names.get(index, f"layer_{index}")

    def _add(self, operator: str, name: str, inputs: list[str], output: str, **attributes: Any) -> None:
        self.nodes.append(helper.make_node(operator, inputs, [output], name, **attributes))

    def _add_convolution(self, layer: ConvolutionLayer, name: str, source: str, output: str) -> None:
        for kind, values in zip(("weight", "bias"), folded_parameters(layer), strict=True):
            self.initializers.append(numpy_helper.from_array(values.cpu().contiguous().numpy(), f"{name}.{kind}"))
        self._add(
            "Conv",
            name,
            [source, f"{name}.weight", f"{name}.bias"],
            self._before(layer.activation, output),
            kernel_shape=list(layer.conv.kernel_size),
            strides=list(layer.conv.stride),
            pads=[int(layer.conv.padding[0])] * 4,
            group=layer.conv.groups,
        )
        self._add_activation(layer.activation, layer.slope, name, output)

    @staticmethod
    def _before(activation: str, output: str) -> str:
        """The name of what an activation that gives `output` reads."""
        return output if activation == "linear" else f"{output}_linear"

    def _add_activation(self, activation: str, slope: float, name: str, output: str) -> None:
        source = self._before(activation, output)
        if activation == "leaky":
            self._add("LeakyRelu", f"leaky_{name}", [source], output, alpha=slope)
        elif activation == "relu":
            self._add("Relu", f"relu_{name}", [source], output)
        elif activation == "relu6":
            bounds = [self._constant(f"{name}.{side}", limit, np.float32) for side, limit in (("low", 0), ("high", 6))]
            self._add("Clip", f"relu6_{name}", [source, *bounds], output)
        elif activation == "logistic":
            self._add("Sigmoid", f"logistic_{name}", [source], output)
        elif activation == "swish":
            self._add("Sigmoid", f"logistic_{name}", [source], f"{output}_gate")
            self._add("Mul", f"swish_{name}", [source, f"{output}_gate"], output)
        elif activation == "mish":
            self._add("Softplus", f"softplus_{name}", [source], f"{output}_softplus")
            self._add("Tanh", f"tanh_{name}", [f"{output}_softplus"], f"{output}_gate")
            self._add("Mul", f"mish_{name}", [source, f"{output}_gate"], output)
        else:
            assert activation == "linear"

    def _add_upsample(self, layer: UpsampleLayer, name: str, source: str, output: str) -> None:
        factors = self._constant(f"{name}.scales", (1, 1, layer.stride, layer.stride), np.float32)
        self._add(
            "Resize",
            name,
            [source, "", factors],
            output if layer.scale == 1 else f"{output}_unscaled",
            mode="nearest",
            coordinate_transformation_mode="asymmetric",
            nearest_mode="floor",
        )
        if layer.scale != 1:
            factor = self._constant(f"{name}.scale", layer.scale, np.float32)
            self._add("Mul", f"scale_{name}", [f"{output}_unscaled", factor], output)

    def _add_reorg(self, layer: ReorgLayer, in_shape: Shape, name: str, source: str, output: str) -> None:
        (c, h, w), s = in_shape, layer.stride
        split = self._constant(f"{name}.split", (1, c // (s * s), h, s, w, s), np.int64)
        merged = self._constant(f"{name}.merged", (1, s * s * c, h // s, w // s), np.int64)
        self._add("Reshape", f"split_{name}", [source, split], f"{output}_split")
        self._add("Transpose", f"turn_{name}", [f"{output}_split"], f"{output}_turned", perm=[0, 3, 5, 1, 2, 4])
        self._add("Reshape", name, [f"{output}_turned", merged], output)

    def _add_route(self, layer: RouteLayer, index: int, name: str, inputs: list[str], output: str) -> None:
        parts = inputs
        if layer.groups > 1:
            parts = []
            for number, (source, tensor) in enumerate(zip(self._sources[index], inputs, strict=True)):
                length = self._shape(source)[0] // layer.groups
                ends = (("from", layer.group * length), ("to", (layer.group + 1) * length), ("axis", 1))
                bounds = [self._constant(f"{name}.{number}.{kind}", (value,), np.int64) for kind, value in ends]
                parts.append(f"{output}_part_{number}")
                self._add("Slice", f"slice_{name}_{number}", [tensor, *bounds], parts[-1])
        if len(parts) == 1:
            self._add("Identity", name, parts, output)
        else:
            self._add("Concat", name, parts, output, axis=1)
