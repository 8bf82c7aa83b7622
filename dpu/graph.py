"""The graph that an .xmodel file holds, as plain dataclasses.

An operator has named inputs (each a list of operator names) and one output tensor. Attribute values keep the
type the file stores (an int32 is not a uint64, a float not a double), because the real reader looks at it.

`stored` of an operator, a subgraph and a graph is for `dpu.xmodel` alone: the message it was read from, where that
holds more than the fields here can tell (see `dpu.xmodel_messages`). A `dataclasses.replace` carries it along.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any

from dpu.errors import XmodelError

SCALAR_KINDS = ("bool", "int32", "uint32", "int64", "uint64", "float", "double", "string", "bytes")
VECTOR_KINDS = tuple(f"{kind}_vec" for kind in SCALAR_KINDS)
MAP_KINDS = tuple(
    f"map_string_2_{kind}"
    for kind in (
        *("int32", "uint32", "int64", "uint64", "string", "bytes"),
        *("int32_vec", "uint32_vec", "int64_vec", "uint64_vec", "string_vec"),
    )
)
NO_VALUE = "none"  # an attribute without a value, or with one of a kind that this program does not know
ATTR_KINDS = frozenset((*SCALAR_KINDS, *VECTOR_KINDS, *MAP_KINDS, NO_VALUE))


@dataclass(frozen=True)
class Attr:
    """One attribute value with the type it is stored as.

    `kind` is one of ATTR_KINDS: `int32`, `float`, `string`, `bytes`, `int32_vec`, `map_string_2_string`...
    `value` is the plain Python value: a scalar, a tuple (vectors) or a dict (maps; a map of vectors has tuples).

        Attr("int32", 7)    Attr("int32_vec", (1, 3, 32, 32))    Attr("string", "DPU_ROUND")
    """

    kind: str
    value: Any

    def __post_init__(self) -> None:
        if self.kind not in ATTR_KINDS:
            raise ValueError(f"unknown attribute kind {self.kind!r}; one of {', '.join(sorted(ATTR_KINDS))}")
        if self.kind in VECTOR_KINDS and not isinstance(self.value, tuple):
            object.__setattr__(self, "value", tuple(self.value))


class Attributed:
    """What has a name and attributes."""

    name: str
    attrs: dict[str, Attr]

    def value(self, key: str, default: Any = None) -> Any:
        """The plain value of an attribute of any kind, or `default` where it is absent."""
        attr = self.attrs.get(key)
        return default if attr is None else attr.value

    def typed(self, key: str, kind: str, default: Any = None) -> Any:
        """The plain value of an attribute that must be of one kind, or `default`. Raises XmodelError for another."""
        attr = self.attrs.get(key)
        if attr is None:
            return default
        if attr.kind != kind:
            raise XmodelError(
                f"{self.name!r}: attribute {key!r} is stored as {attr.kind}, expected {kind}. Export the model again."
            )
        return attr.value


@dataclass(frozen=True)
class Tensor(Attributed):
    """An operator's output: `dtype` is the type and its bits (`xint8`, `float32`), `shape` is NHWC for pictures."""

    name: str
    shape: tuple[int, ...]
    dtype: str
    attrs: dict[str, Attr] = field(default_factory=dict)


@dataclass(frozen=True)
class Op(Attributed):
    """An operator: `inputs` maps an argument's name (`input`, `weights`, `bias`) to the NAMES of operators."""

    name: str
    type: str
    attrs: dict[str, Attr]
    inputs: dict[str, list[str]]
    output: Tensor
    stored: bytes = field(default=b"", compare=False, repr=False)

    def input_names(self) -> list[str]:
        """Names of all the operators this one reads, argument by argument."""
        return [name for names in self.inputs.values() for name in names]


@dataclass(frozen=True)
class Subgraph(Attributed):
    """A part of the graph: a leaf holds operator names, the others hold children."""

    name: str
    op_names: tuple[str, ...] = ()
    attrs: dict[str, Attr] = field(default_factory=dict)
    children: tuple[Subgraph, ...] = ()
    stored: bytes = field(default=b"", compare=False, repr=False)

    @property
    def device(self) -> str:
        """`DPU`, `CPU`, `USER`, or `""` where the compiler has not been."""
        return str(self.value("device", "")).upper()

    @property
    def fingerprint(self) -> int:
        """Of the DPU that it was compiled for, 0 for none in particular. Raises XmodelError for another kind."""
        return int(self.typed("dpu_fingerprint", "uint64", 0))

    def all_op_names(self) -> Iterator[str]:
        """Every operator name in this subgraph and below, in file order."""
        for subgraph in self.walk():
            yield from subgraph.op_names

    def walk(self) -> Iterator[Subgraph]:
        """This subgraph and everything below it, parents first."""
        waiting = [self]
        while waiting:
            subgraph = waiting.pop()
            yield subgraph
            waiting.extend(reversed(subgraph.children))


@dataclass
class Graph(Attributed):
    """A whole model. `ops` are in topological order; `op_defs` are the embedded definitions, kept as bytes."""

    name: str
    ops: list[Op] = field(default_factory=list)
    root: Subgraph | None = None
    attrs: dict[str, Attr] = field(default_factory=dict)
    op_defs: tuple[bytes, ...] = ()
    stored: bytes = field(default=b"", compare=False, repr=False)

    def op_by_name(self) -> dict[str, Op]:
        """A new dict from name to operator."""
        return {op.name: op for op in self.ops}

    def consumers(self) -> dict[str, list[Op]]:
        """For each operator's name the operators that read it, in graph order, one entry for each reading."""
        readers: dict[str, list[Op]] = {op.name: [] for op in self.ops}
        for op in self.ops:
            for name in op.input_names():
                readers[name].append(op)
        return readers

    def subgraphs(self, device: str) -> list[Subgraph]:
        """The root's children on a device (`DPU`, `CPU`, `USER`), in file order."""
        return [child for child in (self.root.children if self.root else ()) if child.device == device.upper()]
