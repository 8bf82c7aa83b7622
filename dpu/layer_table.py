"""The layers of a graph as rows: what `xmodel show --layers` prints."""

from __future__ import annotations

from math import prod
from typing import Any

from dpu.graph import Graph, Op, Subgraph, Tensor

_NO_LAYER = ("const", "const-fix", "data", "data-fix", "fix", "upload", "download")


class Readings:
    """Who reads what in a graph, looked up once for all its subgraphs."""

    def __init__(self, graph: Graph) -> None:
        self.ops = graph.op_by_name()
        self.readers = graph.consumers()
        self.order = {op.name: index for index, op in enumerate(graph.ops)}

    def inside(self, subgraph: Subgraph) -> list[Op]:
        """A subgraph's operators in the graph's order."""
        return [self.ops[name] for name in sorted(subgraph.all_op_names(), key=self.order.__getitem__)]

    def fixed_after(self, op: Op) -> int | None:
        """In a quantised graph the fix point that the `fix` behind an operator gives; the first if there are more."""
        return next((fix_point(reader) for reader in self.readers[op.name] if reader.type == "fix"), None)


def layer_rows(readings: Readings, inside: list[Op]) -> list[dict[str, Any]]:
    """One row for each of a subgraph's operators that computes something.

    Shapes are those of the tensors (NHWC), `kernel_hw` and `stride_hw` None where the operator has none; `fix_points`
    has `input`, `weights`, `bias` and `output`; `workload` counts as AMD's compiler does (a multiply-accumulate is 2).
    """
    return [_row(op, readings) for op in inside if op.type not in _NO_LAYER]


def constants(readings: Readings, inside: list[Op]) -> list[Op]:
    """The constants that a subgraph's operators are or read, each once."""
    read = dict.fromkeys(name for op in inside for name in (op.name, *op.input_names()))
    return [readings.ops[name] for name in read if readings.ops[name].type in ("const", "const-fix")]


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


def _row(op: Op, readings: Readings) -> dict[str, Any]:
    ops = readings.ops
    first = next(iter(op.inputs.get("input", [])), None)
    parameters = [_source(ops, name) for key, names in op.inputs.items() if key != "input" for name in names]
    parameters = [constant for constant in parameters if constant.type in ("const", "const-fix")]

    def position(argument: str) -> int | None:
        names = op.inputs.get(argument, [])
        return None if not names else _position(ops[names[0]], readings)

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
            "output": _position(op, readings),
        },
        "workload": op.value("workload") if isinstance(op.value("workload"), int) else None,
    }


def _source(ops: dict[str, Op], name: str) -> Op:
    """The operator behind a `fix`."""
    op = ops[name]
    names = op.input_names()
    return ops[names[0]] if op.type == "fix" and len(names) == 1 else op


def _position(op: Op, readings: Readings) -> int | None:
    own = fix_point(op)
    return own if own is not None else readings.fixed_after(op)


def _pair(op: Op, key: str) -> list[int] | None:
    """A {w, h} attribute as [h, w]."""
    value = op.value(key)
    return [value[1], value[0]] if isinstance(value, tuple) and len(value) == 2 else None


def _activation(op: Op) -> str | None:
    value = op.value("nonlinear")
    return value if isinstance(value, str) and value not in ("", "NONE") else None
