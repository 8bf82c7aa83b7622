"""Drawings of graphs for Graphviz."""

from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from .op import Op
    from .subgraph import Subgraph

_COLOURS = {"CPU": "red", "DPU": "blue", "USER": "green"}


def write_dot(subgraph: Subgraph, path: str) -> None:
    """Write a subgraph's operators as nodes, their subgraphs as frames, coloured by device."""
    ops = subgraph.toposort()
    node = {op.get_name(): index for index, op in enumerate(ops)}
    lines = ["digraph G0 {", "node [shape=box, style=rounded];"]
    lines += [f"{node[op.get_name()]} [label={json.dumps(_label(op))}];" for op in ops]
    for child in subgraph.toposort_child_subgraph():
        lines += _frame(child, node)
    for op in ops:
        lines += [
            f"{node[source.get_name()]} -> {node[op.get_name()]};" for source in op._all_inputs() if source in ops
        ]
    Path(path).write_text("\n".join([*lines, "}", ""]))


def _label(op: Op) -> str:
    tensor = op.get_output_tensor()
    return f"Name: {op.get_name()}\nType: {op.get_type()}\nTensor: {tensor.name}\nShape: {tensor.dims}"


def _frame(subgraph: Subgraph, node: dict[str, int]) -> list[str]:
    device = subgraph.get_attr("device") if subgraph.has_attr("device") else ""
    first = node[subgraph.toposort()[0].get_name()]
    lines = [f"subgraph cluster_{subgraph.depth}_{first} {{", f"label={json.dumps(subgraph.get_name())};"]
    if device in _COLOURS:
        lines.append(f"node [color={_COLOURS[device]}];")
    for child in subgraph.toposort_child_subgraph():
        lines += _frame(child, node)
    return [*lines, *(f"{node[op.get_name()]};" for op in subgraph.toposort()), "}"]
