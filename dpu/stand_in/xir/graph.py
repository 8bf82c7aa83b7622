"""Graphs: read from files, built operator by operator, written."""

from __future__ import annotations

import shutil
import subprocess
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np

from dpu import graph as stored
from dpu import xmodel
from dpu.errors import RunError
from dpu.graph import Attr
from dpu.lowering import is_quantised, lower

from .aborts import aborts
from .attributes import Attributed
from .op import Op, checked_attrs, checked_inputs
from .op_definitions import definition
from .shape_inference import infer
from .subgraph import Subgraph
from .tensor import Tensor
from .topology import stable_order

_CONSTANT_DTYPES = ("int8", "uint8", "int16", "uint16", "int32", "uint32", "int64", "uint64", "float32", "float64")


class Graph(Attributed):
    """A model.

    A compiled file is shown as it is. A quantised file is shown as the graph that a compiler would make of it, with its
    DPU subgraph, so that it runs; the real xir shows the uncompiled graph. Such a graph can be looked at, run and
    written (the file comes out as it was), but not changed.
    """

    def __init__(self, name: str) -> None:
        self._quantised: stored.Graph | None = None
        self._show(stored.Graph(name, root=stored.Subgraph("root")))

    @staticmethod
    def deserialize(fname: Any) -> Graph:
        """The model in a file. Raises RunError, XmodelError or UnsupportedModelError where the real xir would abort."""
        try:
            model = xmodel.load(str(fname))
        except OSError as error:
            raise aborts(f"cannot read {str(fname)!r}: {error.strerror}", "Check the path.") from error
        if not is_quantised(model):
            return Graph.of(model)
        graph = Graph.of(lower(model))
        graph._quantised = model
        return graph

    @staticmethod
    def of(model: stored.Graph) -> Graph:
        """Not in the real API: a graph of this package, shown as it is."""
        graph = Graph(model.name)
        graph._show(model)
        return graph

    def serialize(self, fname: Any) -> None:
        """Write the file. The real xir also embeds the definitions of all operators, which its reader does not need."""
        xmodel.save(self._quantised or self._stored(), str(fname))

    def get_name(self) -> str:
        return self._read.name

    def create_op(
        self,
        name: str,
        kind: str,
        attrs: dict[str, Any] | None = None,
        input_ops: dict[str, list[Op]] | None = None,
        subgraph: Subgraph | None = None,
    ) -> Op:
        """A new operator, its output's shape inferred. Raises RunError where inputs or attributes do not fit."""
        defined = definition(kind)
        for what, given in (("attrs", attrs), ("input_ops", input_ops)):
            if given is not None and not isinstance(given, dict):
                raise aborts(f"operator {name!r}: {what} should be a dict, found {given!r}", "Give a dict.")
        if name in self._ops:
            raise aborts(f"there is an operator {name!r} already", "Choose another name.")
        given_inputs = {argument.name: (input_ops or {}).get(argument.name, []) for argument in defined.arguments}
        inputs = checked_inputs(self, name, defined, {**given_inputs, **(input_ops or {})})
        output = stored.Tensor(name, (), "float32")
        op = Op(self, stored.Op(name, kind, checked_attrs(name, defined, attrs or {}), {}, output), inputs)
        op.get_output_tensor()._shape, op.get_output_tensor()._dtype = infer(op)
        self._changes()
        self._ops[name] = op
        (self._root if subgraph is None else subgraph)._add(op)
        return op

    def create_const_op(self, name: str, data: np.ndarray) -> Op:
        """A constant of a number type of 8 to 64 bits."""
        if not isinstance(data, np.ndarray):
            raise aborts(f"constant {name!r}: expected a numpy array, found {type(data).__name__}", "Make it one.")
        if data.dtype.name not in _CONSTANT_DTYPES or not data.ndim:
            raise aborts(
                f"constant {name!r}: expected an array of {', '.join(_CONSTANT_DTYPES)}, found {data.dtype} of shape "
                f"{data.shape}",
                "Convert it.",
            )
        attrs = {"shape": data.shape, "data_type": data.dtype.name, "data": np.ascontiguousarray(data)}
        return self.create_op(name, "const", attrs)

    def remove_op(self, op: Op) -> None:
        """Take out an operator that nothing reads."""
        if self.get_op(op.get_name()) is not op:
            raise aborts(f"operator {op.get_name()!r} is not in this graph", "Remove one that is.")
        if op.get_fanout_num():
            readers = [reader.get_name() for reader in op.get_fanout_ops()]
            raise aborts(f"cannot remove operator {op.get_name()!r}: {readers} read it", "Remove those first.")
        self._changes()
        del self._ops[op.get_name()]
        self._root._remove(op)

    def infer_shape(self) -> None:
        """Set every tensor's dims and dtype anew."""
        for op in self.toposort():
            op.infer_shape()

    def get_op(self, name: str) -> Op | None:
        """The operator of that name, or None."""
        return self._ops.get(name)

    def get_ops(self) -> set[Op]:
        return set(self._ops.values())

    def get_op_num(self) -> int:
        return len(self._ops)

    def toposort(self) -> list[Op]:
        """The operators, each after those it reads: in the file's order where that is one."""
        order = stable_order({op: op._all_inputs() for op in self._ops.values()})
        if order is None:
            raise aborts(f"the operators of graph {self.get_name()!r} read each other in a circle", "Break the circle.")
        return order

    def get_head_ops(self) -> set[Op]:
        return {op for op in self._ops.values() if not op.get_input_num()}

    def get_tail_ops(self) -> set[Op]:
        return {op for op in self._ops.values() if not op.get_fanout_num()}

    def get_tensors(self) -> set[Tensor]:
        return {op.get_output_tensor() for op in self._ops.values()}

    def get_tensor(self, name: str) -> Tensor | None:
        """The tensor of that name, or None."""
        return next((tensor for tensor in self._tensors() if tensor.name == name), None)

    def get_tensor_producer(self, tensor: Tensor) -> Op | None:
        return tensor.producer if any(own is tensor for own in self._tensors()) else None

    def get_root_subgraph(self) -> Subgraph:
        return self._root

    def get_leaf_subgraph(self, op: Op) -> Subgraph:
        """The leaf that holds an operator."""
        if not self._root.has_op(op):
            raise aborts(f"operator {op.get_name()!r} is in no subgraph of this graph", "Look for another one.")
        subgraph = self._root
        while not subgraph.is_leaf:
            child = subgraph.find_child_subgraph_by_op(op)
            assert child is not None
            subgraph = child
        return subgraph

    def save_as_dot(self, fname: str) -> None:
        """Write a drawing for Graphviz."""
        self._root.save_as_dot(fname)

    def save_as_image(self, fname: str, format: str) -> None:
        """Draw the graph with Graphviz (`dot`)."""
        dot = shutil.which("dot")
        if dot is None:
            raise RunError(
                "save_as_image: expected Graphviz's program dot, found none. Install it: apt install graphviz"
            )
        self.save_as_dot(f"{fname}.dot")
        subprocess.run([dot, f"-T{format}", f"{fname}.dot", "-o", fname], check=True)  # noqa: S603
        Path(f"{fname}.dot").unlink()

    def _show(self, model: stored.Graph) -> None:
        self._read = model
        self._snapshot: stored.Graph | None = model
        self._readers_of: dict[str, list[Op]] | None = None
        self._attrs: dict[str, Attr] = dict(model.attrs)
        self._ops: dict[str, Op] = {}
        for op in model.ops:
            inputs = {argument: [self._ops[name] for name in names] for argument, names in op.inputs.items()}
            self._ops[op.name] = Op(self, op, inputs)
        everything = stored.Subgraph("root", tuple(self._ops))
        self._root = Subgraph(self, model.root or everything, None)

    def _stored(self) -> stored.Graph:
        """The graph as it would be written; the same object until something is changed."""
        if self._snapshot is None:
            ops = [op._stored() for op in self.toposort()]
            self._snapshot = replace(self._read, ops=ops, root=self._root._written(), attrs=dict(self._attrs))
        return self._snapshot

    def _is_as_read(self) -> bool:
        return self._snapshot is self._read

    def _changes(self) -> None:
        if self._quantised is not None:
            raise RunError(
                f"graph {self.get_name()!r} is the compiled form of a quantised file and cannot be changed here (the "
                "real xir shows the uncompiled graph). Change the graph before it is written."
            )
        self._snapshot = None
        self._readers_of = None

    def _readers(self) -> dict[str, list[Op]]:
        if self._readers_of is None:
            readers: dict[str, list[Op]] = {}
            for op in self._ops.values():
                for source in op._all_inputs():
                    readers.setdefault(source.get_name(), []).append(op)
            self._readers_of = readers
        return self._readers_of

    def _tensors(self) -> list[Tensor]:
        return [op.get_output_tensor() for op in self._ops.values()]

    def __repr__(self) -> str:
        return f"<xir.Graph named '{self.get_name()}'>"

    def __str__(self) -> str:
        return f"{{name: '{self.get_name()}', op_num: {self.get_op_num()}, attrs: {self.get_attrs()}}}"
