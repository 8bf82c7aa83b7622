"""The .xmodel file: round trips and refusals."""

from __future__ import annotations

import importlib.util
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from dpu import xmodel
from dpu.errors import XmodelError
from dpu.graph import ATTR_KINDS, NO_VALUE, Attr, Graph, Op, Subgraph, Tensor
from dpu.xmodel_messages import DEEPEST


def _oracle() -> Any:
    """The messages as XIR declares them, with maps: what protobuf itself makes of a file."""
    spec = importlib.util.spec_from_file_location("serial_v2_pb2", Path(__file__).with_name("serial_v2_pb2.py"))
    assert spec is not None and spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


pb = _oracle()

REAL_FILES = [
    "xmodels/zcu104_vai2.0_small_cnn.xmodel",
    "xmodels/zcu104_vai2.5_small_cnn.xmodel",
    "xmodels/zcu104_vai3.0_pointpillars.xmodel",
    "xmodels/quantised_only_voxelnet_int.xmodel",
    "xmodels/vck190_vai1.4.1_densebox.xmodel",
    "xmodels/not_a_dpu_graph_lstm.xmodel",
    "nndct_reference/tinyyolo_default.int.xmodel",
    "nndct_reference/tinyyolo_nocorr.int.xmodel",
    "nndct_reference/spp_nocorr.int.xmodel",
    "nndct_reference/cfg_tiny/CfgTiny_int.xmodel",
]


def example_value(kind: str) -> object:
    if kind == NO_VALUE:
        return None
    scalar = {"bool": True, "float": 0.5, "double": 0.1, "string": "s", "bytes": b"\x00\xff"}
    if kind.startswith("map_string_2_"):
        return {"a": example_value(kind.removeprefix("map_string_2_"))}
    if kind.endswith("_vec"):
        one = example_value(kind.removesuffix("_vec"))
        return (one, one)
    return scalar.get(kind, 2**40 if "64" in kind else 7)


def normal(content: bytes) -> bytes:
    """The message of a file in a form in which equal messages are equal bytes, NaN and unknown fields included."""
    return pb.Graph.FromString(content).SerializeToString(deterministic=True)  # type: ignore[no-any-return]


def small_graph(attrs: dict[str, Attr]) -> Graph:
    data = Op("a", "data", attrs, {}, Tensor("a", (1, 2, 2, 3), "float32", attrs))
    fix = Op("b", "fix", {"fix_point": Attr("int32", -3)}, {"input": ["a"]}, Tensor("b_t", (1, 2, 2, 3), "xint8"))
    root = Subgraph("root", (), attrs, (Subgraph("left", ("a",), attrs), Subgraph("right", ("b",))))
    return Graph("g", [data, fix], root, attrs)


@pytest.mark.parametrize("name", REAL_FILES)
def test_real_files_survive_a_round_trip(shared_data: Path, name: str) -> None:
    """A real file read and written again is the same, byte for byte."""
    content = (shared_data / name).read_bytes()
    assert xmodel.dumps(xmodel.loads(content)) == content


@pytest.mark.parametrize("name", REAL_FILES)
def test_an_edit_changes_nothing_else(shared_data: Path, name: str) -> None:
    """Of a real file with one attribute of one operator changed, every other message stays as it was."""
    content = (shared_data / name).read_bytes()
    graph = xmodel.loads(content)
    edited = graph.ops[-1]
    graph.ops[-1] = replace(edited, attrs={**edited.attrs, "note": Attr("string", "mine")})
    expected = pb.Graph.FromString(content)
    expected.op_node[-1].op_attr["note"].string_value = "mine"
    assert normal(xmodel.dumps(graph)) == expected.SerializeToString(deterministic=True)


UNKNOWN = b"\xc2\x3e\x03new"  # field 1000, three bytes: of a writer newer than this program


def add_unknown(message: Any) -> None:
    """Put a field that this program does not know into a message and all the messages in it."""
    for field, value in message.ListFields():
        if field.message_type is None:
            continue
        if not field.is_repeated:
            add_unknown(value)
        elif field.message_type.GetOptions().map_entry:
            of_messages = field.message_type.fields_by_name["value"].message_type is not None
            for key in value if of_messages else ():
                add_unknown(value[key])
        else:
            for item in value:
                add_unknown(item)
    message.MergeFromString(UNKNOWN)


@pytest.mark.parametrize("name", [REAL_FILES[1], REAL_FILES[5], REAL_FILES[7]])
def test_unknown_fields_survive_at_every_level(shared_data: Path, name: str) -> None:
    """Fields of a newer writer in every single message of a file are written again."""
    message = pb.Graph.FromString((shared_data / name).read_bytes())
    add_unknown(message)
    content = message.SerializeToString()
    assert content.count(UNKNOWN) > 100
    assert normal(xmodel.dumps(xmodel.loads(content))) == normal(content)


def test_unknown_fields_survive_an_edit() -> None:
    """Where an operator, its tensor, a subgraph and the graph are changed, what we do not know of them stays."""
    message = pb.Graph.FromString(xmodel.dumps(small_graph({"kept": Attr("int32_vec", (1, 2))})))
    add_unknown(message)
    graph = xmodel.loads(message.SerializeToString())
    new = {"added": Attr("float", 0.5)}
    graph.name, graph.attrs = "renamed", {**graph.attrs, **new}
    second = graph.ops[1]
    graph.ops[1] = replace(second, type="relu", output=replace(second.output, shape=(7,)), inputs={"input": ["a", "a"]})
    assert graph.root is not None
    graph.root = replace(graph.root, name="top", attrs={**graph.root.attrs, **new})

    message.graph_name, message.op_node[1].op_type, message.subg_root.subgraph_name = "renamed", "relu", "top"
    message.op_node[1].output_tensor.tensor_dim[:] = (7,)
    message.op_node[1].args[0].arg_ops.append("a")
    for attrs in (message.graph_attr, message.subg_root.subg_attr):
        attrs["added"].float_value = 0.5
    assert normal(xmodel.dumps(graph)) == message.SerializeToString(deterministic=True)


def test_repeated_arguments_stay_apart() -> None:
    """An argument given in pieces reads as one and is written in the same pieces."""
    message = pb.Graph.FromString(xmodel.dumps(small_graph({})))
    args = message.op_node[1].args
    args.add(arg_name="size")
    args.add(arg_name="input", arg_ops=["a", "a"])
    graph = xmodel.loads(message.SerializeToString())
    assert graph.ops[1].inputs == {"input": ["a", "a", "a"], "size": []}
    assert xmodel.dumps(graph) == message.SerializeToString()


_TEXT = st.text(max_size=6)
_RANGES = {
    "int32": (-(2**31), 2**31 - 1),
    "uint32": (0, 2**32 - 1),
    "int64": (-(2**63), 2**63 - 1),
    "uint64": (0, 2**64 - 1),
}
_SCALARS = {
    **{kind: st.integers(*limits) for kind, limits in _RANGES.items()},
    "bool": st.booleans(),
    "float": st.floats(width=32),
    "double": st.floats(),
    "string": _TEXT,
    "bytes": st.binary(max_size=8),
}


def _values(kind: str) -> st.SearchStrategy[Any]:
    if kind.startswith("map_string_2_"):
        return st.dictionaries(_TEXT, _values(kind.removeprefix("map_string_2_")), max_size=40)
    if kind.endswith("_vec"):
        return st.lists(_SCALARS[kind.removesuffix("_vec")], max_size=5).map(tuple)
    return st.none() if kind == NO_VALUE else _SCALARS[kind]


_ATTR = st.sampled_from(sorted(ATTR_KINDS)).flatmap(lambda kind: _values(kind).map(lambda value: Attr(kind, value)))
_KEYS = _TEXT.filter(lambda key: not key.startswith("__"))
_ATTRS = st.dictionaries(_KEYS, _ATTR, max_size=3)
_TENSORS = st.builds(
    Tensor,
    _TEXT,
    st.lists(st.integers(0, 2**32 - 1), max_size=4).map(tuple),
    st.builds("{}{}".format, st.sampled_from(("int", "xint", "xuint", "float", "unknown")), st.integers(-1, 64)),
    _ATTRS,
)


@st.composite
def _graphs(draw: st.DrawFn) -> Graph:
    ops: list[Op] = []
    for name in draw(st.lists(_TEXT, min_size=1, max_size=4, unique=True)):
        sources = st.lists(st.sampled_from([op.name for op in ops]), max_size=3) if ops else st.just([])
        inputs = draw(st.dictionaries(_TEXT, sources, max_size=3))
        ops.append(Op(name, draw(_TEXT), draw(_ATTRS), inputs, draw(_TENSORS)))
    cut = draw(st.integers(0, len(ops)))
    halves = [tuple(op.name for op in part) for part in (ops[:cut], ops[cut:])]
    leaves = tuple(Subgraph(draw(_TEXT), names, draw(_ATTRS)) for names in halves)
    root = draw(st.sampled_from([None, Subgraph("", (), draw(_ATTRS), leaves), Subgraph("r", sum(halves, ()))]))
    return Graph(draw(_TEXT), ops, root, draw(_ATTRS))


@settings(deadline=None, max_examples=150, suppress_health_check=[HealthCheck.too_slow])
@given(_graphs(), st.booleans())
def test_any_graph_survives(graph: Graph, newer_writer: bool) -> None:
    """A random graph written, read by protobuf, written by it in its own order, read and written by us: the same."""
    message = pb.Graph.FromString(xmodel.dumps(graph))
    assert [op.op_name for op in message.op_node] == [op.name for op in graph.ops]
    if newer_writer:
        add_unknown(message)
    content = message.SerializeToString()
    again = xmodel.loads(content)
    assert normal(xmodel.dumps(again)) == normal(content)
    assert repr(again.ops) == repr(xmodel.loads(xmodel.dumps(again)).ops)  # repr: NaN is not equal to itself


@pytest.mark.parametrize("kind", sorted(ATTR_KINDS))
def test_every_attribute_kind_survives(kind: str) -> None:
    """Each of the stored types comes back with its type and value, wherever it stands."""
    graph = small_graph({"unknown_to_us": Attr(kind, example_value(kind))})
    assert xmodel.loads(xmodel.dumps(graph)) == graph


@pytest.mark.parametrize("kind", sorted(kind for kind in ATTR_KINDS if "_" in kind or kind == "bytes"))
def test_empty_values_survive(kind: str) -> None:
    """An empty vector, map or byte string is written as such, not dropped."""
    empty: object = {} if kind.startswith("map_") else b"" if kind == "bytes" else ()
    graph = small_graph({"empty": Attr(kind, empty)})
    assert xmodel.loads(xmodel.dumps(graph)) == graph


def test_private_attributes_are_not_written() -> None:
    """Attributes whose key begins with two underscores stay in memory, as in xir."""
    assert xmodel.loads(xmodel.dumps(small_graph({"__mine": Attr("int32", 1)}))) == small_graph({})


def test_save_replaces_the_file_whole(tmp_path: Path) -> None:
    """A saved file loads again and no temporary file is left."""
    path = tmp_path / "m.xmodel"
    path.write_bytes(b"old")
    xmodel.save(small_graph({}), path)
    assert xmodel.load(path) == small_graph({})
    assert list(tmp_path.iterdir()) == [path]


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"", "without any"),
        (b"this is text, not a model", "do not parse"),
        (b"\x0a\xff\xff\xff\xff\x07abc", "do not parse"),
        (b"\x0a\x01g", "without any"),
        (b"\x52" * 4096, "do not parse"),
    ],
)
def test_what_is_no_xmodel_is_refused(content: bytes, message: str) -> None:
    """Text, huge lengths and empty files are refused with a sentence that says what to do."""
    with pytest.raises(XmodelError, match=message) as caught:
        xmodel.loads(content, source="some.xmodel")
    assert "some.xmodel" in str(caught.value) and "again" in str(caught.value)


def test_files_without_an_end_are_not_read(tmp_path: Path) -> None:
    """What no .xmodel can be by its size alone is refused before it fills the memory."""
    with open(tmp_path / "big.xmodel", "wb") as file:
        file.truncate(2**31)
    for path in (tmp_path / "big.xmodel", Path("/dev/zero")):
        with pytest.raises(XmodelError, match="larger file, or a device"):
            xmodel.load(path)


def test_truncation_is_an_error_at_almost_every_length(shared_data: Path) -> None:
    """A file cut anywhere raises XmodelError, or gives a graph with fewer operators or definitions; never a crash."""
    content = (shared_data / REAL_FILES[6]).read_bytes()
    whole = xmodel.loads(content)
    for length in range(0, len(content), 997):
        try:
            cut = xmodel.loads(content[:length])
        except XmodelError:
            continue
        assert (len(cut.ops), len(cut.op_defs)) < (len(whole.ops), len(whole.op_defs))


@pytest.mark.parametrize("depth", [DEEPEST + 2, 90, 5000])
def test_deep_nesting_is_refused(depth: int) -> None:
    """Subgraphs nested deeper than any compiler's are an error, not a stack overflow."""
    nested = b""
    for _ in range(depth):
        length, size = len(nested), b""
        while True:
            size += bytes([(length & 127) | (128 if length > 127 else 0)])
            length >>= 7
            if not length:
                break
        nested = b"\x52" + size + nested
    with pytest.raises(XmodelError, match="deep"):
        xmodel.loads(b"\x2a\x03\x0a\x01a" + nested)


@pytest.mark.parametrize(
    ("spoil", "message"),
    [
        (lambda g: g.ops.reverse(), "topological"),
        (lambda g: g.ops.append(g.ops[0]), "two operators"),
        (lambda g: setattr(g, "root", Subgraph("r", children=(Subgraph("s"),) * 1_000_001)), "at most 2,000,000"),
        (lambda g: setattr(g, "root", Subgraph("r", ("a", "zz"))), "does not exist"),
        (lambda g: setattr(g, "root", Subgraph("r", ("a", "a"))), "two subgraphs"),
        (lambda g: setattr(g, "root", Subgraph("r", ("a",), {}, (Subgraph("s", ("b",)),))), "one of them"),
    ],
)
def test_broken_structure_is_refused(spoil, message: str) -> None:  # type: ignore[no-untyped-def]
    """What would crash the real xir is refused when writing, and so never reaches a board."""
    graph = small_graph({})
    spoil(graph)
    with pytest.raises(XmodelError, match=message):
        xmodel.dumps(graph)
