"""The layers of integer graphs, compiled by Vitis AI and quantised."""

from __future__ import annotations

from pathlib import Path

import pytest

from dpu import xmodel
from dpu.errors import UnsupportedModelError
from dpu.graph import Attr, Graph, Op, Subgraph, Tensor
from dpu.graph_layers import isa_of, layers_of_integer_graph, parts_of
from dpu.latency import layers_of_graph, predict


def small_graph(
    op_type: str, source: tuple[int, ...], target: tuple[int, ...], inputs: int = 1, **attrs: Attr
) -> Graph:
    """One operator on the DPU, behind uploads."""
    uploads = [Op(f"in{i}", "upload", {}, {}, Tensor(f"in{i}", source, "xint8")) for i in range(inputs)]
    op = Op("x", op_type, attrs, {"input": [upload.name for upload in uploads]}, Tensor("x", target, "xint8"))
    names = (*(upload.name for upload in uploads), "x")
    dpu = Subgraph("dpu", names, {"device": Attr("string", "DPU")})
    return Graph("g", [*uploads, op], Subgraph("root", children=(dpu,)))


@pytest.mark.parametrize(
    ("name", "kinds", "parts"),
    [
        ("zcu104_vai2.0_small_cnn", "conv conv pool conv pool conv", 2),
        ("zcu104_vai2.5_small_cnn", "conv conv pool conv pool conv hard-sigmoid reshape", 2),
        ("zcu104_vai3.0_pointpillars", "conv pool " + "conv " * 16 + "deconv deconv deconv concat conv conv conv", 2),
    ],
)
def test_compiled_files(shared_data: Path, name: str, kinds: str, parts: int) -> None:
    """Every DPU operator of the compiled files is a layer; several subgraphs follow one another."""
    graph = xmodel.load(shared_data / "xmodels" / f"{name}.xmodel")
    layers = layers_of_graph(graph)
    assert [layer.kind for layer in layers] == kinds.split()
    assert parts_of(graph)[0] == parts and parts_of(graph)[1] > 0
    assert predict(layers).dpu_ms > 0


def test_quantised_and_compiled_agree(shared_data: Path) -> None:
    """The quantised PointPillars network has the predicted time of the compiled one."""
    names = ("quantised_only_voxelnet_int", "zcu104_vai3.0_pointpillars")
    quantised, compiled = (
        predict(layers_of_graph(xmodel.load(shared_data / "xmodels" / f"{name}.xmodel"))).dpu_ms for name in names
    )
    assert quantised == pytest.approx(compiled)


@pytest.mark.parametrize(
    ("op_type", "source", "target", "attrs", "expected"),
    [
        ("eltwise-fix", (1, 8, 8, 16), (1, 8, 8, 16), {"type": "MUL"}, ("mul", (1, 1), 1, 1)),
        ("eltwise-fix", (1, 8, 8, 16), (1, 8, 8, 16), {"type": "ADD"}, ("add", (1, 1), 1, 1)),
        ("upsample-fix", (1, 8, 8, 16), (1, 32, 32, 16), {"mode": "NEAREST"}, ("upsample", (1, 1), 1, 1)),
        ("upsample-fix", (1, 8, 8, 16), (1, 32, 32, 16), {"mode": "BILINEAR"}, ("deconv", (8, 8), 4, 16)),
        ("pad-fix", (1, 8, 8, 16), (1, 10, 10, 16), {}, ("pad", (1, 1), 1, 1)),
        ("tile-fix", (1, 8, 8, 16), (1, 16, 16, 4), {"stride": 2, "reverse": True}, ("slice", (1, 1), 1, 1)),
        ("reshape-fix", (1, 8, 8, 16), (1, 1024), {}, ("reshape", (1, 1), 1, 1)),
        ("hard-sigmoid-fix", (1, 10), (1, 10), {}, ("hard-sigmoid", (1, 1), 1, 1)),
        ("pool-fix", (1, 7, 5, 16), (1, 1, 1, 16), {"kernel": (5, 7), "stride": (1, 1)}, ("pool", (7, 5), 1, 1)),
        (
            "conv2d-fix",
            (1, 8, 8, 16),
            (1, 8, 8, 16),
            {"kernel": (1, 7), "stride": (1, 1), "group": 4},
            ("conv", (7, 1), 1, 4),
        ),
    ],
)
def test_operators(
    op_type: str,
    source: tuple[int, ...],
    target: tuple[int, ...],
    attrs: dict[str, object],
    expected: tuple[str, tuple[int, int], int, int],
) -> None:
    """An operator's kind, kernel (height, width), stride and groups; tensors with fewer axes are rows of channels."""
    stored = {str: "string", bool: "bool", int: "int32", tuple: "int32_vec"}
    typed = {key: Attr(stored[type(value)], value) for key, value in attrs.items()}
    inputs = 2 if op_type == "eltwise-fix" else 1
    (layer,) = layers_of_integer_graph(small_graph(op_type, source, target, inputs, **typed))
    assert (layer.kind, layer.kernel_hw, layer.stride, layer.groups) == expected
    assert layer.in_hwc == ((1,) * (4 - len(source)) + source[1:])


def test_the_dpu_that_a_file_was_compiled_for(shared_data: Path) -> None:
    """Its instruction set comes from the fingerprint; a file for another family is refused by name."""
    names = ("zcu104_vai2.0_small_cnn", "zcu104_vai2.5_small_cnn", "quantised_only_voxelnet_int")
    assert [isa_of(xmodel.load(shared_data / "xmodels" / f"{name}.xmodel")) for name in names] == [0, 1, 1]
    with pytest.raises(UnsupportedModelError, match="expected a model for DPUCZDX8G, found one for DPUCVDX8G"):
        layers_of_graph(xmodel.load(shared_data / "xmodels" / "vck190_vai1.4.1_densebox.xmodel"))


def test_an_unknown_operator_is_named() -> None:
    """What the model has no figure for is told with its subgraph; a batch is refused."""
    with pytest.raises(UnsupportedModelError, match="'x' \\(fft-fix\\) in subgraph 'dpu'"):
        layers_of_integer_graph(small_graph("fft-fix", (1, 8, 8, 16), (1, 8, 8, 16)))
    with pytest.raises(UnsupportedModelError, match="batch 1"):
        layers_of_integer_graph(small_graph("pad-fix", (2, 8, 8, 16), (2, 8, 8, 16)))
