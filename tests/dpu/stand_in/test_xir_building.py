"""Graphs built with the stand-in for xir: operators, shapes, subgraphs, files."""

from __future__ import annotations

import math
import re
import shutil
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from dpu import xmodel
from dpu.errors import RunError
from dpu.executor import Executor
from dpu.graph import Attr, Subgraph
from dpu.testing import QuantisedGraph

FIX = {"bit_width": 8, "if_signed": True, "round_mode": "DPU_ROUND"}


def data(graph: Any, shape: list[int], name: str = "x", dtype: str = "FLOAT32") -> Any:
    return graph.create_op(name, "data", {"shape": shape, "data_type": dtype})


def build(xir: Any) -> Any:
    """A quantised network of two convolutions, a sum and a pool, as the quantiser would write it."""
    rng = np.random.default_rng(5)
    graph = xir.Graph("built")

    def fix(op: Any, position: int) -> Any:
        return graph.create_op(f"{op.get_name()}_fix", "fix", {**FIX, "fix_point": position}, {"input": [op]})

    def conv(name: str, source: Any, depth: int, out: int, position: int) -> Any:
        weights = (rng.integers(-60, 60, (out, 3, 3, depth)) / 256).astype(np.float32)
        bias = (rng.integers(-60, 60, out) / 128).astype(np.float32)
        attrs = {"kernel": [3, 3], "stride": [1, 1], "pad": [1, 1, 1, 1], "pad_mode": "FLOOR"}
        inputs = {
            "input": [source],
            "weights": [fix(graph.create_const_op(f"{name}_w", weights), 8)],
            "bias": [fix(graph.create_const_op(f"{name}_b", bias), 7)],
        }
        return graph.create_op(name, "conv2d", attrs, inputs)

    x = fix(data(graph, [1, 12, 8, 3]), 6)
    first = fix(graph.create_op("relu", "relu", input_ops={"input": [conv("c1", x, 3, 16, 4)]}), 4)
    second = fix(conv("c2", first, 16, 16, 4), 4)
    joined = fix(graph.create_op("sum", "add", input_ops={"input": [first, second]}), 3)
    pool = {"kernel": [2, 2], "stride": [2, 2], "pad_mode": "FLOOR"}
    fix(graph.create_op("pool", "maxpool2d", pool, {"input": [joined]}), 3)
    graph.set_attr("return_ops", ["pool_fix"])
    return graph


def test_a_built_graph_is_written_read_and_run(amd: Any, tmp_path: Path) -> None:
    """Built, serialised, deserialised and run through vart: the integers of the same graph made by other means."""
    path = tmp_path / "built_int.xmodel"
    build(amd.xir).serialize(path)
    read = xmodel.load(path)
    rng = np.random.default_rng(5)
    net = QuantisedGraph("built")
    x = net.data("x", (1, 12, 8, 3), 6)
    weights = [rng.integers(-60, 60, s).astype(np.int8) for s in ((16, 3, 3, 3), 16, (16, 3, 3, 16), 16)]
    first = net.conv("c1", x, weights[0], 8, weights[1], 7, 4, "relu")
    second = net.conv("c2", first, weights[2], 8, weights[3], 7, 4, None)
    net.max_pool("pool", net.add("sum", [first, second], 3), 2, 2, 3)
    shapes = [sorted((op.type, op.output.shape) for op in graph.ops) for graph in (read, net.graph())]
    assert shapes[0] == shapes[1]
    assert read.attrs["return_ops"] == Attr("string_vec", ("pool_fix",))

    graph = amd.xir.Graph.deserialize(str(path))
    (part,) = [s for s in graph.get_root_subgraph().toposort_child_subgraph() if s.get_attr("device") == "DPU"]
    runner = amd.vart.Runner.create_runner(part, "run")
    picture = np.random.default_rng(6).integers(-128, 128, (1, 12, 8, 3), dtype=np.int8)
    out = np.empty(tuple(runner.get_output_tensors()[0].dims), np.int8)
    runner.wait(runner.execute_async([picture], [out]))
    expected = Executor(net.graph()).run({"x_fix": picture})["pool_fix"]
    assert np.array_equal(out, expected) and len(np.unique(out)) > 20


def test_deserialize_builds_what_was_serialised(amd: Any, tmp_path: Path) -> None:
    """Operators, inputs, attributes, tensors and subgraphs of a float graph come back equal."""
    graph = amd.xir.Graph("float")
    x = data(graph, [1, 8, 8, 4])
    a = graph.create_op("a", "relu", input_ops={"input": [x]})
    graph.create_op("b", "softmax", {"axis": -1}, {"input": [a]})
    graph.get_op("a").get_output_tensor().set_attr("fix_point", -3)
    root = graph.get_root_subgraph()
    root.create_child_subgraph()
    merged = root.merge_children({root.find_child_subgraph_by_op_name("a"), root.find_child_subgraph_by_op_name("b")})
    merged.set_attr("device", "CPU")
    merged.set_name("on_the_cpu")
    graph.serialize(str(tmp_path / "f.xmodel"))
    again = amd.xir.Graph.deserialize(str(tmp_path / "f.xmodel"))
    assert again._stored() == graph._stored() == xmodel.load(tmp_path / "f.xmodel")
    assert [op.get_name() for op in again.toposort()] == ["x", "a", "b"]
    assert again.get_tensor("a").get_attr("fix_point") == -3 and again.get_tensor("a").producer is again.get_op("a")
    children = again.get_root_subgraph().toposort_child_subgraph()
    assert [child.get_name() for child in children] == ["subgraph_x", "on_the_cpu"]
    assert children[1].get_attr("device") == "CPU" and children[1].get_op_num() == 2


def test_every_real_file_comes_back_byte_for_byte(amd: Any, shared_data: Path, tmp_path: Path) -> None:
    """Deserialise and serialise change nothing, in quantised files neither; edited ones keep what was not edited."""
    for path in sorted(shared_data.glob("**/*.xmodel")):
        graph = amd.xir.Graph.deserialize(str(path))
        graph.serialize(str(tmp_path / "same.xmodel"))
        assert (tmp_path / "same.xmodel").read_bytes() == path.read_bytes(), path.name
        if graph._quantised is None:
            graph.set_attr("note", "edited")
            graph.serialize(str(tmp_path / "edited.xmodel"))
            edited = xmodel.load(tmp_path / "edited.xmodel")
            assert edited.attrs.pop("note") == Attr("string", "edited")
            assert edited == xmodel.load(path), path.name


def test_a_quantised_file_is_not_changed(amd: Any, model: Path) -> None:
    """Its compiled form is shown, so a change would be lost: it is refused."""
    graph = amd.xir.Graph.deserialize(str(model))
    for change in (
        lambda: graph.set_attr("a", 1),
        lambda: graph.get_op("c1").set_attr("a", 1),
        lambda: graph.create_const_op("k", np.zeros(1, np.int8)),
        lambda: graph.get_root_subgraph().set_name("other"),
        lambda: graph.get_tensor("x_fix").set_attr("fix_point", 1),
        graph.infer_shape,
    ):
        with pytest.raises(RunError, match="cannot be changed"):
            change()


def test_shapes_of_real_files_are_inferred(amd: Any, shared_data: Path) -> None:
    """Every operator of every real file: the shape and dtype that xir itself stored, 18 kinds and more."""
    kinds: set[str] = set()
    for path in sorted(shared_data.glob("**/*.xmodel")):
        stored = xmodel.load(path)
        graph = amd.xir.Graph.of(stored)
        for op in graph.toposort():
            op.get_output_tensor()._shape, op.get_output_tensor()._dtype = (), ""
        graph.infer_shape()
        for op in stored.ops:
            tensor = graph.get_op(op.name).get_output_tensor()
            assert (tuple(tensor.dims), tensor.dtype) == (op.output.shape, op.output.dtype), (path.name, op.name)
            kinds.add(op.type)
    assert len(kinds) > 18


WINDOW = {"kernel": [3, 2], "stride": [2, 1], "pad": [1, 0, 1, 1]}
SHAPES: list[tuple[str, list[int], dict[str, Any], list[int]]] = [
    ("maxpool2d", [1, 7, 8, 3], {**WINDOW, "pad_mode": "FLOOR"}, [1, 8, 4, 3]),
    ("maxpool2d", [1, 7, 9, 3], {**WINDOW, "pad_mode": "CEIL"}, [1, 8, 5, 3]),
    ("avgpool2d", [1, 7, 9, 3], {**WINDOW, "pad_mode": "SAME"}, [1, 9, 5, 3]),
    ("avgpool2d", [1, 7, 9, 3], {**WINDOW, "pad_mode": "VALID"}, [1, 8, 4, 3]),
    ("avgpool2d", [1, 7, 9, 3], {**WINDOW, "pad_mode": "VALID", "global": True}, [1, 1, 1, 3]),
    ("reshape", [1, 2, 3, 4], {"shape": [0, -1, 4]}, [1, 6, 4]),
    ("flatten", [2, 3, 4, 5], {"start_axis": 1, "end_axis": -1}, [2, 60]),
    ("squeeze", [1, 2, 1, 3], {}, [2, 3]),
    ("transpose", [1, 2, 3, 4], {"order": [0, 3, 1, 2]}, [1, 4, 2, 3]),
    ("reduction_mean", [1, 7, 7, 9], {"axis": [1, 2], "keep_dims": True}, [1, 1, 1, 9]),
    ("reduction_mean", [1, 7, 7, 9], {"axis": [1, -2], "keep_dims": False}, [1, 9]),
    ("argmax", [1, 4, 4, 9], {"axis": -1}, [1, 4, 4, 1]),
    ("pad", [1, 4, 4, 9], {"paddings": [0, 0, 1, 2, 3, 4, 0, 0], "mode": "CONSTANT"}, [1, 7, 11, 9]),
    ("resize", [1, 4, 6, 9], {"scale": [2.0, 3.0], "mode": "NEAREST"}, [1, 12, 12, 9]),
    ("reorg", [1, 4, 6, 8], {"scale": 2, "reverse": False}, [1, 2, 3, 32]),
    ("pixel-shuffle", [1, 4, 6, 8], {"scale": 2, "upscale": True}, [1, 8, 12, 2]),
    (
        "strided_slice",
        [1, 9, 6, 8],
        {"begin": [0, 1, 0, 0], "end": [1, 8, 6, 4], "strides": [1, 3, 1, 1]},
        [1, 3, 6, 4],
    ),
    ("gelu", [1, 9, 6, 8], {}, [1, 9, 6, 8]),
    ("shape", [1, 9, 6, 8], {}, [4]),
]


@pytest.mark.parametrize(("kind", "shape", "attrs", "expected"), SHAPES, ids=[f"{c[0]}{c[3]}" for c in SHAPES])
def test_shapes(amd: Any, kind: str, shape: list[int], attrs: dict[str, Any], expected: list[int]) -> None:
    """The output's shape from one input."""
    graph = amd.xir.Graph("g")
    op = graph.create_op("op", kind, attrs, {"input": [data(graph, shape)]})
    assert op.get_output_tensor().dims == expected and op.get_output_tensor().dtype == "float32"
    assert op.get_output_tensor().name == "op"


@pytest.mark.parametrize("stride", [1, 2, 3])
@pytest.mark.parametrize("kind", ["conv2d", "depthwise-conv2d", "transposed-conv2d"])
def test_convolutions_have_the_shapes_of_torch(amd: Any, kind: str, stride: int) -> None:
    """Three convolutions, with dilation and unequal paddings, against torch's own shape rules."""
    torch = pytest.importorskip("torch")
    graph = amd.xir.Graph("g")
    x = data(graph, [1, 19, 23, 4])
    depthwise, transposed = kind.startswith("depthwise"), kind.startswith("transposed")
    weights = graph.create_const_op("w", np.zeros((1, 5, 3, 4) if depthwise else (6, 5, 3, 4), np.float32))
    attrs = {"kernel": [3, 5], "stride": [stride, 2], "dilation": [2, 1], "pad": [1, 1, 2, 2], "pad_mode": "FLOOR"}
    op = graph.create_op("op", kind, attrs, {"input": [x], "weights": [weights]})
    image = torch.zeros(1, 4, 19, 23)
    settings = {"stride": (2, stride), "dilation": (1, 2), "padding": (2, 1)}
    if transposed:
        found = torch.nn.functional.conv_transpose2d(image, torch.zeros(4, 6, 5, 3), **settings)
    else:
        kernel = torch.zeros((4, 1, 5, 3) if depthwise else (6, 4, 5, 3))
        found = torch.nn.functional.conv2d(image, kernel, groups=4 if depthwise else 1, **settings)
    assert op.get_output_tensor().dims == list(found.permute(0, 2, 3, 1).shape)


def test_dtypes(amd: Any) -> None:
    """fix keeps float, float2fix and fix2float change it, constants have numpy's."""
    graph = amd.xir.Graph("g")
    fixed = {**FIX, "fix_point": 3}
    x = data(graph, [1, 4])
    q = graph.create_op("q", "float2fix", fixed, {"input": [x]})
    ops = {
        "xint8": q,
        "float32": graph.create_op("f", "fix2float", fixed, {"input": [q]}),
        "float64": graph.create_const_op("k", np.zeros((2, 3))),
        "int16": graph.create_op("c", "cast", {"data_type": "INT16"}, {"input": [x]}),
        "xuint4": graph.create_op("u", "float2fix", {**fixed, "if_signed": False, "bit_width": 4}, {"input": [x]}),
    }
    for dtype, op in ops.items():
        assert op.get_output_tensor().dtype == dtype
    assert graph.get_tensor("u").get_data_size() == 2 and graph.get_tensor("k").get_data_size() == 48
    assert graph.create_op("same", "fix", fixed, {"input": [x]}).get_output_tensor().dtype == "float32"


def test_constants_are_stored_in_row_order(amd: Any) -> None:
    """A transposed array is written as it looks, not as it lies in memory."""
    graph = amd.xir.Graph("g")
    array = np.arange(6, dtype=np.int32).reshape(2, 3).T
    op = graph.create_const_op("k", array)
    assert op.get_attrs() == {"shape": [3, 2], "data_type": "int32", "data": np.ascontiguousarray(array).tobytes()}


def test_unknown_operators_tell_their_own_shape(amd: Any) -> None:
    """XIR makes up a definition for a type it does not know; shape and data_type are then required."""
    graph = amd.xir.Graph("g")
    x = data(graph, [1, 4, 4, 2])
    op = graph.create_op("mine", "MyOp", {"shape": [1, 9], "data_type": "FLOAT32", "alpha": 0.5}, {"input": [x, x]})
    assert op.get_output_tensor().dims == [1, 9] and op.get_attr("alpha") == 0.5 and op.get_input_num("input") == 2
    for attrs in ({"shape": [1, 9]}, {"data_type": "FLOAT32"}, None):
        with pytest.raises(RunError, match="required, but not set; XIR does not know this type"):
            graph.create_op("other", "MyOp", attrs, {"input": [x]})


CONV = {"kernel": [3, 3], "stride": [1, 1], "pad_mode": "FLOOR"}


@pytest.mark.parametrize(
    ("kind", "attrs", "inputs", "message"),
    [
        ("conv2d", {"kernel": [3, 3], "pad_mode": "FLOOR"}, {"input": ["x"], "weights": ["w"]}, "'stride'.*required"),
        ("conv2d", CONV, {"input": ["x"]}, "'weights' takes exactly one operator, found 0"),
        ("conv2d", CONV, {"input": ["x", "x"], "weights": ["w"]}, "exactly one operator, found 2"),
        ("conv2d", CONV, {"input": ["x"], "weights": ["w"], "bias": ["w", "w"]}, "at most one, found 2"),
        ("conv2d", CONV, {"input": ["x"], "weights": ["w"], "more": ["x"]}, "no input 'more'"),
        ("conv2d", {**CONV, "group": 3}, {"input": ["x"], "weights": ["w"]}, "4 channels in 3 groups"),
        ("conv2d", {**CONV, "pad": [1, 1]}, {"input": ["x"], "weights": ["w"]}, "expected 4 numbers in 'pad'"),
        ("conv2d", {**CONV, "pad_mode": "HALF"}, {"input": ["x"], "weights": ["w"]}, "FLOOR, CEIL, SAME or VALID"),
        ("add", {}, {"input": []}, "takes one or more"),
        ("add", {}, {"input": ["x", "w"]}, "do not fit together"),
        ("eltwise-fix", {}, {"input": ["x", "w"]}, "do not fit together"),
        ("concat", {"axis": 3}, {"input": ["x", "w"]}, "differ in more than axis 3"),
        ("reshape", {"shape": [1, 3]}, {"input": ["x"]}, "128 elements"),
        ("tile-fix", {"stride": 3, "reverse": False}, {"input": ["x"]}, "does not divide into blocks of 3"),
        ("pixel-shuffle", {"scale": 4, "upscale": True}, {"input": ["x"]}, "does not divide into blocks of 4"),
        ("gstiling", {"stride": 0, "reverse": True}, {"input": ["x"]}, "no shape follows .*by zero"),
        ("resize", {"mode": "NEAREST", "scale": [math.nan, 2.0]}, {"input": ["x"]}, "no shape follows .*NaN"),
        ("conv2d", {**CONV, "kernel": [9, 9]}, {"input": ["x"], "weights": ["w"]}, r"would give \[1, -4, 0, 6\]"),
        ("data", {"shape": [0], "data_type": "FLOAT32"}, {}, "shape of positive numbers"),
        ("data", {"shape": [1], "data_type": "FLOAT"}, {}, "'FLOAT' is an invalid data type"),
        ("data", {"shape": [1], "data_type": "Float32"}, {}, "'Float32' is an invalid data type"),
    ],
)
def test_what_does_not_fit(
    amd: Any, kind: str, attrs: dict[str, Any], inputs: dict[str, list[str]], message: str
) -> None:
    """Missing or surplus inputs and attributes, and shapes that contradict, raise; nothing is left in the graph."""
    graph = amd.xir.Graph("g")
    ops = {"x": data(graph, [1, 4, 8, 4]), "w": graph.create_const_op("w", np.zeros((6, 3, 3, 4), np.float32))}
    with pytest.raises(RunError, match=message) as caught:
        graph.create_op("new", kind, attrs, {name: [ops[o] for o in given] for name, given in inputs.items()})
    assert "the real xir aborts" in str(caught.value)
    assert graph.get_op("new") is None and graph.get_op_num() == 2


def test_names_and_owners(amd: Any) -> None:
    """Names are unique, operators of other graphs and things that are no operators are refused."""
    xir = amd.xir
    graph, other = xir.Graph("g"), xir.Graph("h")
    x, stranger = data(graph, [1, 4]), data(other, [1, 4])
    with pytest.raises(RunError, match="already"):
        data(graph, [1, 4])
    with pytest.raises(RunError, match="not in this graph"):
        graph.create_op("a", "relu", input_ops={"input": [stranger]})
    with pytest.raises(RuntimeError, match="a list of xir.Op"):
        graph.create_op("a", "relu", input_ops={"input": ["x"]})
    with pytest.raises(RunError, match="attrs should be a dict"):
        graph.create_op("a", "relu", [], {"input": [x]})
    for wrong in ([1.0], np.zeros(2, bool), np.float32(1), np.zeros((), np.int8)):
        with pytest.raises(RunError, match="expected a"):
            graph.create_const_op("k", wrong)
    a = graph.create_op("a", "relu", input_ops={"input": [x]})
    with pytest.raises(RunError, match="already called"):
        a.get_output_tensor().name = "x"
    a.get_output_tensor().name = "renamed"
    assert graph.get_tensor("renamed").producer is a and graph.get_tensor("a") is None
    clone = xir.Tensor.clone(a.get_output_tensor())
    assert (clone.name, clone.dims, clone.producer) == ("renamed", [1, 4], None)


def test_operators_are_removed_and_rewired(amd: Any) -> None:
    """Only what nothing reads can be removed; inputs can be set and replaced."""
    graph = amd.xir.Graph("g")
    x, y = data(graph, [1, 4]), data(graph, [1, 4], "y")
    a = graph.create_op("a", "relu", input_ops={"input": [x]})
    s = graph.create_op("s", "add", input_ops={"input": [a, a, y]})
    assert a.get_fanout_num() == 2 and a.get_fanout_ops() == [s] and s.get_input_num() == 3
    with pytest.raises(RunError, match="cannot remove operator 'a'"):
        graph.remove_op(a)
    s.replace_input_ops(a, x)
    assert s.get_input_ops() == {"input": [x, x, y]} and s.get_input_op("input", 2) is y
    graph.remove_op(a)
    assert graph.get_op("a") is None and not graph.get_root_subgraph().has_op("a")
    s.set_input_ops("input", [y])
    assert graph.get_head_ops() == {x, y} and graph.get_tail_ops() == {x, s}
    late = graph.create_op("late", "data", {"shape": [1, 7], "data_type": "FLOAT32"})
    with pytest.raises(RunError, match="has shape"):
        s.replace_input_ops(y, late)
    s.set_input_ops("input", [late])
    s.infer_shape()
    assert s.get_output_tensor().dims == [1, 7]
    assert [op.get_name() for op in graph.toposort()] == ["x", "y", "late", "s"]
    with pytest.raises(RunError, match="no input 'input'.3."):
        s.get_input_tensor("input", 3)


def test_subgraphs(amd: Any) -> None:
    """Leaves are made one for each operator and merged; parents, depths, tensors at the borders follow."""
    graph = amd.xir.Graph("g")
    x = data(graph, [1, 4])
    a = graph.create_op("a", "relu", input_ops={"input": [x]})
    b = graph.create_op("b", "relu", input_ops={"input": [a]})
    c = graph.create_op("c", "add", input_ops={"input": [a, b]})
    root = graph.get_root_subgraph()
    assert root.is_root and root.is_leaf and graph.get_leaf_subgraph(a) is root and root.get_name() == "root"
    root.create_child_subgraph()
    with pytest.raises(RunError, match="has children already"):
        root.create_child_subgraph()
    assert [child.get_name() for child in root.toposort_child_subgraph()] == [f"subgraph_{n}" for n in "xabc"]
    leaf = graph.get_leaf_subgraph
    merged = root.merge_children({leaf(b), leaf(a)})
    assert merged.get_name() == "subgraph_a" and merged.depth == 1 and merged.get_parent() is merged.root is root
    assert merged.get_ops() == {a, b} and root.is_child(merged) and root.get_children_num() == 3
    assert merged.get_input_tensors() == {x.get_output_tensor()}
    assert merged.get_output_tensors() == {a.get_output_tensor(), b.get_output_tensor()}
    assert merged.get_tensor_producer(b.get_output_tensor()) is b and merged.get_tensor_producer(None) is None
    assert root.find_child_subgraph_by_op(c) is leaf(c) and merged.find_child_subgraph_by_op(c) is None
    with pytest.raises(RunError, match="not a child"):
        root.merge_children({root})
    circle = root.merge_children({leaf(x), leaf(c)})
    with pytest.raises(RunError, match="in a circle"):
        root.toposort_child_subgraph()
    assert circle.get_op_num() == 2
    late = graph.create_op("late", "relu", input_ops={"input": [c]}, subgraph=circle)
    assert leaf(late) is circle and root.has_op(late)


def test_children_stand_in_xirs_order(amd: Any, shared_data: Path) -> None:
    """In every compiled file, at every level, the order of the children is the one that xir wrote."""
    levels = 0
    for path in sorted((shared_data / "xmodels").glob("*zcu104*.xmodel")):
        waiting = [(amd.xir.Graph.deserialize(str(path)).get_root_subgraph(), xmodel.load(path).root)]
        while waiting:
            subgraph, stored = waiting.pop()
            assert isinstance(stored, Subgraph)
            children = subgraph.toposort_child_subgraph()
            assert [child.get_name() for child in children] == [child.name for child in stored.children]
            waiting += zip(children, stored.children, strict=True)
            levels += bool(children)
    assert levels >= 8


def test_drawings(amd: Any, tmp_path: Path) -> None:
    """The drawing has every operator, edge and subgraph; an image needs Graphviz."""
    graph = amd.xir.Graph("g")
    a = graph.create_op("a", "relu", input_ops={"input": [data(graph, [1, 4], 'x "quoted"')]})
    graph.get_root_subgraph().create_child_subgraph()
    graph.get_leaf_subgraph(a).set_attr("device", "DPU")
    graph.save_as_dot(str(tmp_path / "g.dot"))
    text = (tmp_path / "g.dot").read_text()
    assert text.startswith("digraph") and '\\"quoted\\"' in text and "Type: relu" in text and "color=blue" in text
    assert len(re.findall("->", text)) == 1 and text.count("subgraph cluster") == 2
    if shutil.which("dot") is None:
        with pytest.raises(RunError, match="Graphviz"):
            graph.save_as_image(str(tmp_path / "g.png"), "png")


def test_what_is_printed(amd: Any) -> None:
    """repr and str are those of the real binding."""
    graph = amd.xir.Graph("g")
    x = data(graph, [1, 4])
    assert repr(graph) == "<xir.Graph named 'g'>" and repr(x.get_output_tensor()) == "<xir.Tensor named 'x'>"
    assert str(x) == "{name: 'x', type: 'data', attrs: {'shape': [1, 4], 'data_type': 'FLOAT32'}}"
    assert str(x.get_output_tensor()) == "{name: 'x', shape: [1, 4], type: 'float32', attrs: {}}"
    assert repr(graph.get_root_subgraph()) == "<xir.Subgraph named 'root'>"
    kind = amd.xir.DataType("XINT8")
    assert (kind.type, kind.bit_width, repr(kind)) == (amd.xir.DataType.Type.XINT, 8, "<xir.DataType 'xint8'>")
    assert str(amd.xir.DataType(amd.xir.DataType.Type.FLOAT, 32)) == "'float32'"
