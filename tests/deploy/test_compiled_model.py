"""What the compiler wrote, held against the detector that went in."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from board_app.core.detector_json import DetectorSpec, HeadSpec
from deploy.compiled_model import compare, compiled_graph, compiled_spec
from deploy.errors import CompileError
from dpu import xmodel
from dpu.architecture import ISA1_B4096_VAI30
from dpu.graph import Graph
from dpu.lowering import lower
from dpu.testing import QuantisedGraph

ANCHORS = ((4.0, 5.0), (10.0, 8.0))


def graph_of(head_channels: tuple[int, ...] = (14, 14), strides: tuple[int, ...] = (2, 4)) -> Graph:
    """An integer graph with one head for each stride, on an input of 32x32."""
    rng = np.random.default_rng(2)
    net = QuantisedGraph()
    x = net.data("input_0", (1, 32, 32, 3), 6)
    for index, (channels, stride) in enumerate(zip(head_channels, strides, strict=True)):
        y = net.random_conv(f"c{index}", x, 8, 3, rng, 4, stride=stride)
        net.random_conv(f"head{index}", y, channels, 1, rng, 3 + index, activation=None)
    return lower(net.graph())


def spec_of(strides: tuple[int, ...] = (2, 4)) -> DetectorSpec:
    """The detector before compiling, whose tensors have other names and fix points."""
    heads = tuple(HeadSpec(f"old{stride}", stride, ANCHORS, 0) for stride in strides)
    return DetectorSpec("small", ("a", "b"), (32, 32), heads, input_tensor="old", input_fix_point=0)


@pytest.mark.parametrize("strides", [(2, 4), (4, 2)])
def test_tensors_by_shape(strides: tuple[int, ...]) -> None:
    """Heads keep their order and take the compiled tensors' names and fix points."""
    spec = compiled_spec(graph_of(), spec_of(strides))
    assert spec.kind == "compiled" and (spec.input_tensor, spec.input_fix_point) == ("input_0_fix", 6)
    found = {head.stride: (head.output, head.fix_point) for head in spec.heads}
    assert [head.stride for head in spec.heads] == list(strides)
    assert found == {2: ("head0_fix", 3), 4: ("head1_fix", 4)}


def test_equal_shapes_go_by_name() -> None:
    """Two heads of one shape are told apart by their names, and refused where these do not help."""
    graph, spec = graph_of(strides=(4, 4)), spec_of((4, 4))
    named = replace(
        spec, heads=(replace(spec.heads[0], output="head1_fix"), replace(spec.heads[1], output="head0_fix"))
    )
    assert [head.fix_point for head in compiled_spec(graph, named).heads] == [4, 3]
    with pytest.raises(CompileError, match="expected one output of the DPU subgraph for each head"):
        compiled_spec(graph, spec)


@pytest.mark.parametrize(
    ("graph", "spec", "expected"),
    [
        (graph_of((14, 7)), spec_of(), "found head0_fix [1, 16, 16, 14], head1_fix [1, 8, 8, 7]"),
        (graph_of(), spec_of((2,)), "for each head (strides 2)"),
        (graph_of(), replace(spec_of(), input_hw=(64, 64)), "expected one input [1, 64, 64, 3]"),
    ],
    ids=["channels", "an output more", "another input"],
)
def test_other_tensors_are_refused(graph: Graph, spec: DetectorSpec, expected: str) -> None:
    """A graph whose inputs or outputs are not the detector's is named with what it has."""
    with pytest.raises(CompileError) as caught:
        compiled_spec(graph, spec)
    assert expected in str(caught.value)


def test_files_that_are_no_compiled_model(tmp_path: Path) -> None:
    """Rubbish and a model that was not compiled for that DPU come out as errors of compiling."""
    path = tmp_path / "compiled.xmodel"
    path.write_bytes(b"rubbish")
    with pytest.raises(CompileError, match="expected a compiled model from vai_c_xir"):
        compiled_graph(path, ISA1_B4096_VAI30)
    net = QuantisedGraph()
    rng = np.random.default_rng(1)
    net.random_conv("c", net.data("input", (1, 8, 8, 3), 6), 8, 3, rng, 4)
    xmodel.save(net.graph(), path)
    with pytest.raises(CompileError, match="expected a model that runs on DPU 0x101000056010407"):
        compiled_graph(path, ISA1_B4096_VAI30)


@pytest.mark.parametrize(
    ("theirs", "share", "largest", "relative"),
    [([3.0, 4.0], 1.0, 0.0, 0.0), ([3.0, 4.5], 0.5, 0.5, 0.1), ([0.0, 0.0], 0.0, 4.0, 1.0)],
)
def test_compare(theirs: list[float], share: float, largest: float, relative: float) -> None:
    """Equal numbers, the largest difference and the RMS error against the first model."""
    found = compare([np.array([[3.0, 4.0]])], [np.array([theirs])])
    assert (found.images, found.equal_share, found.max_abs_difference) == (1, share, largest)
    assert found.relative_error == pytest.approx(relative)


def test_compare_other_shapes() -> None:
    """Heads of another network are no difference to measure."""
    with pytest.raises(CompileError, match="Name the network of the bundle"):
        compare([np.zeros((1, 2))], [np.zeros((1, 3))])
