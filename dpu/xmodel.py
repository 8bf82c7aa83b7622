"""Read and write .xmodel files (`serial_v2.Graph` of XIR).

The rules held here are those of the real reader (xir 3.5): operators in topological order, a subgraph either a
leaf or a parent, attributes whose key begins with `__` are not written. Embedded operator definitions are kept as
they were read; they may be absent.
"""

from __future__ import annotations

import os
import re
import tempfile
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from google.protobuf.message import DecodeError

from dpu import xmodel_pb2 as pb
from dpu.errors import XmodelError
from dpu.graph import Attr, Graph, Op, Subgraph, Tensor

_DTYPES = ("int", "uint", "xint", "xuint", "float", "bfloat", "unknown")


def load(path: str | Path) -> Graph:
    """The graph in a file. Raises XmodelError (not an .xmodel, damaged) or OSError."""
    path = Path(path)
    if path.is_dir():
        raise XmodelError(f"{path}: expected an .xmodel file, found a folder. Of a bundle, give its model.xmodel.")
    return loads(path.read_bytes(), source=str(path))


def loads(content: bytes, source: str = "the given bytes") -> Graph:
    """The graph in the bytes of a file; `source` names them in errors. Raises XmodelError."""
    message = pb.Graph()
    try:
        message.ParseFromString(content)
    except DecodeError as error:
        raise XmodelError(
            f"{source}: expected an .xmodel (a serialised XIR graph), found {len(content)} bytes that do not parse "
            f"({_short(str(error))}). The file is damaged, cut short or of another kind: fetch or export it again."
        ) from error
    if not message.op_node:
        raise XmodelError(
            f"{source}: expected an .xmodel with operators, found {len(content)} bytes without any. "
            "The file is empty, cut short or of another kind: fetch or export it again."
        )
    try:
        graph = Graph(
            name=message.graph_name,
            ops=[_read_op(node) for node in message.op_node],
            root=_read_subgraph(message.subg_root) if message.HasField("subg_root") else None,
            attrs=_read_attrs(message.graph_attr),
            op_defs=tuple(definition.SerializeToString(deterministic=True) for definition in message.op_defs),
        )
    except _FormatError as error:
        raise XmodelError(f"{source}: {error}. The file is damaged: fetch or export it again.") from None
    check_structure(graph, source)
    return graph


def dumps(graph: Graph) -> bytes:
    """The bytes of a file, the same for equal graphs. Raises XmodelError where the format's rules are broken."""
    check_structure(graph, f"graph {graph.name!r}")
    message = pb.Graph(graph_name=graph.name)
    for op in graph.ops:
        node = message.op_node.add(op_name=op.name, op_type=op.type)
        _write_attrs(node.op_attr, op.attrs)
        for argument, names in op.inputs.items():
            node.args.add(arg_name=argument, arg_ops=names)
        _write_tensor(node.output_tensor, op.output)
    if graph.root is not None:
        _write_subgraph(message.subg_root, graph.root)
    _write_attrs(message.graph_attr, graph.attrs)
    for definition in graph.op_defs:
        message.op_defs.add().ParseFromString(definition)
    return bytes(message.SerializeToString(deterministic=True))


def save(graph: Graph, path: str | Path) -> None:
    """Write a file whole or not at all: under a temporary name in the same folder, then renamed."""
    path = Path(path)
    content = dumps(graph)
    handle, temporary = tempfile.mkstemp(dir=path.parent, prefix=f".{path.name}.", suffix=".part")
    try:
        with os.fdopen(handle, "wb") as file:
            file.write(content)
            file.flush()
            os.fsync(file.fileno())
        os.chmod(temporary, 0o644)
        os.replace(temporary, path)
    except BaseException:
        Path(temporary).unlink(missing_ok=True)
        raise


def check_structure(graph: Graph, source: str) -> None:
    """Raise XmodelError unless names are unique, inputs come earlier, and subgraphs hold each operator at most once."""
    seen: set[str] = set()
    for op in graph.ops:
        for name in op.input_names():
            if name not in seen:
                raise XmodelError(
                    f"{source}: operator {op.name!r} reads {name!r}, which no earlier operator is called. "
                    "Operators must be in topological order (the real xir crashes otherwise): export the model again."
                )
        if op.name in seen:
            raise XmodelError(f"{source}: two operators are called {op.name!r}; names must be unique. Export it again.")
        seen.add(op.name)
    if graph.root is None:
        return
    placed: set[str] = set()
    for subgraph in graph.root.walk():
        if subgraph.op_names and subgraph.children:
            raise XmodelError(
                f"{source}: subgraph {subgraph.name!r} has operators and children; XIR allows one "
                "of them. Export it again."
            )
        for name in subgraph.op_names:
            if name not in seen or name in placed:
                problem = "is in two subgraphs" if name in placed else "does not exist"
                raise XmodelError(
                    f"{source}: subgraph {subgraph.name!r} lists operator {name!r}, which {problem}. Export it again."
                )
            placed.add(name)


class _FormatError(Exception):
    pass


def _short(text: str) -> str:
    return text if len(text) <= 120 else text[:117] + "..."


def _read_op(node: Any) -> Op:
    inputs: dict[str, list[str]] = {}
    for argument in node.args:
        inputs.setdefault(argument.arg_name, []).extend(argument.arg_ops)
    return Op(node.op_name, node.op_type, _read_attrs(node.op_attr), inputs, _read_tensor(node.output_tensor))


def _read_tensor(tensor: Any) -> Tensor:
    if not 0 <= tensor.data_type < len(_DTYPES):
        raise _FormatError(f"tensor {tensor.tensor_name!r} has data type {tensor.data_type}, expected 0 to 6")
    dtype = f"{_DTYPES[tensor.data_type]}{tensor.tensor_bit_width}"
    return Tensor(tensor.tensor_name, tuple(tensor.tensor_dim), dtype, _read_attrs(tensor.tensor_attr))


def _write_tensor(message: Any, tensor: Tensor) -> None:
    match = re.fullmatch(r"([a-z]+)(-?\d+)", tensor.dtype)
    if match is None or match[1] not in _DTYPES:
        raise XmodelError(f"tensor {tensor.name!r} has dtype {tensor.dtype!r}; expected e.g. 'xint8' or 'float32'.")
    message.tensor_name = tensor.name
    message.tensor_dim.extend(tensor.shape)
    message.data_type = _DTYPES.index(match[1])
    message.tensor_bit_width = int(match[2])
    _write_attrs(message.tensor_attr, tensor.attrs)


def _read_subgraph(message: Any) -> Subgraph:
    return Subgraph(
        message.subgraph_name,
        tuple(message.op_name),
        _read_attrs(message.subg_attr),
        tuple(_read_subgraph(child) for child in message.subg_child),
    )


def _write_subgraph(message: Any, subgraph: Subgraph) -> None:
    message.subgraph_name = subgraph.name
    message.op_name.extend(subgraph.op_names)
    _write_attrs(message.subg_attr, subgraph.attrs)
    for child in subgraph.children:
        _write_subgraph(message.subg_child.add(), child)


def _read_attrs(attrs: Any) -> dict[str, Attr]:
    read = {}
    for key in sorted(attrs):
        stored = attrs[key].WhichOneof("value")
        if stored is None:
            raise _FormatError(f"attribute {key!r} has no value")
        kind = stored.removesuffix("_value")
        value = getattr(attrs[key], stored)
        if kind.startswith("map_"):
            of_vectors = kind.endswith("_vec")
            value = {k: tuple(value.value[k].value) if of_vectors else value.value[k] for k in sorted(value.value)}
        elif kind == "bytes_vec":
            value = tuple(item.value for item in value.value)
        elif kind.endswith("_vec"):
            value = tuple(value.value)
        elif kind == "bytes":
            value = value.value
        read[key] = Attr(kind, value)
    return read


def _write_attrs(message: Any, attrs: Mapping[str, Attr]) -> None:
    for key, attr in attrs.items():
        if key.startswith("__"):
            continue
        try:
            _write_value(message[key], attr)
        except (TypeError, ValueError) as error:
            raise XmodelError(
                f"attribute {key!r} of kind {attr.kind}: cannot store {attr.value!r} ({error})."
            ) from error


def _write_value(message: Any, attr: Attr) -> None:
    kind, value = attr.kind, attr.value
    stored = f"{kind}_value"
    if kind.startswith("map_"):
        target = getattr(message, stored)
        target.SetInParent()
        for k, item in value.items():
            if kind.endswith("_vec"):
                target.value[k].value.extend(item)
            else:
                target.value[k] = item
    elif kind == "bytes_vec":
        target = getattr(message, stored)
        target.SetInParent()
        for item in value:
            target.value.add(value=item)
    elif kind.endswith("_vec"):
        target = getattr(message, stored)
        target.SetInParent()
        target.value.extend(value)
    elif kind == "bytes":
        target = getattr(message, stored)
        target.SetInParent()
        target.value = value
    else:
        setattr(message, stored, value)
