"""Weights as .safetensors: the same numbers as Darknet's, and every way of being wrong."""

from __future__ import annotations

import logging
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from safetensors.numpy import load_file, save_file

from board_app.core.errors import InputError
from compress.darknet.model_files import load_model
from compress.darknet.network import DarknetNetwork, WeightsHeader
from compress.darknet.testing import MORE, random_cfg, randomise
from compress.darknet.topologies import with_classes, yolov3_tiny_cfg
from compress.darknet.weights import load_weights, save_weights


@pytest.fixture
def tiny() -> DarknetNetwork:
    """A narrow YOLOv3-tiny with random numbers, as if trained by Darknet."""
    network = randomise(DarknetNetwork(yolov3_tiny_cfg(6, (64, 64), 0.125)))
    network.header = WeightsHeader(0, 2, 0, 2**40)
    return network


@pytest.mark.parametrize("seed", range(5))
def test_darknets_bytes_survive(seed: int, tmp_path: Path) -> None:
    """From .weights to .safetensors and back, header and all, no byte changes; nor does the file in between."""
    network = randomise(DarknetNetwork(random_cfg(seed, more=MORE)), seed).to(memory_format=torch.channels_last)
    network.header = WeightsHeader(0, 1 + seed % 2, 5, seed)
    save_weights(network, tmp_path / "a.weights")
    for before, after in (
        ("a.weights", "a.safetensors"),
        ("a.safetensors", "b.weights"),
        ("b.weights", "b.safetensors"),
    ):
        between = DarknetNetwork(network.cfg)
        load_weights(between, tmp_path / before)
        save_weights(between, tmp_path / after)
    for suffix in ("weights", "safetensors"):
        assert (tmp_path / f"a.{suffix}").read_bytes() == (tmp_path / f"b.{suffix}").read_bytes()


def test_coco_weights_survive(shared_data: Path, tmp_path: Path) -> None:
    """The authors' file comes back byte for byte, and its tensors have the names of torch's module."""
    original = shared_data / "weights" / "yolov3-tiny.weights"
    network = load_model(shared_data / "weights" / "yolov3-tiny.cfg", original)
    save_weights(network, tmp_path / "a.safetensors")
    again = load_model(shared_data / "weights" / "yolov3-tiny.cfg", tmp_path / "a.safetensors")
    save_weights(again, tmp_path / "a.weights")
    assert (tmp_path / "a.weights").read_bytes() == original.read_bytes()
    names = {name for name in network.state_dict() if not name.endswith("num_batches_tracked")}
    assert load_file(tmp_path / "a.safetensors").keys() == names


def test_parts_are_taken_by_name(tmp_path: Path, tiny: DarknetNetwork, caplog: pytest.LogCaptureFixture) -> None:
    """Heads of other classes, and layers that the file has not, stay as they are; another width does not."""
    save_weights(tiny, tmp_path / "six.safetensors")
    other = DarknetNetwork(with_classes(tiny.cfg, 3))
    with caplog.at_level(logging.INFO):
        load_weights(other, tmp_path / "six.safetensors", partial=True)
    assert "left layers 15, 22 as they were: the heads" in caplog.text
    assert torch.equal(other.convolution(13).conv.weight, tiny.convolution(13).conv.weight)
    wider = DarknetNetwork(yolov3_tiny_cfg(6, (64, 64), 0.25))
    with pytest.raises(InputError, match=r"layers\.4\.bn\.bias of shape \[16\] \(layer 4, line \d+ of .*found \[8\]"):
        load_weights(wider, tmp_path / "six.safetensors", partial=True)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda tensors: tensors.pop("layers.0.bn.weight"), r"layers\.0\.bn\.weight of shape \[8\] .*found none"),
        (lambda tensors: tensors.update({"layers.1.conv.weight": np.zeros(3, np.float32)}), "layers.1.conv.weight too"),
        (lambda tensors: tensors.update({"layers.0.bn.weight": np.zeros(8)}), "float32 numbers, found float64"),
        (lambda tensors: tensors.update({"layers.0.bn.weight": np.full(8, np.nan, np.float32)}), "NaN in layer 0"),
        (lambda tensors: (tensors.clear(), tensors.update({"model.0.conv": np.zeros(1)})), "found none"),
    ],
)
def test_tensors_of_another_network_are_refused(
    change: Callable[[dict[str, Any]], Any], message: str, tmp_path: Path, tiny: DarknetNetwork
) -> None:
    """A tensor that is missing, too many, of another type or not finite is named."""
    path = tmp_path / "a.safetensors"
    save_weights(tiny, path)
    tensors = load_file(path)
    change(tensors)
    save_file(tensors, path)
    with pytest.raises(InputError, match=message):
        load_weights(DarknetNetwork(tiny.cfg), path)


@pytest.mark.parametrize("length", [0, 5, 1000])
def test_a_truncated_file_is_refused(length: int, tmp_path: Path, tiny: DarknetNetwork) -> None:
    """A part of a file says so; a missing file is an OSError."""
    path = tmp_path / "a.safetensors"
    save_weights(tiny, path)
    path.write_bytes(path.read_bytes()[:length])
    with pytest.raises(InputError, match="whole .safetensors file"):
        load_weights(tiny, path)
    with pytest.raises(FileNotFoundError):
        load_weights(tiny, tmp_path / "none.safetensors")


@pytest.mark.parametrize("header", ["[1]", '{"major": "x"}', '{"seen": -1}', "no json"])
def test_a_wrong_header_is_refused(header: str, tmp_path: Path, tiny: DarknetNetwork) -> None:
    """What is no four whole numbers is shown; a file of another program without one is taken as untrained."""
    path = tmp_path / "a.safetensors"
    save_weights(tiny, path)
    tensors = load_file(path)
    save_file(tensors, path, {"darknet_header": header})
    with pytest.raises(InputError, match="four whole numbers"):
        load_weights(tiny, path)
    save_file(tensors, path)
    load_weights(tiny, path)
    assert tiny.header == WeightsHeader()
