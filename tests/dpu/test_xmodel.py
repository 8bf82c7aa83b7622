"""The .xmodel file: round trips and refusals."""

from __future__ import annotations

from pathlib import Path

import pytest

from dpu import xmodel
from dpu import xmodel_pb2 as pb
from dpu.errors import XmodelError
from dpu.graph import ATTR_KINDS, Attr, Graph, Op, Subgraph, Tensor

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
    scalar = {"bool": True, "float": 0.5, "double": 0.1, "string": "s", "bytes": b"\x00\xff"}
    if kind.startswith("map_string_2_"):
        return {"a": example_value(kind.removeprefix("map_string_2_"))}
    if kind.endswith("_vec"):
        one = example_value(kind.removesuffix("_vec"))
        return (one, one)
    return scalar.get(kind, 2**40 if "64" in kind else 7)


def small_graph(attrs: dict[str, Attr]) -> Graph:
    data = Op("a", "data", attrs, {}, Tensor("a", (1, 2, 2, 3), "float32", attrs))
    fix = Op("b", "fix", {"fix_point": Attr("int32", -3)}, {"input": ["a"]}, Tensor("b_t", (1, 2, 2, 3), "xint8"))
    root = Subgraph("root", (), attrs, (Subgraph("left", ("a",), attrs), Subgraph("right", ("b",))))
    return Graph("g", [data, fix], root, attrs)


@pytest.mark.parametrize("name", REAL_FILES)
def test_real_files_survive_a_round_trip(shared_data: Path, name: str) -> None:
    """A real file written again holds the same messages, attribute by attribute."""
    content = (shared_data / name).read_bytes()
    written = xmodel.dumps(xmodel.loads(content))
    assert len(written) == len(content)
    assert pb.Graph.FromString(written) == pb.Graph.FromString(content)


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


def test_deep_nesting_is_refused() -> None:
    """Subgraphs nested a thousand deep are an error, not a stack overflow."""
    nested = b""
    for _ in range(1000):
        length, size = len(nested), b""
        while True:
            size += bytes([(length & 127) | (128 if length > 127 else 0)])
            length >>= 7
            if not length:
                break
        nested = b"\x52" + size + nested
    with pytest.raises(XmodelError):
        xmodel.loads(b"\x2a\x03\x0a\x01a" + nested)


@pytest.mark.parametrize(
    ("spoil", "message"),
    [
        (lambda g: g.ops.reverse(), "topological"),
        (lambda g: g.ops.append(g.ops[0]), "two operators"),
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
