"""The subgraphs of a whole model in the order in which they can run."""

from __future__ import annotations

from graphlib import CycleError, TopologicalSorter

from dpu.errors import XmodelError
from dpu.graph import Graph, Subgraph


def in_running_order(graph: Graph) -> list[Subgraph]:
    """The root's children, each after those that it reads. Raises XmodelError for a circle, or an operator in none."""
    children = list(graph.root.children) if graph.root else []
    owner = {name: index for index, child in enumerate(children) for name in child.all_op_names()}
    before: dict[int, set[int]] = {index: set() for index in range(len(children))}
    for op in graph.ops:
        if op.name not in owner:
            raise XmodelError(f"operator {op.name!r} is in no subgraph. The file is damaged: export it again.")
        before[owner[op.name]].update(owner[name] for name in op.input_names() if owner[name] != owner[op.name])
    try:
        return [children[index] for index in TopologicalSorter(before).static_order()]
    except CycleError as error:
        names = " -> ".join(repr(children[index].name) for index in error.args[1])
        raise XmodelError(f"subgraphs read each other in a circle: {names}. Compile the model again.") from error
