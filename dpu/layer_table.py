"""The layers of a graph as rows: what `xmodel show --layers` prints."""

from __future__ import annotations

from math import prod
from typing import Any

from dpu.graph import Graph, Op, Subgraph, Tensor

_NO_LAYER = ("const", "const-fix", "data", "data-fix", "fix", "upload", "download")


def layer_rows(graph: Graph, subgraph: Subgraph) -> list[dict[str, Any]]:
    """One row for each operator of a subgraph that computes something, in the graph's order.

    Shapes are those of the tensors (NHWC), `kernel_hw` and `stride_hw` None where the operator has none; `fix_points`
    has `input`, `weights`, `bias` and `output`; `workload` counts as AMD's compiler does (a multiply-accumulate is 2).
    """
    ops = graph.op_by_name()
    fixed_after = _fix_after(graph)
    inside = set(subgraph.all_op_names())
    return [_row(op, ops, fixed_after) for op in graph.ops if op.name in inside and op.type not in _NO_LAYER]


def constants(graph: Graph, subgraph: Subgraph) -> list[Op]:
    """The constants that a subgraph reads, each once."""
    ops = graph.op_by_name()
    inside = set(subgraph.all_op_names())
    read = {name: None for op in graph.ops if op.name in inside for name in (op.name, *op.input_names())}
    return [ops[name] for name in read if ops[name].type in ("const", "const-fix")]


def element_count(tensor: Tensor) -> int:
    """How many numbers a tensor has."""
    return prod(tensor.shape)


def byte_count(tensor: Tensor) -> int:
    """How many bytes its numbers take."""
    bits = int("".join(c for c in tensor.dtype if c.isdigit()) or 0)
    return element_count(tensor) * bits // 8


def fix_point(op: Op) -> int | None:
    """The fix point of an operator's tensor: in a compiled graph the tensor's, of a `fix` its own; None for float."""
    value = op.output.value("fix_point", op.value("fix_point") if op.type == "fix" else None)
    return value if isinstance(value, int) else None


def _fix_after(graph: Graph) -> dict[str, int | None]:
    """In a quantised graph, by operator name, the fix point of the `fix` behind; the first if there are more."""
    after: dict[str, int | None] = {}
    for op in graph.ops:
        for name in op.input_names() if op.type == "fix" else ():
            after.setdefault(name, fix_point(op))
    return after


def _row(op: Op, ops: dict[str, Op], fixed_after: dict[str, int | None]) -> dict[str, Any]:
    first = next(iter(op.inputs.get("input", [])), None)
    parameters = [_source(ops, name) for key, names in op.inputs.items() if key != "input" for name in names]
    parameters = [constant for constant in parameters if constant.type in ("const", "const-fix")]

    def position(argument: str) -> int | None:
        names = op.inputs.get(argument, [])
        return None if not names else _position(ops[names[0]], fixed_after)

    return {
        "name": op.name,
        "type": op.type,
        "kernel_hw": _pair(op, "kernel"),
        "stride_hw": _pair(op, "stride"),
        "activation": _activation(op),
        "input_shape": list(ops[first].output.shape) if first is not None else None,
        "output_shape": list(op.output.shape),
        "parameters": sum(element_count(constant.output) for constant in parameters),
        "weight_bytes": sum(byte_count(constant.output) for constant in parameters),
        "fix_points": {
            "input": position("input"),
            "weights": position("weights"),
            "bias": position("bias"),
            "output": _position(op, fixed_after),
        },
        "workload": op.value("workload") if isinstance(op.value("workload"), int) else None,
    }


def _source(ops: dict[str, Op], name: str) -> Op:
    """The operator behind a `fix`."""
    op = ops[name]
    names = op.input_names()
    return ops[names[0]] if op.type == "fix" and len(names) == 1 else op


def _position(op: Op, fixed_after: dict[str, int | None]) -> int | None:
    own = fix_point(op)
    return own if own is not None else fixed_after.get(op.name)


def _pair(op: Op, key: str) -> list[int] | None:
    """A {w, h} attribute as [h, w]."""
    value = op.value(key)
    return [value[1], value[0]] if isinstance(value, tuple) and len(value) == 2 else None


def _activation(op: Op) -> str | None:
    value = op.value("nonlinear")
    return value if isinstance(value, str) and value not in ("", "NONE") else None
