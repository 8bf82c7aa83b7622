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
from compress.darknet.testing import random_cfg, randomise
from compress.darknet.testing_families import family_cfg
from compress.quantization import QuantizedNetwork, quantize, to_xmodel
from compress.quantization.calibration_images import CalibrationImages
from compress.quantization.plan import plan_of
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


FOUR_WAY = (
    "[net]\nwidth=32\nheight=32\nchannels=3\n"
    + "".join(
        f"[convolutional]\nbatch_normalize=1\nfilters={filters}\nsize=3\nstride={stride}\npad=1\nactivation={name}\n"
        for filters, stride, name in ((6, 2, "leaky"), (6, 1, "relu"), (6, 1, "linear"))
    )
    + "[shortcut]\nfrom=-2\nactivation=linear\n[shortcut]\nfrom=0\nactivation=linear\n"  # adds that feed an add
    + "[maxpool]\nsize=3\nstride=1\n[route]\nlayers=-1,-2,1,0\n"
    + "[convolutional]\nfilters=8\nsize=1\nactivation=leaky\n[route]\nlayers=-1,-2\n[route]\nlayers=-1\n"
    + "[upsample]\nstride=2\n[maxpool]\nsize=2\nstride=2\n[convolutional]\nfilters=5\nsize=3\nstride=2\npad=1\n"
    + "activation=relu\n[convolutional]\nfilters=18\nsize=1\nactivation=linear\n"
    + "[yolo]\nmask=0,1,2\nanchors=10,14, 23,27, 37,58\nclasses=1\nnum=3\n"
)


@pytest.mark.parametrize("engine", ENGINES)
def test_routes_of_one_two_and_four(
    make_network: Callable[..., DarknetNetwork], tmp_path: Path, engine: Literal["onnxruntime", "numpy"]
) -> None:
    """A concatenation of four, one of a concatenation, adds that feed adds, a linear convolution, readers of three."""
    network = make_network(FOUR_WAY, seed=5)
    images = torch.rand(4, 3, 32, 32, generator=torch.Generator().manual_seed(2))
    assert_equal_everywhere(quantize(network, [images]), images, tmp_path / "four_int.xmodel", engine)


SEEDS = range(24)


@pytest.mark.parametrize("seed", SEEDS)
def test_random_cfgs_equal_the_software_dpu(seed: int, tmp_path: Path) -> None:
    """Whatever layers a cfg strings together, every tensor has the same integers on both."""
    network = randomise(DarknetNetwork(random_cfg(seed)), seed)
    images = torch.rand(2, 3, *network.cfg.input_hw, generator=torch.Generator().manual_seed(seed))
    assert_equal_everywhere(quantize(network, [images]), images, tmp_path / "random_int.xmodel", "onnxruntime")


@pytest.mark.parametrize("engine", ENGINES)
@pytest.mark.parametrize("name", ["yolov3-spp", "yolov2-tiny", "yolov4-tiny"])
def test_families_equal_the_software_dpu(name: str, tmp_path: Path, engine: Literal["onnxruntime", "numpy"]) -> None:
    """A pyramid of poolings, a region head and parts of maps have the same integers on both."""
    network = randomise(DarknetNetwork(family_cfg(name, 3, 64, 64, factor=1 / 8)), 3)
    images = torch.rand(4, 3, 64, 64, generator=torch.Generator().manual_seed(2))
    assert_equal_everywhere(quantize(network, [images]), images, tmp_path / "family_int.xmodel", engine)


def test_random_cfgs_have_every_kind_of_layer() -> None:
    """The cfgs above meet all that the DPU's int8 path has, in the ways that matter."""
    met: set[object] = set()
    for seed in SEEDS:
        cfg = random_cfg(seed)
        network = DarknetNetwork(cfg)
        plan = plan_of(cfg, tuple(head.layer for head in network.heads))
        met.add(("heads", len(plan.heads)))
        for node in plan.nodes:
            met |= {node.kind, (node.kind, node.activation), (node.kind, node.stride), (node.kind, len(node.inputs))}
            met.add((node.kind, "owned" if plan.has_fix_point(node) else "rounded by its reader"))
            met.add((node.kind, "readers", min(2, len(plan.consumers[node.index]))))
            if node.kind == "maxpool":
                met.add(("asymmetric", node.pad[0] != node.pad[1]))
    wanted: set[object] = {("conv", name) for name in ("leaky", "relu", "linear")}
    wanted |= {("conv", 2), ("maxpool", 1), ("maxpool", 2), ("asymmetric", True), ("asymmetric", False)}
    wanted |= {
        "add",
        "upsample",
        "slice",
        ("slice", "rounded by its reader"),
        ("slice", "owned"),
        ("concat", 2),
        ("concat", 3),
        ("heads", 1),
        ("heads", 2),
        ("heads", 3),
    }
    wanted |= {("conv", "rounded by its reader"), ("conv", "readers", 2), ("add", "readers", 2)}
    assert wanted <= met, wanted - met
