"""The layers of an integer graph, for the latency model."""

from __future__ import annotations

from dpu.errors import UnsupportedModelError
from dpu.graph import Graph, Op
from dpu.latency import Layer

_KINDS = {
    "conv2d-fix": "conv",
    "depthwise-conv2d-fix": "depthwise",
    "pool-fix": "pool",
    "eltwise-fix": "add",
    "concat-fix": "concat",
    "upsample-fix": "upsample",
}
_FREE = ("const-fix", "upload", "download", "reshape-fix")  # constants, boundaries, a change of view


def layers_of_integer_graph(graph: Graph, subgraph_name: str | None = None) -> list[Layer]:
    """The layers of all DPU subgraphs, or of one. Raises UnsupportedModelError, naming the operator."""
    ops = graph.op_by_name()
    layers = []
    for subgraph in graph.subgraphs("DPU"):
        if subgraph_name not in (None, subgraph.name):
            continue
        inside = set(subgraph.all_op_names())
        for op in graph.ops:
            if op.name not in inside or op.type in _FREE:
                continue
            if op.type not in _KINDS:
                raise UnsupportedModelError(
                    f"operator {op.name!r} ({op.type}) in subgraph {subgraph.name!r}: the latency model has no figure "
                    "for this type. Predict a network without it."
                )
            layers.append(_layer(op, ops))
    if not layers:
        raise UnsupportedModelError(f"graph {graph.name!r} has no DPU subgraph: there is no DPU time to predict.")
    return layers


def _layer(op: Op, ops: dict[str, Op]) -> Layer:
    names = op.inputs.get("input", [])
    source = ops[names[0]].output.shape if names else ()
    if len(source) != 4 or len(op.output.shape) != 4:
        raise UnsupportedModelError(
            f"operator {op.name!r} ({op.type}): expected tensors [N, H, W, C], found {list(source)} and "
            f"{list(op.output.shape)}. Predict a network of pictures."
        )
    kernel = (*op.typed("kernel", "int32_vec", ()), 1, 1)
    stride = (*op.typed("stride", "int32_vec", ()), 1)
    _, height, width, channels = source
    _, out_height, out_width, out_channels = op.output.shape
    return Layer(
        op.name,
        _KINDS[op.type],
        (height, width, channels),
        (out_height, out_width, out_channels),
        (kernel[1], kernel[0]),
        stride[0],
    )
