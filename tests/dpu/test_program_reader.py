"""Reading a DPU subgraph: what contradicts itself or is not known is refused, with the operator's name."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from dpu.errors import UnsupportedModelError, XmodelError
from dpu.executor import Executor
from dpu.graph import Attr, Graph
from dpu.operators.testing import IntegerGraph
from dpu.program_reader import program_of


def pooled(shape: tuple[int, ...] = (1, 4, 4, 3), kind: str = "pool-fix", fix_point: int = 4) -> IntegerGraph:
    """One 2 x 2 maximum pool, or another operator with its attributes."""
    net = IntegerGraph()
    becomes = (shape[0], *(size // 2 for size in shape[1:3]), *shape[3:])
    net.op("p", kind, becomes, fix_point, [net.data("x", shape, 4)], type="MAX", kernel=(2, 2), stride=(2, 2))
    return net


def read(graph: Graph) -> None:
    program_of(graph, graph.subgraphs("DPU")[0])


@pytest.mark.parametrize("kind", ["matmul-fix", "inner-product-fix", "softmax", "pixel-shuffle-fix", "relu"])
def test_an_unknown_operator_is_named(kind: str) -> None:
    """Name, type and subgraph stand in the message."""
    with pytest.raises(UnsupportedModelError, match=f"'p' \\({kind}\\) in subgraph 'subgraph_dpu'.*not known"):
        read(pooled(kind=kind).graph())


@pytest.mark.parametrize(
    ("shape", "message"),
    [((2, 4, 4, 3), "expected batch 1"), ((1, 4, 4), r"expected \[1, H, W, C\]"), ((1, 4, 0, 3), "1 to 2.30 values")],
)
def test_only_batch_1_and_pictures_are_pooled(shape: tuple[int, ...], message: str) -> None:
    """Another batch, another rank and an empty picture are refused."""
    with pytest.raises(UnsupportedModelError, match=message):
        read(pooled(shape).graph())


@pytest.mark.parametrize("fix_point", [33, -33, None])
def test_a_position_that_no_quantiser_gives_is_refused(fix_point: int | None) -> None:
    """Fix points go from -32 to 32 and are there."""
    graph = pooled().graph()
    attrs = {} if fix_point is None else {"fix_point": Attr("int32", fix_point)}
    graph.ops[-1] = replace(graph.ops[-1], output=replace(graph.ops[-1].output, attrs=attrs))
    with pytest.raises(UnsupportedModelError, match=f"has fix point {fix_point}"):
        read(graph)


def test_another_family_is_refused() -> None:
    """A subgraph compiled for another DPU family holds its weights in another order."""
    graph = pooled().graph()
    assert graph.root is not None
    dpu = graph.root.children[-1]
    dpu = replace(dpu, attrs={**dpu.attrs, "dpu_fingerprint": Attr("uint64", 0x601001036088111)})
    with pytest.raises(UnsupportedModelError, match="found one for DPUCVDX8G"):
        program_of(graph, dpu)
    dpu = replace(dpu, attrs={"dpu_name": Attr("string", "DPUCAHX8L_ISA0_SP")})
    with pytest.raises(UnsupportedModelError, match="found one for DPUCAHX8L"):
        program_of(graph, dpu)


def test_two_tensors_of_one_name_are_a_damaged_file() -> None:
    """Names are how tensors are asked for, so they must be unique."""
    net = pooled()
    net.op("q", "pool-fix", (1, 2, 2, 3), 4, ["x"], type="MAX", kernel=(2, 2), stride=(2, 2))
    graph = net.graph()
    graph.ops[-1] = replace(graph.ops[-1], output=replace(graph.ops[-1].output, name="p"))
    with pytest.raises(XmodelError, match="two tensors are called 'p'"):
        read(graph)
    graph.ops[-1] = replace(graph.ops[-1], output=replace(graph.ops[-1].output, name="x"))
    with pytest.raises(XmodelError, match="two tensors are called 'x'"):
        read(graph)


def test_a_constant_of_the_wrong_size_is_a_damaged_file() -> None:
    """The bytes must be as many as the shape says, also where a constant is an operand."""
    net = IntegerGraph()
    x, y = net.data("x", (1, 2, 2, 3), 4), net.const("y", np.zeros(3), 4)
    net.op("e", "eltwise-fix", (1, 2, 2, 3), 4, [x, y])
    graph = net.graph()
    read(graph)
    graph.ops[1] = replace(graph.ops[1], attrs={"data": Attr("bytes", b"12")})
    with pytest.raises(XmodelError, match="'y': expected 3 bytes of xint8"):
        read(graph)


def test_a_constant_without_bytes_and_without_a_place_in_the_parameters_is_a_damaged_file() -> None:
    """Nothing is read from the block's beginning because no address says otherwise."""
    net = IntegerGraph()
    net.op("e", "eltwise-fix", (1, 2, 2, 3), 4, [net.data("x", (1, 2, 2, 3), 4), net.const("y", np.zeros(3), 4)])
    graph = net.graph()
    assert graph.root is not None
    parameters = {"reg_id_to_parameter_value": Attr("map_string_2_bytes", {"REG_0": bytes(8)})}
    dpu = replace(graph.root.children[-1], attrs=parameters)
    placed = {**graph.ops[1].output.attrs, "ddr_addr": Attr("int32", 0)}
    graph.ops[1] = replace(graph.ops[1], attrs={}, output=replace(graph.ops[1].output, attrs=placed))
    program_of(graph, dpu)
    del placed["ddr_addr"]
    with pytest.raises(XmodelError, match="'y': expected 3 bytes of xint8 .* found 0"):
        program_of(graph, dpu)


def test_sums_that_64_bits_might_not_hold_are_refused() -> None:
    """A million products make 34 bits; positions and the slope take most of the others."""
    net = IntegerGraph()
    inputs = {"input": [net.data("x", (1, 32, 32, 1025), 4)]}
    inputs["weights"] = [net.const("w", np.ones((1, 32, 32, 1025)), 4)]
    net.op("c", "conv2d-fix", (1, 1, 1, 1), 4, inputs, kernel=(32, 32), stride=(1, 1))
    with pytest.raises(UnsupportedModelError, match="more than 1048576 products"):
        read(net.graph())


def test_positions_too_far_apart_are_refused() -> None:
    """Sums are held in 64 bits; more than 20 bits between positions is no quantiser's doing."""
    with pytest.raises(UnsupportedModelError, match=r"\[4, 25\] lie more than 20 bits apart"):
        read(pooled(fix_point=25).graph())


def test_a_constant_may_be_an_operand_and_an_output_stays() -> None:
    """A constant that is read by two operators is one tensor of the program."""
    net = IntegerGraph()
    y = net.const("y", np.array([1, -2, 3]), 4)
    a = net.op("a", "eltwise-fix", (1, 2, 2, 3), 4, [net.data("x", (1, 2, 2, 3), 4), y])
    net.op("b", "eltwise-fix", (1, 2, 2, 3), 4, [y, a])
    got = net.run({"x": np.zeros((1, 2, 2, 3), np.int8)})
    assert list(got) == ["x", "y", "a", "b"] and got["b"][0, 0, 0].tolist() == [2, -4, 6]
    assert [value.name for value in Executor(net.graph()).outputs] == ["b"]
