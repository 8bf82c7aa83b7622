"""Read and write .xmodel files (`serial_v2.Graph` of XIR).

The rules held here are those of the real reader (xir 3.5): operators in topological order, a subgraph either a
leaf or a parent, attributes whose key begins with `__` are not written. Everything else that a file holds is kept,
fields and attributes that this program does not know included: a file read and written again is byte for byte the
same if its writer kept the usual order of fields, as AMD's does. Embedded operator definitions may be absent.
"""

from __future__ import annotations

from pathlib import Path

from google.protobuf.message import DecodeError, EncodeError

from dpu.errors import XmodelError
from dpu.graph import Graph
from dpu.whole_file import whole_file
from dpu.xmodel_messages import FormatError, read_graph, write_graph

MOST_BYTES = 2**31 - 1  # protobuf reads no more
MOST_LOOKUPS = 2_000_000


def load(path: str | Path) -> Graph:
    """The graph in a file. Raises XmodelError (not an .xmodel, damaged) or OSError."""
    path = Path(path)
    if path.is_dir():
        raise XmodelError(f"{path}: expected an .xmodel file, found a folder. Of a bundle, give its model.xmodel.")
    if path.is_char_device() or path.stat().st_size > MOST_BYTES:
        raise XmodelError(
            f"{path}: expected an .xmodel file of up to {MOST_BYTES:,} bytes, found a larger file, or a device without "
            "an end. Name an .xmodel."
        )
    return loads(path.read_bytes(), source=str(path))


def loads(content: bytes, source: str = "the given bytes") -> Graph:
    """The graph in the bytes of a file; `source` names them in errors. Raises XmodelError."""
    try:
        graph = read_graph(content)
    except DecodeError as error:
        raise XmodelError(
            f"{source}: expected an .xmodel (a serialised XIR graph), found {len(content)} bytes that do not parse "
            f"({_short(str(error))}). The file is damaged, cut short or of another kind: fetch or export it again."
        ) from error
    except FormatError as error:
        raise XmodelError(f"{source}: {error}. The file is damaged: fetch or export it again.") from None
    if not graph.ops:
        raise XmodelError(
            f"{source}: expected an .xmodel with operators, found {len(content)} bytes without any. "
            "The file is empty, cut short or of another kind: fetch or export it again."
        )
    check_structure(graph, source)
    return graph


def dumps(graph: Graph) -> bytes:
    """The bytes of a file. Raises XmodelError where the format's rules are broken."""
    source = f"graph {graph.name!r}"
    check_structure(graph, source)
    try:
        return write_graph(graph)
    except (TypeError, ValueError, EncodeError) as error:  # a shape below 0, a name that is no text, more than 2 GB
        raise XmodelError(
            f"{source}: it cannot be stored ({_short(str(error))}). Correct what does not fit."
        ) from error


def save(graph: Graph, path: str | Path) -> None:
    """Write a file whole or not at all: under a temporary name in the same folder, then renamed."""
    content = dumps(graph)
    with whole_file(path) as file:
        file.write(content)


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
    parts = len(graph.root.children)
    if parts * len(graph.ops) > MOST_LOOKUPS:  # real models have some ten subgraphs and some hundred operators
        raise XmodelError(
            f"{source}: expected at most {MOST_LOOKUPS:,} as subgraphs times operators, found {parts} times "
            f"{len(graph.ops)}. Export it again."
        )
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


def _short(text: str) -> str:
    return text if len(text) <= 120 else text[:117] + "..."
