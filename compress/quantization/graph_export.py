"""The quantised network as a `*_int.xmodel` graph: float operators and `fix` operators, as vai_q_pytorch exports it.

Every tensor is float32, NHWC; a `fix` follows the input, every constant and every tensor with a fix point of its
own. Constants already lie on their grid. Splitting into DPU and CPU subgraphs is the compiler's work.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np

from compress.quantization.plan import Node
from compress.quantization.quantized_network import QuantizedNetwork
from dpu.arithmetic import LEAKY_SLOPE
from dpu.graph import Attr, Graph, Op, Subgraph, Tensor

Inputs = Mapping[str, Sequence[str]]


def to_xmodel(quantized: QuantizedNetwork, name: str | None = None) -> Graph:
    """The graph, ready for `dpu.xmodel.save`.

    The outputs are the `fix` operators of the head convolutions; their names, in cfg order, are the graph attribute
    `return_ops`, and are the tensors' names too (`quantized.heads[i].tensor`).

    Args:
        quantized: the int8 network.
        name: of the graph; the network's where it is not given.
    """
    export = _Export(quantized)
    for node in quantized.plan.convolutions:
        export.add_parameters(node)
    for node in quantized.plan.nodes:
        export.add_node(node)
    ops = _in_file_order(export.ops)
    return Graph(
        name=name or quantized.name,
        ops=ops,
        root=Subgraph("root", tuple(op.name for op in ops)),
        attrs={"return_ops": Attr("string_vec", tuple(head.tensor for head in quantized.heads))},
    )


class _Export:
    """Collects the operators in the order in which nndct creates them."""

    def __init__(self, quantized: QuantizedNetwork) -> None:
        self.ops: list[Op] = []
        self._quantized = quantized
        self._output_of: dict[int, str] = {}  # index of the node -> the operator that its readers read

    def add_parameters(self, node: Node) -> None:
        layer = self._quantized.convolutions[node.layer]
        name = f"conv{node.layer}"
        self._add_constant(f"{name}_weight", layer.weight, layer.weight_fix_point)
        self._add_constant(f"{name}_bias", layer.bias, layer.bias_fix_point)

    def add_node(self, node: Node) -> None:
        name = node.tensor.removesuffix("_fix")
        channels, height, width = node.shape
        shape = (1, height, width, channels)
        inputs = [self._output_of[source] for source in node.inputs]
        if node.kind == "input":
            attrs = {"shape": Attr("int32_vec", shape), "data_type": Attr("string", "FLOAT32")}
            self._add(name, "data", attrs, {}, shape)
        elif node.kind == "conv":
            self._add_convolution(node, inputs[0], shape)
        elif node.kind == "maxpool":
            attrs = {**_window(node), "global": Attr("bool", False)}
            self._add(name, "maxpool2d", attrs, {"input": inputs}, shape)
        elif node.kind == "upsample":
            self._add(name, "resize", _nearest(node.stride), {"input": inputs, "size": []}, shape)
        elif node.kind == "slice":
            self._add(name, "strided_slice", _channels(node), {"input": inputs}, shape)
        elif node.kind == "concat":
            self._add(name, "concat", {"axis": Attr("int32", 3)}, {"input": inputs}, shape)
        else:
            self._add(name, "add", {}, {"input": inputs}, shape)
        self._output_of[node.index] = name
        fix_point = self._quantized.fix_points.outputs.get(node.index)
        if fix_point is not None:
            self._output_of[node.index] = self._add_fix(name, fix_point, shape)

    def _add_convolution(self, node: Node, source: str, shape: tuple[int, ...]) -> None:
        name = f"conv{node.layer}"
        in_channels = self._quantized.plan.nodes[node.inputs[0]].shape[0]
        attrs = {
            **_window(node),
            "dilation": Attr("int32_vec", (1, 1)),
            "group": Attr("int32", 1),
            "in_dim": Attr("int32", in_channels),
            "out_dim": Attr("int32", node.shape[0]),
            "bias_term": Attr("bool", True),
        }
        inputs = {"input": [source], "weights": [f"{name}_weight_fix"], "bias": [f"{name}_bias_fix"]}
        self._add(name, "conv2d", attrs, inputs, shape)
        if node.activation == "leaky":
            self._add(
                f"leaky_relu{node.layer}", "leaky-relu", {"alpha": Attr("float", LEAKY_SLOPE)}, {"input": [name]}, shape
            )
        elif node.activation == "relu":
            self._add(f"relu{node.layer}", "relu", {}, {"input": [name]}, shape)

    def _add_constant(self, name: str, integers: np.ndarray, fix_point: int) -> None:
        values = integers.astype("<f4") * np.float32(2.0**-fix_point)
        attrs = {
            "shape": Attr("int32_vec", integers.shape),
            "data_type": Attr("string", "float32"),
            "data": Attr("bytes", values.astype("<f4").tobytes()),
        }
        self._add(name, "const", attrs, {}, integers.shape)
        self._add_fix(name, fix_point, integers.shape)

    def _add_fix(self, source: str, fix_point: int, shape: tuple[int, ...]) -> str:
        attrs = {
            "fix_point": Attr("int32", fix_point),
            "bit_width": Attr("int32", 8),
            "if_signed": Attr("bool", True),
            "round_mode": Attr("string", "DPU_ROUND"),
        }
        self._add(f"{source}_fix", "fix", attrs, {"input": [source]}, shape)
        return f"{source}_fix"

    def _add(self, name: str, kind: str, attrs: dict[str, Attr], inputs: Inputs, shape: tuple[int, ...]) -> None:
        arguments = {argument: list(names) for argument, names in inputs.items()}
        self.ops.append(Op(name, kind, attrs, arguments, Tensor(name, shape, "float32")))


def _window(node: Node) -> dict[str, Attr]:
    return {
        "kernel": Attr("int32_vec", (node.size, node.size)),
        "stride": Attr("int32_vec", (node.stride, node.stride)),
        "pad": Attr("int32_vec", node.pad),
        "pad_mode": Attr("string", "FLOOR"),
    }


def _nearest(factor: int) -> dict[str, Attr]:
    return {
        "scale": Attr("float_vec", (float(factor), float(factor))),
        "mode": Attr("string", "NEAREST"),
        "align_corners": Attr("bool", False),
        "half_pixel_centers": Attr("bool", False),
    }


def _channels(node: Node) -> dict[str, Attr]:
    channels, height, width = node.shape
    return {
        "begin": Attr("int32_vec", (0, 0, 0, node.begin)),
        "end": Attr("int32_vec", (1, height, width, node.begin + channels)),
        "strides": Attr("int32_vec", (1, 1, 1, 1)),
    }


def _in_file_order(ops: list[Op]) -> list[Op]:
    """The topological order in which xir writes: depth first along the readers, reversed (Boost's topological_sort)."""
    readers: dict[str, list[Op]] = {op.name: [] for op in ops}
    for op in ops:
        for name in op.input_names():
            readers[name].append(op)
    finished: list[Op] = []
    begun: set[str] = set()
    for start in ops:
        if start.name in begun:
            continue
        begun.add(start.name)
        path = [(start, iter(readers[start.name]))]
        while path:
            op, remaining = path[-1]
            follower = next((reader for reader in remaining if reader.name not in begun), None)
            if follower is None:
                finished.append(op)
                path.pop()
            else:
                begun.add(follower.name)
                path.append((follower, iter(readers[follower.name])))
    return finished[::-1]
