"""The public YOLO families: sizes as published, outputs as OpenCV's Darknet reader and ONNX Runtime have them."""

from __future__ import annotations

from pathlib import Path

import cv2
import numpy as np
import onnxruntime
import pytest
import torch

from compress.darknet.cost import dpu_layers, parameter_count
from compress.darknet.model_files import load_folder, save_model
from compress.darknet.network import ConvolutionLayer, DarknetNetwork
from compress.darknet.onnx_export import export_onnx
from compress.darknet.testing import randomise
from compress.darknet.testing_families import FAMILIES, family_cfg
from compress.darknet.weights import save_weights
from dpu.latency import predict

PUBLISHED_BYTES = {  # of the authors' COCO weights; v2's header has 4 bytes less in the older version that they used
    "yolov2": 203_934_260,
    "yolov2-tiny": 44_948_600,
    "yolov3": 248_007_048,
    "yolov3-spp": 252_209_544,
    "yolov3-tiny": 35_434_956,
    "yolov4-tiny": 24_251_276,
}


def small(name: str) -> DarknetNetwork:
    """A family at an eighth of its width with random numbers, as Darknet trained it."""
    network = randomise(DarknetNetwork(family_cfg(name, 3, 96, 64, factor=1 / 8)))
    network.header.seen = 1
    network.set_bn_epsilon(1e-6)  # Darknet's and OpenCV's
    return network


@pytest.mark.parametrize("name", FAMILIES)
def test_a_family_has_the_size_of_its_published_weights(name: str) -> None:
    """Parameters and statistics of the COCO network fill the authors' file to the byte."""
    cfg = family_cfg(name, 80, 416, 416)
    with torch.device("meta"):
        layers = [layer for layer in DarknetNetwork(cfg).layers if isinstance(layer, ConvolutionLayer)]
    statistics = sum(2 * layer.bn.num_features for layer in layers if layer.bn is not None)
    header = 16 if name == "yolov2" else 20
    assert header + 4 * (parameter_count(cfg) + statistics) == PUBLISHED_BYTES[name]


@pytest.mark.parametrize("name", FAMILIES)
def test_a_family_gives_opencvs_outputs(name: str, tmp_path: Path) -> None:
    """Every raw head is what OpenCV computes from the same files, reorg's order of channels included."""
    network = small(name)
    cfg, weights = save_model(network, tmp_path)
    images = np.random.default_rng(0).random((1, 3, *network.cfg.input_hw), np.float32)
    reader = cv2.dnn.readNetFromDarknet(str(cfg), str(weights))
    reader.setInput(images)
    with torch.no_grad():
        ours = network(torch.from_numpy(images))
    theirs = reader.forward([f"conv_{head.layer}" for head in network.heads])
    for our, other in zip(ours, theirs, strict=True):
        np.testing.assert_allclose(our.numpy(), other, rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("name", FAMILIES)
def test_a_family_exports_as_it_is(name: str, tmp_path: Path) -> None:
    """ONNX Runtime gives torch's outputs."""
    network = small(name)
    export_onnx(network, tmp_path / "a.onnx")
    session = onnxruntime.InferenceSession(tmp_path / "a.onnx", providers=["CPUExecutionProvider"])
    images = torch.rand(1, 3, *network.cfg.input_hw)
    with torch.no_grad():
        expected = network(images)
    for found, raw in zip(session.run(None, {"images": images.numpy()}), expected, strict=True):
        torch.testing.assert_close(torch.from_numpy(found), raw, rtol=1e-4, atol=1e-4)


@pytest.mark.parametrize("name", FAMILIES)
def test_a_familys_weights_come_back_byte_for_byte(name: str, tmp_path: Path) -> None:
    """What was read from cfg and weights is written as it was."""
    _, weights = save_model(small(name), tmp_path)
    save_weights(load_folder(tmp_path), tmp_path / "again.weights")
    assert (tmp_path / "again.weights").read_bytes() == weights.read_bytes()


@pytest.mark.parametrize(("name", "kinds"), [("yolov2", {"conv", "pool", "concat"}), ("yolov4-tiny", {"slice"})])
def test_the_dpu_has_a_time_for_a_family(name: str, kinds: set[str]) -> None:
    """A part of a map is moved, a reorg is the processor's; the rest takes time on the DPU."""
    layers = dpu_layers(family_cfg(name, 3, 416, 416))
    assert kinds <= {layer.kind for layer in layers}
    assert not [layer for layer in layers if layer.name.startswith(("reorg", "region"))]
    assert 5 < predict(layers).dpu_ms < 40
