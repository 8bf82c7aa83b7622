"""The layers of an integer graph, for the latency model."""

from __future__ import annotations

from dpu.architecture import FAMILY, decode_fingerprint
from dpu.errors import UnsupportedModelError
from dpu.graph import Graph, Op, Subgraph
from dpu.layer_cost import Layer

_KINDS = {
    "conv2d-fix": "conv",
    "depthwise-conv2d-fix": "depthwise",
    "transposed-conv2d-fix": "deconv",
    "transposed-depthwise-conv2d-fix": "deconv",
    "pool-fix": "pool",
    "eltwise-fix": "add",
    "depthwise-fix": "mul",
    "concat-fix": "concat",
    "upsample-fix": "upsample",
    "pad-fix": "pad",
    "strided_slice-fix": "slice",
    "downsample-fix": "slice",
    "reorg-fix": "slice",
    "tile-fix": "slice",
    "hard-sigmoid-fix": "hard-sigmoid",
    "reshape-fix": "reshape",
    "argmax-fix": "reduce",
    "reduction_max-fix": "reduce",
    "reduction_mean-fix": "reduce",
}
_NO_WORK = ("const-fix", "data-fix", "upload", "download")  # constants and boundaries


def layers_of_integer_graph(graph: Graph, subgraph_name: str | None = None) -> list[Layer]:
    """The layers of all DPU subgraphs, or of one.

    Raises:
        UnsupportedModelError: another family's DPU, or an operator that the model has no figure for; with its name.
    """
    ops = graph.op_by_name()
    layers = []
    for subgraph in graph.subgraphs("DPU"):
        if subgraph_name not in (None, subgraph.name):
            continue
        _check_family(subgraph)
        inside = set(subgraph.all_op_names())
        for op in graph.ops:
            if op.name not in inside or op.type in _NO_WORK:
                continue
            if op.type not in _KINDS:
                raise UnsupportedModelError(
                    f"operator {op.name!r} ({op.type}) in subgraph {subgraph.name!r}: the latency model has no figure "
                    "for this type. Predict a network without it."
                )
            layers += _layers_of_op(op, ops)
    if not layers:
        raise UnsupportedModelError(f"graph {graph.name!r} has no DPU subgraph: there is no DPU time to predict.")
    return layers


def isa_of(graph: Graph) -> int:
    """The instruction set of the DPU that a graph was compiled for; 1 where it was compiled for none in particular."""
    fingerprints = [subgraph.fingerprint for subgraph in graph.subgraphs("DPU")]
    return next((min(decode_fingerprint(value).isa, 1) for value in fingerprints if value), 1)


def _check_family(subgraph: Subgraph) -> None:
    family = decode_fingerprint(subgraph.fingerprint).family
    if subgraph.fingerprint and family != FAMILY:
        raise UnsupportedModelError(
            f"subgraph {subgraph.name!r}: expected a model for {FAMILY}, found one for {family}, whose time is not "
            "known here. Predict the network it was made from."
        )


def _layers_of_op(op: Op, ops: dict[str, Op]) -> list[Layer]:
    """One layer; an element-wise operator of n inputs is n - 1 layers."""
    names = op.inputs.get("input", [])
    kind = _KINDS[op.type]
    if not names:
        raise UnsupportedModelError(
            f"operator {op.name!r} ({op.type}): expected an input, found none. Predict a network without it."
        )
    if op.type == "eltwise-fix" and op.value("type", "ADD") == "MUL":
        kind = "mul"
    source, target = _hwc(op, ops[names[0]].output.shape), _hwc(op, op.output.shape)
    kernel, stride, groups = _window(op, source, target)
    if op.type == "upsample-fix" and op.value("mode", "NEAREST") == "BILINEAR":
        kind = "deconv"  # the compiler makes it a depthwise transposed convolution
        stride, groups = max(1, target[0] // source[0]), source[2]
        kernel = (2 * stride, 2 * stride)
    layer = Layer(op.name, kind, source, target, kernel, stride, groups)
    return [layer] * (max(1, len(names) - 1) if kind in ("add", "mul") else 1)


def _window(op: Op, source: tuple[int, int, int], target: tuple[int, int, int]) -> tuple[tuple[int, int], int, int]:
    """Kernel (height, width), stride and groups; a file has kernel and stride as (width, height)."""
    if _KINDS[op.type] == "reduce":
        return (source[0] // target[0] or 1, source[1] // target[1] or 1), 1, 1
    if _KINDS[op.type] in ("slice", "mul", "add"):  # which have no window; the `stride` of a tile-fix is one number
        return (1, 1), 1, 1
    kernel = op.typed("kernel", "int32_vec", (1, 1))
    stride = op.typed("stride", "int32_vec", (1, 1))
    groups = op.typed("group", "int32", 1) if op.type in ("conv2d-fix", "transposed-conv2d-fix") else 1
    if op.type == "transposed-depthwise-conv2d-fix":
        groups = source[2]
    if len(kernel) != 2 or not stride:
        return (1, 1), 1, 1
    return (kernel[1], kernel[0]), stride[0], groups


def _hwc(op: Op, shape: tuple[int, ...]) -> tuple[int, int, int]:
    """A tensor as the DPU holds it: [N, H, W, C], or with fewer axes after a reshape; batch 1."""
    if not 1 <= len(shape) <= 4 or min(shape) < 1 or (len(shape) == 4 and shape[0] != 1):
        raise UnsupportedModelError(
            f"operator {op.name!r} ({op.type}): expected tensors of up to four axes with batch 1, found {list(shape)}. "
            "Predict a network of pictures."
        )
    inner = tuple(shape[1:]) if len(shape) > 1 else tuple(shape)
    height, width, channels = (*(1,) * (3 - len(inner)), *inner)
    return height, width, max(1, channels)


def parts_of(graph: Graph) -> tuple[int, int]:
    """The number of DPU subgraphs with work, and of operators on the CPU between and behind them."""
    on_cpu = {name for subgraph in graph.subgraphs("CPU") for name in subgraph.all_op_names()}
    moved = ("data", "const", "fix2float", "float2fix", "upload", "download", "data-fix", "const-fix")
    return len(graph.subgraphs("DPU")), sum(op.name in on_cpu and op.type not in moved for op in graph.ops)
