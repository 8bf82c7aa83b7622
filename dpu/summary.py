"""What an .xmodel holds, as a plain document: who wrote it, for which DPU, its subgraphs and their tensors."""

from __future__ import annotations

import re
from collections import Counter
from typing import Any

from dpu.architecture import decode_fingerprint
from dpu.errors import DpuError
from dpu.graph import Graph, Op, Subgraph, Tensor
from dpu.lowering import is_quantised, lower


def summarise(graph: Graph) -> dict[str, Any]:
    """The fields of `xmodel show --json`, less the versions.

    A quantised graph is shown as it would be compiled (`lowered` true), where the software DPU knows all its operators.
    """
    quantised = is_quantised(graph)
    shown, why_not = graph, None
    if quantised:
        try:
            shown = lower(graph)
        except DpuError as error:
            why_not = str(error)
    parts = shown.root.children if shown.root and shown.root.children else (_whole(shown),)
    fingerprint = dpu_fingerprint(shown)
    dpu_name = next((str(part.value("dpu_name")) for part in parts if part.value("dpu_name")), None)
    family = decode_fingerprint(fingerprint).family if fingerprint else dpu_name and dpu_name.split("_")[0]
    return {
        "name": graph.name,
        "kind": "quantised" if quantised else "compiled" if graph.subgraphs("DPU") else "other",
        "lowered": quantised and why_not is None,
        "not_lowered_because": why_not,
        "vitis_ai": vitis_ai_version(graph),
        "family": family,
        "dpu_name": dpu_name,
        "fingerprint": hexadecimal(fingerprint),
        "ops": dict(sorted(Counter(op.type for op in graph.ops).items())),
        "subgraphs": [_subgraph(shown, part) for part in parts],
    }


def hexadecimal(fingerprint: int) -> str | None:
    """As AMD's tools print a fingerprint; None for 0, which means any DPU."""
    return f"0x{fingerprint:x}" if fingerprint else None


def dpu_fingerprint(graph: Graph) -> int:
    """The first DPU subgraph's fingerprint, 0 where none has one."""
    return next((f for part in graph.subgraphs("DPU") if (f := int(part.typed("dpu_fingerprint", "uint64", 0)))), 0)


def vitis_ai_version(graph: Graph) -> str | None:
    """The Vitis AI release whose compiler wrote the file (`2.5`), from its libraries; None where no compiler did."""
    libraries = graph.typed("libs_info", "map_string_2_string", {})
    versions = [tuple(map(int, found)) for key in libraries for found in re.findall(r"\.(\d+)\.(\d+)\.(\d+)", key)]
    if not versions:
        return None
    major, minor, patch = max(versions)
    return f"{major}.{minor}" + (f".{patch}" if patch else "")


def boundary(graph: Graph, subgraph: Subgraph) -> tuple[list[Op], list[Op]]:
    """The operators whose tensors enter and leave a subgraph (constants aside), each sorted by tensor name."""
    inside = set(subgraph.all_op_names())
    ops = graph.op_by_name()
    entering: dict[str, Op] = {}
    read_inside: set[str] = set()
    read_outside: set[str] = set()
    for op in graph.ops:
        for name in op.input_names():
            if op.name not in inside:
                read_outside.add(name)
            elif name in inside:
                read_inside.add(name)
            else:
                entering[name] = ops[name]
    leaving = [
        op
        for op in graph.ops
        if op.name in inside
        and op.type not in ("const", "const-fix")
        and (op.name in read_outside or op.name not in read_inside)
    ]
    return sorted(entering.values(), key=_tensor_name), sorted(leaving, key=_tensor_name)


def _tensor_name(op: Op) -> str:
    return op.output.name


def _whole(graph: Graph) -> Subgraph:
    name, attrs = (graph.root.name, graph.root.attrs) if graph.root else ("root", {})
    return Subgraph(name, tuple(op.name for op in graph.ops), attrs)


def _subgraph(graph: Graph, subgraph: Subgraph) -> dict[str, Any]:
    inside = set(subgraph.all_op_names())
    entering, leaving = boundary(graph, subgraph)
    entering = entering or [op for op in graph.ops if op.name in inside and op.type in ("data", "data-fix")]
    counts = Counter(op.type for op in graph.ops if op.name in inside)
    return {
        "name": subgraph.name,
        "device": subgraph.device or None,
        "fingerprint": hexadecimal(int(subgraph.typed("dpu_fingerprint", "uint64", 0))),
        "workload": subgraph.typed("workload", "uint64"),
        "ops": dict(sorted(counts.items())),
        "inputs": [_tensor(op) for op in entering],
        "outputs": [_tensor(op) for op in leaving],
    }


def _tensor(op: Op) -> dict[str, Any]:
    tensor: Tensor = op.output
    fix_point = tensor.value("fix_point", op.value("fix_point") if op.type == "fix" else None)
    return {"name": tensor.name, "shape": list(tensor.shape), "dtype": tensor.dtype, "fix_point": fix_point}
