"""The exported ONNX against torch."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import onnx
import onnxruntime
import pytest
import torch

from compress.darknet.network import DarknetNetwork
from compress.darknet.onnx_export import export_onnx
from compress.darknet.testing import MORE, random_cfg, randomise
from compress.darknet.topologies import yolov3_cfg


def assert_equal_outputs(network: DarknetNetwork, path: Path) -> None:
    """ONNX Runtime's outputs are the network's, by name and number."""
    export_onnx(network, path)
    session = onnxruntime.InferenceSession(path, providers=["CPUExecutionProvider"])
    images = torch.rand(1, 3, *network.cfg.input_hw)
    with torch.no_grad():
        expected = network(images)
    names = [f"head_{number}" for number in range(len(expected))]
    assert [output.name for output in session.get_outputs()] == names
    assert session.get_inputs()[0].shape == [1, 3, *network.cfg.input_hw]
    for found, raw in zip(session.run(names, {"images": images.numpy()}), expected, strict=True):
        torch.testing.assert_close(torch.from_numpy(found), raw, rtol=1e-4, atol=1e-4)


@pytest.mark.parametrize("more", [(), MORE], ids=["yolov3", "all"])
@pytest.mark.parametrize("seed", range(25))
def test_random_networks_export_as_they_are(seed: int, more: Sequence[str], tmp_path: Path) -> None:
    """Every kind of layer, activation, padding and route comes out the same in ONNX Runtime."""
    assert_equal_outputs(randomise(DarknetNetwork(random_cfg(seed, more=more)), seed), tmp_path / "a.onnx")


def test_yolov3_exports_as_it_is(tmp_path: Path) -> None:
    """The whole topology at small width, with the DPU's slope."""
    network = randomise(DarknetNetwork(yolov3_cfg(6, (64, 96), 0.125, leaky_slope=26 / 256)))
    assert_equal_outputs(network, tmp_path / "a.onnx")


def test_the_same_network_gives_the_same_file(tmp_path: Path) -> None:
    """Two exports are equal byte for byte and say what a decoder must know."""
    network = randomise(DarknetNetwork(random_cfg(5)))
    for name in ("a.onnx", "b.onnx"):
        export_onnx(network, tmp_path / name)
    assert (tmp_path / "a.onnx").read_bytes() == (tmp_path / "b.onnx").read_bytes()
    properties = {entry.key: entry.value for entry in onnx.load(tmp_path / "a.onnx").metadata_props}
    assert properties["classes"] == "2"
    assert properties["strides"].split(",") == [str(head.stride) for head in network.heads]
