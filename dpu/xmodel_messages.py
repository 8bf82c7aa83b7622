"""Between the messages of an .xmodel file and the dataclasses of `dpu.graph`, losing nothing.

Attributes keep the order they were read in, so what the file's writer wrote in the usual order of fields comes out byte
for byte. Where that does not hold (fields that this program does not know, an argument given in two pieces), the
object keeps the message it was read from in `stored`; when written, that message is brought up to date: only what
differs from the object is replaced, and everything else in it stays.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import replace
from typing import Any

from dpu import xmodel_pb2 as pb
from dpu.errors import XmodelError
from dpu.graph import NO_VALUE, Attr, Graph, Op, Subgraph, Tensor

DEEPEST = 32  # subgraphs within subgraphs; compiled files have 3

_DTYPES = ("int", "uint", "xint", "xuint", "float", "bfloat", "unknown")


class FormatError(Exception):
    """What is wrong with a message, as the beginning of a sentence."""


def read_graph(content: bytes) -> Graph:
    """The graph in the bytes of a file. Raises FormatError, or DecodeError of protobuf."""
    message = pb.Graph.FromString(content)
    ops = [_read_op(node) for node in message.op_node]
    root = _read_subgraph(b"".join(message.subg_root)) if message.subg_root else None
    op_defs = tuple(message.op_defs)
    for definition in op_defs:
        pb.OpDef.FromString(definition)  # kept as they are, but sound
    for part in ("op_node", "subg_root", "op_defs"):
        message.ClearField(part)
    graph = Graph(message.graph_name, stored=message.SerializeToString(), attrs=_attrs_of(message.graph_attr))
    if _own_message(replace(graph, stored=b"")).SerializeToString() == graph.stored:
        graph.stored = b""
    graph.ops, graph.root, graph.op_defs = ops, root, op_defs
    return graph


def write_graph(graph: Graph) -> bytes:
    """The bytes of a file. Raises XmodelError where a value does not fit its kind."""
    message = _own_message(graph)
    message.op_node.extend(_write_op(op) for op in graph.ops)
    if graph.root is not None:
        message.subg_root.append(_write_subgraph(graph.root))
    message.op_defs.extend(graph.op_defs)
    return bytes(message.SerializeToString())


def _own_message(graph: Graph) -> Any:
    """The message of a graph without operators, subgraphs and definitions."""
    message = pb.Graph.FromString(graph.stored)
    message.graph_name = graph.name
    _set_attrs(message.graph_attr, graph.attrs)
    return message


def _read_op(content: bytes) -> Op:
    node = pb.OPNode.FromString(content)
    tensor = _tensor_of(node.output_tensor)
    op = Op(node.op_name, node.op_type, _attrs_of(node.op_attr), _inputs_of(node.args), tensor)
    return op if _write_op(op) == content else replace(op, stored=content)


def _write_op(op: Op) -> bytes:
    node = pb.OPNode.FromString(op.stored)
    node.op_name, node.op_type = op.name, op.type
    _set_attrs(node.op_attr, op.attrs)
    _set_inputs(node.args, op.inputs)
    if not op.stored or not _same_tensor(_tensor_of(node.output_tensor), op.output):
        _set_tensor(node.output_tensor, op.output)
    return bytes(node.SerializeToString())


def _read_subgraph(content: bytes, depth: int = 0) -> Subgraph:
    if depth > DEEPEST:
        raise FormatError(f"subgraphs lie more than {DEEPEST} deep in one another")
    message = pb.SubGraph.FromString(content)
    children = tuple(_read_subgraph(child, depth + 1) for child in message.subg_child)
    message.ClearField("subg_child")
    subgraph = Subgraph(message.subgraph_name, tuple(message.op_name), _attrs_of(message.subg_attr))
    own = message.SerializeToString()
    stored = b"" if _write_subgraph(subgraph) == own else own
    return replace(subgraph, children=children, stored=stored)


def _write_subgraph(subgraph: Subgraph) -> bytes:
    message = pb.SubGraph.FromString(subgraph.stored)
    message.subgraph_name = subgraph.name
    if tuple(message.op_name) != subgraph.op_names:
        message.op_name[:] = subgraph.op_names
    _set_attrs(message.subg_attr, subgraph.attrs)
    message.subg_child.extend(_write_subgraph(child) for child in subgraph.children)
    return bytes(message.SerializeToString())


def _inputs_of(args: Any) -> dict[str, list[str]]:
    inputs: dict[str, list[str]] = {}
    for argument in args:
        inputs.setdefault(argument.arg_name, []).extend(argument.arg_ops)
    return inputs


def _set_inputs(args: Any, inputs: Mapping[str, list[str]]) -> None:
    if list(_inputs_of(args).items()) == list(inputs.items()):
        return
    stored = {argument.arg_name: argument for argument in args}
    renewed = []
    for name, ops in inputs.items():
        argument = pb.OpArg()
        if name in stored:
            argument.CopyFrom(stored[name])
        argument.arg_name = name
        argument.arg_ops[:] = ops
        renewed.append(argument)
    del args[:]
    args.extend(renewed)


def _tensor_of(message: Any) -> Tensor:
    if not 0 <= message.data_type < len(_DTYPES):
        raise FormatError(f"tensor {message.tensor_name!r} has data type {message.data_type}, expected 0 to 6")
    dtype = f"{_DTYPES[message.data_type]}{message.tensor_bit_width}"
    return Tensor(message.tensor_name, tuple(message.tensor_dim), dtype, _attrs_of(message.tensor_attr))


def _same_tensor(one: Tensor, other: Tensor) -> bool:
    alike = one == replace(other, attrs=one.attrs) and list(one.attrs) == list(other.attrs)
    return alike and all(_same(attr, other.attrs[key]) for key, attr in one.attrs.items())


def _set_tensor(message: Any, tensor: Tensor) -> None:
    match = re.fullmatch(r"([a-z]+)(-?\d+)", tensor.dtype)
    if match is None or match[1] not in _DTYPES:
        raise XmodelError(f"tensor {tensor.name!r} has dtype {tensor.dtype!r}; expected e.g. 'xint8' or 'float32'.")
    message.tensor_name = tensor.name
    message.tensor_dim[:] = tensor.shape
    message.data_type = _DTYPES.index(match[1])
    message.tensor_bit_width = int(match[2])
    _set_attrs(message.tensor_attr, tensor.attrs)


def _attrs_of(entries: Any) -> dict[str, Attr]:
    return {entry.key: _attr_of(entry.value) for entry in entries}


def _attr_of(message: Any) -> Attr:
    field = message.WhichOneof("value")
    if field is None:  # no value at all, or one of a kind that came after this program
        return Attr(NO_VALUE, None)
    kind, value = field.removesuffix("_value"), getattr(message, field)
    if kind.startswith("map_"):
        if kind == "map_string_2_bytes":
            return Attr(kind, {e.key: e.value.value for e in value.value})
        of_vectors = kind.endswith("_vec")
        return Attr(kind, {e.key: tuple(e.value.value) if of_vectors else e.value for e in value.value})
    if kind == "bytes_vec":
        return Attr(kind, tuple(item.value for item in value.value))
    if kind.endswith("_vec"):
        return Attr(kind, tuple(value.value))
    return Attr(kind, value.value if kind == "bytes" else value)


def _set_attrs(entries: Any, attrs: Mapping[str, Attr]) -> None:
    """Make repeated AttrEntry say what `attrs` says; entries that say it already stay as they are."""
    stored = {entry.key: entry for entry in entries}
    written = {key: attr for key, attr in attrs.items() if not key.startswith("__")}
    renewed = []
    for key, attr in written.items():
        entry = pb.AttrEntry()
        if key in stored and _same(_attr_of(stored[key].value), attr):
            entry.CopyFrom(stored[key])
        else:
            entry.key = key
            entry.value.CopyFrom(_value(key, attr))
        renewed.append(entry)
    if len(stored) == len(entries) and list(stored.values()) == renewed:
        return
    del entries[:]
    entries.extend(renewed)


def _same(one: Attr, other: Attr) -> bool:
    """Whether two values are written with the same bytes (NaN is not equal to itself)."""
    if one.kind != other.kind:
        return False
    return one == other or _value("", one).SerializeToString() == _value("", other).SerializeToString()


def _value(key: str, attr: Attr) -> Any:
    message = pb.AttrValue()
    try:
        _set_value(message, attr.kind, attr.value)
    except (TypeError, ValueError, AttributeError) as error:
        shown = repr(attr.value)
        raise XmodelError(
            f"attribute {key!r} of kind {attr.kind}: cannot store {shown if len(shown) < 80 else shown[:77] + '...'} "
            f"({error})."
        ) from error
    return message


def _set_value(message: Any, kind: str, value: Any) -> None:
    if kind == NO_VALUE:
        return
    field = f"{kind}_value"
    if kind != "bytes" and not kind.startswith("map_") and not kind.endswith("_vec"):
        setattr(message, field, value)
        return
    target = getattr(message, field)
    target.SetInParent()
    if kind == "bytes":
        target.value = value
    elif kind == "bytes_vec":
        target.value.extend(pb.Bytes(value=item) for item in value)
    elif kind.startswith("map_"):
        for key, item in value.items():
            entry = target.value.add(key=key)
            if kind.endswith("_vec"):
                entry.value.SetInParent()
                entry.value.value.extend(item)
            elif kind == "map_string_2_bytes":
                entry.value.value = item
            else:
                entry.value = item
    else:
        target.value.extend(value)
