"""A stand-in for AMD's `xir` Python module: reading models, with the real one's API.

`Graph.deserialize` of a quantised file gives the graph that a compiler would make of it, with its DPU subgraph.
What aborts the real process (a glog FATAL) raises here. Building graphs (`create_op`...) is not part of it.
"""

from __future__ import annotations

import math
import sys
import threading
from pathlib import Path
from typing import Any

try:
    import dpu  # noqa: F401
except ImportError:
    # A user puts only .../dpu/stand_in on PYTHONPATH, but the stand-ins work with the package `dpu` above it: its
    # parent goes to the END of the path, so that nothing of the user's is hidden by what lies beside it.
    sys.path.append(str(Path(__file__).resolve().parents[3]))


from dpu import graph as dpu_graph
from dpu import xmodel
from dpu.errors import RunError
from dpu.executor import Executor
from dpu.lowering import is_quantised, lower

__all__ = ["Graph", "Op", "Subgraph", "Tensor"]


class _Attributes:
    """get_attr and its kin, with the types that the real binding gives back."""

    _attrs: dict[str, dpu_graph.Attr]

    def has_attr(self, key: str) -> bool:
        return key in self._attrs

    def get_attr(self, key: str) -> Any:
        if key not in self._attrs:
            raise RunError(f"attribute {key!r} does not exist (the real xir aborts the process). Ask has_attr first.")
        attr = self._attrs[key]
        if attr.kind.startswith("map_string_2_"):
            # Only these two maps come back through the real binding; the others read as None there too.
            return dict(attr.value) if attr.kind in ("map_string_2_int32", "map_string_2_string") else None
        return list(attr.value) if isinstance(attr.value, tuple) else attr.value

    def get_attrs(self) -> dict[str, Any]:
        return {key: self.get_attr(key) for key in self._attrs}


class Tensor(_Attributes):
    """An operator's output: name, dims, dtype and attributes such as `fix_point`."""

    def __init__(self, tensor: dpu_graph.Tensor) -> None:
        self._tensor = tensor
        self._attrs = tensor.attrs

    @property
    def name(self) -> str:
        return self._tensor.name

    @property
    def dims(self) -> list[int]:
        return list(self._tensor.shape)

    @property
    def ndim(self) -> int:
        return len(self._tensor.shape)

    @property
    def dtype(self) -> str:
        return self._tensor.dtype

    def get_element_num(self) -> int:
        return math.prod(self._tensor.shape)

    def get_data_size(self) -> int:
        bits = int("".join(c for c in self._tensor.dtype if c.isdigit()))
        return self.get_element_num() * bits // 8

    def __repr__(self) -> str:
        return f"xir.Tensor(name={self.name!r}, dims={self.dims}, dtype={self.dtype!r})"


class Op(_Attributes):
    """An operator."""

    def __init__(self, graph: Graph, op: dpu_graph.Op) -> None:
        self._graph = graph
        self._op = op
        self._attrs = op.attrs

    def get_name(self) -> str:
        return self._op.name

    def get_type(self) -> str:
        return self._op.type

    def get_input_ops(self) -> dict[str, list[Op]]:
        return {key: [self._graph.get_op(name) for name in names] for key, names in self._op.inputs.items()}

    def get_input_ops_by_name(self, name: str) -> list[Op]:
        return self.get_input_ops().get(name, [])

    def get_input_op(self, name: str, index: int = 0) -> Op:
        found = self.get_input_ops_by_name(name)
        if not 0 <= index < len(found):
            raise RunError(f"operator {self.get_name()!r} has no input {name!r}[{index}] (the real xir aborts here).")
        return found[index]

    def get_input_tensors(self, name: str = "") -> list[Tensor]:
        return [op.get_output_tensor() for key, ops in self.get_input_ops().items() if name in ("", key) for op in ops]

    def get_input_tensor(self, name: str = "input", index: int = 0) -> Tensor:
        return self.get_input_op(name, index).get_output_tensor()

    def get_output_tensor(self) -> Tensor:
        return Tensor(self._op.output)

    def get_fanout_ops(self) -> list[Op]:
        name = self._op.name
        return [self._graph.get_op(op.name) for op in self._graph._graph.ops if name in op.input_names()]

    def __repr__(self) -> str:
        return f"xir.Op(name={self.get_name()!r}, type={self.get_type()!r})"


class Subgraph(_Attributes):
    """A subgraph; the same object each time it is reached."""

    def __init__(self, graph: Graph, subgraph: dpu_graph.Subgraph, parent: Subgraph | None) -> None:
        self._graph = graph
        self._subgraph = subgraph
        self._parent = parent
        self._attrs = subgraph.attrs
        self._children = [Subgraph(graph, child, self) for child in subgraph.children]
        self._executor: Executor | None = None
        self._lock = threading.Lock()

    def get_name(self) -> str:
        return self._subgraph.name

    def get_parent(self) -> Subgraph | None:
        return self._parent

    def get_children(self) -> set[Subgraph]:
        return set(self._children)

    def toposort_child_subgraph(self) -> list[Subgraph]:
        return list(self._children)

    def get_children_num(self) -> int:
        return len(self._children)

    def get_ops(self) -> set[Op]:
        return {self._graph.get_op(name) for name in self._subgraph.all_op_names()}

    def toposort(self) -> list[Op]:
        inside = set(self._subgraph.all_op_names())
        return [op for op in self._graph.toposort() if op.get_name() in inside]

    def get_op_num(self) -> int:
        return sum(1 for _ in self._subgraph.all_op_names())

    def has_op(self, op: Any) -> bool:
        name = op.get_name() if isinstance(op, Op) else op
        return name in set(self._subgraph.all_op_names())

    @property
    def is_leaf(self) -> bool:
        return not self._children

    @property
    def is_root(self) -> bool:
        return self._parent is None

    @property
    def depth(self) -> int:
        return 0 if self._parent is None else self._parent.depth + 1

    def get_input_tensors(self) -> set[Tensor]:
        inside = set(self._subgraph.all_op_names())
        names = {n for op in self.toposort() for n in op._op.input_names() if n not in inside}
        return {self._graph.get_op(name).get_output_tensor() for name in names}

    def get_output_tensors(self) -> set[Tensor]:
        inside = set(self._subgraph.all_op_names())
        read_inside = {n for op in self.toposort() for n in op._op.input_names()}
        outside = {n for op in self._graph._graph.ops if op.name not in inside for n in op.input_names()}
        ops = [op for op in self.toposort() if op.get_name() in outside or op.get_name() not in read_inside]
        return {op.get_output_tensor() for op in ops if not op.get_type().startswith("const")}

    def executor(self) -> Executor:
        """Not in the real API: the software DPU of this subgraph, made once and shared by its runners."""
        with self._lock:
            if self._executor is None:
                self._executor = Executor(self._graph._graph, self._subgraph)
            return self._executor

    def __repr__(self) -> str:
        return f"xir.Subgraph(name={self.get_name()!r})"


class Graph(_Attributes):
    """A model. Real files are read as they are; quantised ones are lowered first."""

    def __init__(self, name: str) -> None:
        self._set(dpu_graph.Graph(name, root=dpu_graph.Subgraph("root")))

    def _set(self, graph: dpu_graph.Graph) -> None:
        self._graph = graph
        self._attrs = graph.attrs
        self._ops = {op.name: Op(self, op) for op in graph.ops}
        everything = dpu_graph.Subgraph("root", tuple(self._ops))
        self._root = Subgraph(self, graph.root or everything, None)

    @staticmethod
    def deserialize(path: Any) -> Graph:
        """The model in a file. Raises XmodelError or UnsupportedModelError where the real xir would abort."""
        graph = xmodel.load(str(path))
        result = Graph(graph.name)
        result._set(lower(graph) if is_quantised(graph) else graph)
        return result

    def serialize(self, path: Any) -> None:
        xmodel.save(self._graph, str(path))

    def get_name(self) -> str:
        return self._graph.name

    def get_root_subgraph(self) -> Subgraph:
        return self._root

    def get_leaf_subgraph(self, op: Op) -> Subgraph | None:
        waiting = [self._root]
        while waiting:
            subgraph = waiting.pop()
            if op.get_name() in subgraph._subgraph.op_names:
                return subgraph
            waiting += subgraph._children
        return None

    def get_ops(self) -> set[Op]:
        return set(self._ops.values())

    def get_op_num(self) -> int:
        return len(self._ops)

    def toposort(self) -> list[Op]:
        return list(self._ops.values())

    def get_op(self, name: str) -> Op:
        if name not in self._ops:
            raise RunError(f"operator {name!r} does not exist. Look for its name in get_ops().")
        return self._ops[name]

    def get_tensors(self) -> set[Tensor]:
        return {op.get_output_tensor() for op in self._ops.values()}
