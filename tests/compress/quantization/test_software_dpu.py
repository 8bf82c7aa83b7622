"""The software DPU on the exported graph, read back from its file, against the fake-quantised torch network."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Literal

import numpy as np
import pytest
import torch

from compress.darknet.model_files import load_model
from compress.darknet.network import DarknetNetwork
from compress.quantization import QuantizedNetwork, quantize, to_xmodel
from compress.quantization.calibration_images import CalibrationImages
from dpu import xmodel
from dpu.executor import Executor

ENGINES: tuple[Literal["onnxruntime", "numpy"], ...] = ("onnxruntime", "numpy")


def assert_equal_everywhere(
    quantized: QuantizedNetwork, images: torch.Tensor, path: Path, engine: Literal["onnxruntime", "numpy"]
) -> None:
    """Every tensor with a fix point has the same integers in torch and on the software DPU, for every image."""
    xmodel.save(to_xmodel(quantized), path)
    dpu = Executor(xmodel.load(path), engine=engine)
    assert {value.name for value in dpu.outputs} == {head.tensor for head in quantized.heads}
    for index in range(len(images)):
        ours = quantized.forward_int8(images[index : index + 1])
        found = dpu.run({quantized.input_tensor: ours[quantized.input_tensor]}, tensors="all")
        assert set(ours) <= set(found)
        mismatches = {name: int((found[name] != array).sum()) for name, array in ours.items()}
        assert not any(mismatches.values()), {name: count for name, count in mismatches.items() if count}
        # the simulation is alive: not all zero, not all at the rails
        assert all(np.unique(ours[head.tensor]).size > 8 for head in quantized.heads)


@pytest.mark.parametrize("engine", ENGINES)
@pytest.mark.parametrize("name", ["tiny_yolo", "spp", "corners", "pruned_yolov3"])
def test_random_networks_over_20_images(
    cfg_texts: dict[str, str],
    make_network: Callable[..., DarknetNetwork],
    tmp_path: Path,
    name: str,
    engine: Literal["onnxruntime", "numpy"],
) -> None:
    """0 mismatches in any tensor over 20 images, with bias correction."""
    network = make_network(cfg_texts[name], seed=11)
    images = torch.rand(20, 3, *network.cfg.input_hw, generator=torch.Generator().manual_seed(1))
    images[1::2] = torch.nn.functional.avg_pool2d(images[1::2], 5, 1, 2)  # half of them smooth
    quantized = quantize(network, torch.split(images, 4))
    assert_equal_everywhere(quantized, images, tmp_path / "random_int.xmodel", engine)


@pytest.mark.parametrize("engine", ENGINES)
def test_cfg_case_over_20_images(shared_data: Path, tmp_path: Path, engine: Literal["onnxruntime", "numpy"]) -> None:
    """0 mismatches in any tensor of the reference network over its 20 images."""
    folder = shared_data / "nndct_reference" / "cfg_tiny"
    network = load_model(folder / "net.cfg", folder / "net.weights")
    batches = list(CalibrationImages(folder / "calib", network.cfg.input_hw, 4))
    quantized = quantize(network, batches, bias_correction=False)
    assert_equal_everywhere(quantized, torch.cat(batches), tmp_path / "tiny_int.xmodel", engine)
