"""Subgraphs: a tree whose leaves share out the operators."""

from __future__ import annotations

import threading
from collections.abc import Iterable
from dataclasses import replace
from typing import TYPE_CHECKING, Any

from dpu import graph as stored
from dpu.executor import Executor

from .aborts import aborts
from .attributes import Attributed
from .dot import write_dot
from .topology import depth_first_order

if TYPE_CHECKING:
    from .graph import Graph
    from .op import Op
    from .tensor import Tensor


class Subgraph(Attributed):
    """A part of a graph; the same object each time it is reached."""

    def __init__(self, graph: Graph, part: stored.Subgraph, parent: Subgraph | None) -> None:
        self._graph = graph
        self._read = part
        self._parent = parent
        self._name = part.name
        self._attrs = dict(part.attrs)
        self._ops = {name: graph._ops[name] for name in part.all_op_names()}
        self._children = [Subgraph(graph, child, self) for child in part.children]
        self._executor: tuple[stored.Graph, Executor] | None = None
        self._lock = threading.Lock()

    def get_name(self) -> str:
        return self._name

    def set_name(self, name: str) -> Subgraph:
        self._changes()
        self._name = name
        return self

    def get_graph(self) -> Graph:
        return self._graph

    @property
    def is_leaf(self) -> bool:
        return not self._children

    @property
    def is_root(self) -> bool:
        return self._parent is None

    @property
    def root(self) -> Subgraph:
        return self if self._parent is None else self._parent.root

    @property
    def depth(self) -> int:
        return 0 if self._parent is None else self._parent.depth + 1

    def get_parent(self) -> Subgraph | None:
        return self._parent

    def get_children(self) -> set[Subgraph]:
        return set(self._children)

    def get_children_num(self) -> int:
        return len(self._children)

    def is_child(self, op: Subgraph) -> bool:
        """Whether a subgraph is one of the children (the real binding calls the argument `op`, too)."""
        return op in self._children

    def toposort_child_subgraph(self) -> list[Subgraph]:
        """The children, each after those it reads from. Raises RunError where they read from each other in a circle."""
        children = sorted(self._children, key=Subgraph.get_name)
        of_op = {name: child for child in children for name in child._ops}
        after: dict[Subgraph, list[Subgraph]] = {child: [] for child in children}
        for child in children:
            read = [source for op in child._ops.values() for source in op._all_inputs()]
            readers = [reader for op in child._ops.values() for reader in op.get_fanout_ops()]
            for names, forward in ((_names(read), False), (_names(readers), True)):
                for other in (of_op[name] for name in names if name in of_op):
                    if other is not child:
                        after[child if forward else other].append(other if forward else child)
        order = depth_first_order(after)
        if order is None:
            raise aborts(
                f"the children of subgraph {self._name!r} read from each other in a circle",
                "Merge other subgraphs: none may both feed and read what lies between them.",
            )
        return order

    def create_child_subgraph(self) -> None:
        """Give every operator of this leaf a child of its own."""
        if not self.is_leaf:
            raise aborts(f"subgraph {self._name!r} has children already", "Call it on a leaf.")
        self._changes()
        self._children = [self._child([op]) for op in self.toposort()]

    def merge_children(self, child_subgraph_list: Iterable[Subgraph]) -> Subgraph:
        """Put the operators of several children, all leaves, into one new child, and give it."""
        merged = set(child_subgraph_list)
        for child in merged:
            if child not in self._children or not child.is_leaf:
                what = "not a leaf" if child in self._children else f"not a child of {self._name!r}"
                raise aborts(f"subgraph {child.get_name()!r} is {what}", "Merge leaves of one parent.")
        self._changes()
        inside = {name for child in merged for name in child._ops}
        result = self._child([op for op in self.toposort() if op.get_name() in inside])
        self._children = [child for child in self._children if child not in merged] + [result]
        return result

    def get_op_num(self) -> int:
        return len(self._ops)

    def get_ops(self) -> set[Op]:
        return set(self._ops.values())

    def toposort(self) -> list[Op]:
        return [op for op in self._graph.toposort() if op.get_name() in self._ops]

    def has_op(self, op: Any) -> bool:
        """Whether an operator, or one of that name, is in this subgraph or below it."""
        return op in self._ops if isinstance(op, str) else self._ops.get(op.get_name()) is op

    def find_child_subgraph_by_op(self, op: Op) -> Subgraph | None:
        return next((child for child in self._children if child.has_op(op)), None)

    def find_child_subgraph_by_op_name(self, name: str) -> Subgraph | None:
        return next((child for child in self._children if child.has_op(name)), None)

    def get_tensor_producer(self, tensor: Tensor) -> Op | None:
        return next((op for op in self._ops.values() if op.get_output_tensor() is tensor), None)

    def get_input_tensors(self) -> set[Tensor]:
        """What operators in here read from outside."""
        sources = (source for op in self._ops.values() for source in op._all_inputs())
        return {source.get_output_tensor() for source in sources if source.get_name() not in self._ops}

    def get_output_tensors(self) -> set[Tensor]:
        """What is read outside, or by nothing."""
        result = set()
        for op in self._ops.values():
            readers = op.get_fanout_ops()
            if not readers or any(reader.get_name() not in self._ops for reader in readers):
                result.add(op.get_output_tensor())
        return result

    def save_as_dot(self, fname: str) -> None:
        """Write a drawing for Graphviz."""
        write_dot(self, fname)

    def executor(self) -> Executor:
        """Not in the real API: the software DPU of this subgraph, made once and shared by its runners."""
        graph, part = self.as_written()
        with self._lock:
            if self._executor is None or self._executor[0] is not graph:
                self._executor = graph, Executor(graph, part)
            return self._executor[1]

    def as_written(self) -> tuple[stored.Graph, stored.Subgraph]:
        """Not in the real API: graph and subgraph as they would be written to a file."""
        graph = self._graph._stored()
        part = graph.root
        for step in self._path():
            part = part.children[step] if part is not None else None
        assert part is not None
        return graph, part

    def _path(self) -> list[int]:
        if self._parent is None:
            return []
        return [*self._parent._path(), self._parent._written_children().index(self)]

    def _written_children(self) -> list[Subgraph]:
        return self._children if self._graph._is_as_read() else self.toposort_child_subgraph()

    def _written(self) -> stored.Subgraph:
        children = tuple(child._written() for child in self._written_children())
        names = () if children else tuple(op.get_name() for op in self.toposort())
        return replace(self._read, name=self._name, op_names=names, attrs=dict(self._attrs), children=children)

    def _child(self, ops: list[Op]) -> Subgraph:
        names = tuple(op.get_name() for op in ops)
        return Subgraph(self._graph, stored.Subgraph(f"subgraph_{min(names)}", names), self)

    def _add(self, op: Op) -> None:
        if not self.is_leaf:
            self._children.append(self._child([op]))
        subgraph: Subgraph | None = self
        while subgraph is not None:
            subgraph._ops[op.get_name()] = op
            subgraph = subgraph._parent

    def _remove(self, op: Op) -> None:
        self._ops.pop(op.get_name())
        child = self.find_child_subgraph_by_op(op)
        if child is not None:
            child._remove(op)
            self._children = [other for other in self._children if other._ops]

    def _changes(self) -> None:
        self._graph._changes()

    def __repr__(self) -> str:
        return f"<xir.Subgraph named '{self._name}'>"

    def __str__(self) -> str:
        return f"{{name: '{self._name}', op_num: {self.get_op_num()}, attrs: {self.get_attrs()}}}"


def _names(ops: Iterable[Op]) -> list[str]:
    return sorted(op.get_name() for op in ops)
