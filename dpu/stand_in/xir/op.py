"""Operators."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import TYPE_CHECKING, Any

from dpu import graph as stored
from dpu.graph import Attr

from .aborts import aborts, no_cast
from .attributes import Attributed, attr_of, attr_of_kind
from .op_definitions import OpDefinition, definition
from .shape_inference import infer
from .tensor import Tensor

if TYPE_CHECKING:
    from .graph import Graph


class Op(Attributed):
    """An operator of a graph; made by Graph.create_op."""

    def __init__(self, graph: Graph, op: stored.Op, inputs: Mapping[str, Sequence[Op]]) -> None:
        self._graph = graph
        self._read = op
        self._attrs = dict(op.attrs)
        self._inputs = {argument: list(ops) for argument, ops in inputs.items()}
        self._tensor = Tensor(op.output, self)

    def get_name(self) -> str:
        return self._read.name

    def get_type(self) -> str:
        return self._read.type

    def get_graph(self) -> Graph:
        return self._graph

    def get_input_num(self, name: str | None = None) -> int:
        return len(self._all_inputs() if name is None else self._inputs.get(name, ()))

    def get_input_ops(self) -> dict[str, list[Op]]:
        return {argument: list(self._inputs[argument]) for argument in sorted(self._inputs)}

    def get_input_ops_by_name(self, name: str) -> list[Op]:
        return list(self._inputs.get(name, ()))

    def get_input_op(self, name: str, idx: int = 0) -> Op:
        found = self._inputs.get(name, ())
        if not 0 <= idx < len(found):
            raise aborts(f"operator {self.get_name()!r} has no input {name!r}[{idx}]", "Look at get_input_ops().")
        return found[idx]

    def set_input_ops(self, name: str, ops: list[Op]) -> None:
        self._changes()
        self._inputs[name] = checked_inputs(self._graph, self.get_name(), definition(self.get_type()), {name: ops})[
            name
        ]

    def replace_input_ops(self, op_old: Op, op_new: Op) -> None:
        """Read `op_new` wherever this operator reads `op_old`; their shapes must be equal."""
        if self._graph.get_op(op_new.get_name()) is not op_new:
            raise aborts(f"operator {op_new.get_name()!r} is not in this graph", "Create it in the graph first.")
        old, new = op_old.get_output_tensor().dims, op_new.get_output_tensor().dims
        if old != new:
            raise aborts(f"{op_new.get_name()!r} has shape {new}, {op_old.get_name()!r} has {old}", "Reshape it first.")
        self._changes()
        for argument, ops in self._inputs.items():
            self._inputs[argument] = [op_new if op is op_old else op for op in ops]

    def get_fanout_num(self) -> int:
        """How often this operator's output is read."""
        return len(self._graph._readers().get(self.get_name(), ()))

    def get_fanout_ops(self) -> list[Op]:
        """The operators that read this one's output, each once."""
        return list(dict.fromkeys(self._graph._readers().get(self.get_name(), ())))

    def get_input_tensors(self) -> list[Tensor]:
        """The inputs of all arguments, in the order of the arguments' names."""
        return [op.get_output_tensor() for op in self._all_inputs()]

    def get_input_tensors_by_name(self, name: str) -> list[Tensor]:
        return [op.get_output_tensor() for op in self._inputs.get(name, ())]

    def get_input_tensor(self, name: str, idx: int = 0) -> Tensor:
        return self.get_input_op(name, idx).get_output_tensor()

    def get_output_tensor(self) -> Tensor:
        return self._tensor

    def infer_shape(self) -> None:
        """Set the output tensor's dims and dtype anew from the inputs and attributes."""
        self._changes()
        self._tensor._shape, self._tensor._dtype = infer(self)

    def set_attrs(self, attrs: dict[str, Any]) -> None:
        """Replace all attributes; optional ones that are left out get their defaults."""
        if not isinstance(attrs, dict):
            raise aborts(f"attrs: expected a dict, found {attrs!r}", "Give a dict.")
        self._store(checked_attrs(self.get_name(), definition(self.get_type()), attrs))

    def _attr_of(self, name: str, value: Any) -> Attr:
        return defined_attr(definition(self.get_type()), name, value)

    def _changes(self) -> None:
        self._graph._changes()

    def _all_inputs(self) -> list[Op]:
        return [op for argument in sorted(self._inputs) for op in self._inputs[argument]]

    def _stored(self) -> stored.Op:
        inputs = {argument: [op.get_name() for op in ops] for argument, ops in self._inputs.items()}
        return replace(self._read, attrs=dict(self._attrs), inputs=inputs, output=self._tensor._stored())

    def __repr__(self) -> str:
        return f"<xir.Op named '{self.get_name()}'>"

    def __str__(self) -> str:
        return f"{{name: '{self.get_name()}', type: '{self.get_type()}', attrs: {self.get_attrs()}}}"


def defined_attr(defined: OpDefinition, name: str, value: Any) -> Attr:
    """The attribute as an operator's definition stores it. Raises RunError."""
    for attribute in defined.attributes:
        if attribute.name == name:
            return attr_of_kind(name, value, attribute.kind)
    return attr_of(name, value)


def checked_attrs(op_name: str, defined: OpDefinition, attrs: Mapping[str, Any]) -> dict[str, Attr]:
    """The attributes of an operator, defaults filled in. Raises RunError where a required one is missing."""
    result = {name: defined_attr(defined, name, value) for name, value in attrs.items()}
    for attribute in defined.attributes:
        if attribute.name not in result:
            if attribute.required:
                unknown = "" if defined.built_in else "; XIR does not know this type and cannot infer what it gives"
                raise aborts(
                    f"operator {op_name!r} ({defined.type}): attribute {attribute.name!r} ({attribute.kind}) is "
                    f"required, but not set{unknown}",
                    "Set it.",
                )
            result[attribute.name] = Attr(attribute.kind, attribute.default)
        found = result[attribute.name].value
        if attribute.length and len(found) != attribute.length:
            raise aborts(
                f"operator {op_name!r} ({defined.type}): expected {attribute.length} numbers in {attribute.name!r}, "
                f"found {list(found)}",
                "Give as many; windows are width first, pads left, right, top, bottom.",
            )
    return result


def checked_inputs(
    graph: Graph, op_name: str, defined: OpDefinition, inputs: Mapping[str, Sequence[Op]]
) -> dict[str, list[Op]]:
    """The operators of each argument that is given. Raises RunError."""
    arguments = {argument.name: argument for argument in defined.arguments}
    result = {}
    for name, ops in inputs.items():
        if name not in arguments:
            raise aborts(
                f"operator {op_name!r} ({defined.type}) has no input {name!r}, only {sorted(arguments)}",
                "Name one of them.",
            )
        if not isinstance(ops, (list, tuple)) or not all(isinstance(op, Op) for op in ops):
            raise no_cast(f"operator {op_name!r}, input {name!r}", ops, "a list of xir.Op")
        if not arguments[name].takes(len(ops)):
            often = {"1": "exactly one operator", "?": "at most one", "+": "one or more"}[arguments[name].occurs]
            raise aborts(
                f"operator {op_name!r} ({defined.type}): input {name!r} takes {often}, found {len(ops)}",
                "Give as many.",
            )
        for op in ops:
            if graph.get_op(op.get_name()) is not op:
                raise aborts(f"operator {op.get_name()!r} is not in this graph", "Create it in the graph first.")
        result[name] = list(ops)
    return result
