"""The exported graph against what vai_q_pytorch exports."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import torch

from compress.darknet.model_files import load_model
from compress.darknet.network import DarknetNetwork
from compress.quantization import quantize, to_xmodel
from compress.quantization.calibration_images import CalibrationImages
from dpu import xmodel
from dpu.graph import Graph


def assert_same(ours: Graph, real: Graph) -> None:
    """Same operators in order, inputs, attributes, shapes and constants, names aside."""
    assert [op.type for op in ours.ops] == [op.type for op in real.ops]
    name = {theirs.name: op.name for op, theirs in zip(ours.ops, real.ops, strict=True)}
    for op, theirs in zip(ours.ops, real.ops, strict=True):
        assert op.inputs == {key: [name[source] for source in sources] for key, sources in theirs.inputs.items()}
        assert op.attrs == theirs.attrs, op.name
        assert (op.output.shape, op.output.dtype, op.output.attrs) == (
            theirs.output.shape,
            theirs.output.dtype,
            theirs.output.attrs,
        )
    assert ours.root is not None and real.root is not None
    assert ours.root.op_names == tuple(name[source] for source in real.root.op_names)
    assert (ours.root.attrs, ours.root.children) == (real.root.attrs, real.root.children)


def test_export_equals_the_real_one(case) -> None:  # type: ignore[no-untyped-def]
    """The three torch cases export as vai_q_pytorch exported them."""
    assert_same(to_xmodel(case.quantized(), case.name), xmodel.load(case.xmodel))


def test_export_of_a_cfg_equals_the_real_one(shared_data: Path) -> None:
    """So does the case that starts from a cfg."""
    folder = shared_data / "nndct_reference" / "cfg_tiny"
    network = load_model(folder / "net.cfg", folder / "net.weights")
    quantized = quantize(network, CalibrationImages(folder / "calib", (64, 64), 4), bias_correction=False)
    assert_same(to_xmodel(quantized), xmodel.load(folder / "CfgTiny_int.xmodel"))


def test_file_round_trip(
    cfg_texts: dict[str, str], make_network: Callable[..., DarknetNetwork], tmp_path: Path
) -> None:
    """The graph is read back as it was written; its outputs are the heads in cfg order."""
    quantized = quantize(make_network(cfg_texts["pruned_yolov3"], seed=1), [torch.rand(2, 3, 96, 96)])
    graph = to_xmodel(quantized, "road")
    xmodel.save(graph, tmp_path / "road_int.xmodel")
    again = xmodel.load(tmp_path / "road_int.xmodel")
    assert again == graph
    assert again.name == "road"
    heads = [head.tensor for head in quantized.heads]
    assert list(again.value("return_ops")) == heads
    assert {op.name for op in again.ops if not again.consumers()[op.name]} == set(heads)
    assert [head.layer for head in quantized.heads] == sorted(head.layer for head in quantized.heads)
