"""The whole quantiser, from float weights and calibration batches on, against pytorch_nndct 3.5.0's own results."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch

from board_app.core.errors import InputError
from compress.darknet.model_files import load_model
from compress.darknet.network import DarknetNetwork
from compress.quantization import quantize, to_xmodel
from compress.quantization.calibration_images import CalibrationImages
from compress.quantization.plan import plan_of
from compress.quantization.quantized_network import QuantizedNetwork
from compress.quantization.quantizer import float_parameters
from dpu.executor import Executor


def test_parameters_equal_nndct(case) -> None:  # type: ignore[no-untyped-def]
    """Every weight's and bias's fix point and every integer of them is nndct's."""
    quantized = case.quantized()
    for prefix, layer in case.layer_of.items():
        ours = quantized.convolutions[layer]
        for kind, integers, fix_point in (
            ("weight", ours.weight, ours.weight_fix_point),
            ("bias", ours.bias, ours.bias_fix_point),
        ):
            name = f"{prefix}.{kind}" if prefix.startswith("head") else f"{prefix}.conv.{kind}"
            assert fix_point == case.golden[f"pos/param/{name}"][1], name
            np.testing.assert_array_equal(integers, case.golden[f"int8p/{name}"], err_msg=name)


def test_float_parameters_equal_nndct(case) -> None:  # type: ignore[no-untyped-def]
    """Folding the batch normalisation gives nndct's floats, bit for bit."""
    plan = plan_of(case.network.cfg, tuple(head.layer for head in case.network.heads))
    ours = float_parameters(plan, case.network)
    for prefix, layer in case.layer_of.items():
        name = prefix if prefix.startswith("head") else f"{prefix}.conv"
        for kind, values in zip(("weight", "bias"), ours[plan.by_layer[layer].index], strict=True):
            np.testing.assert_array_equal(values.numpy(), case.golden[f"fused/{name}.{kind}"], err_msg=name)


def test_activations_equal_nndct(case) -> None:  # type: ignore[no-untyped-def]
    """Every activation's fix point, every fix point on the way there and every integer on the test input is nndct's."""
    quantized = case.quantized()
    traces = json.loads((case.xmodel.parent / f"{case.name}.names.json").read_text())
    tensors = quantized.forward_int8(torch.from_numpy(case.golden["input"]))
    nodes = {node.nndct_node: node for node in quantized.plan.nodes}
    compared = {key.removeprefix("int8/") for key in case.golden if key.startswith("int8/")}
    assert compared == {name for name, node in nodes.items() if quantized.plan.has_fix_point(node)}
    for name in compared:
        node = nodes[name]
        history = case.golden[f"history/{traces[name].split('::')[1]}"]
        assert quantized.history[node.layer] == tuple(history), name
        assert quantized.fix_points.outputs[node.index] == case.golden[f"pos/output/{name}"][1], name
        np.testing.assert_array_equal(tensors[node.tensor], case.golden[f"int8/{name}"], err_msg=name)


def test_heads_equal_nndct(case) -> None:  # type: ignore[no-untyped-def]
    """The fake-quantised heads are nndct's floats, bit for bit."""
    heads = case.quantized()(torch.from_numpy(case.golden["input"]))
    for index, ours in enumerate(heads):
        np.testing.assert_array_equal(ours.numpy(), case.golden[f"out/{index}"])


@pytest.fixture
def cfg_tiny(shared_data: Path) -> tuple[Path, QuantizedNetwork]:
    """The case that starts from a cfg, Darknet weights and images, quantised by us."""
    folder = shared_data / "nndct_reference" / "cfg_tiny"
    network = load_model(folder / "net.cfg", folder / "net.weights")
    images = CalibrationImages(folder / "calib", network.cfg.input_hw, 4)
    return folder, quantize(network, images, bias_correction=False)


def test_cfg_case_equals_nndct(cfg_tiny: tuple[Path, QuantizedNetwork]) -> None:
    """From cfg, weights and images: every fix point, history entry, parameter and activation is nndct's."""
    folder, quantized = cfg_tiny
    expected = json.loads((folder / "positions.json").read_text())
    found = quantized.positions()
    assert (found["input"], found["heads"]) == (expected["input"], expected["heads"])
    for layer, entry in expected["layers"].items():
        ours = found["layers"].get(layer, {})
        for key in ("weight", "bias", "output"):
            assert ours.get(key) == entry.get(key), (layer, key)
    with np.load(folder / "golden.npz") as golden:
        for key, array in golden.items():
            kind, _, rest = key.partition("/")
            if kind == "history":
                assert quantized.history[-1 if rest == "input" else int(rest)] == tuple(array), key
            elif kind in ("weight", "bias"):
                np.testing.assert_array_equal(getattr(quantized.convolutions[int(rest)], kind), array, err_msg=key)
        images = sorted((folder / "test").glob("*.png"))
        for path, x in zip(images, CalibrationImages(folder / "test", (64, 64), 1), strict=True):
            tensors = quantized.forward_int8(x)
            for node in quantized.plan.nodes:
                if quantized.plan.has_fix_point(node):
                    name = "input" if node.layer < 0 else str(node.layer)
                    np.testing.assert_array_equal(tensors[node.tensor], golden[f"int8/{path.stem}/{name}"])
            for index, head in enumerate(quantized.heads):
                assert head.fix_point == golden[f"out/{path.stem}/HEAD{index}/fix_point"]
                np.testing.assert_array_equal(tensors[head.tensor], golden[f"out/{path.stem}/HEAD{index}"])


def test_quantised_is_near_the_float_network(
    cfg_texts: dict[str, str], make_network: Callable[..., DarknetNetwork]
) -> None:
    """Int8 costs little: the heads follow the float network's."""
    network = make_network(cfg_texts["tiny_yolo"].replace("[net]", "[net]\nleaky_slope=0.1015625"), seed=4)
    batches = [torch.rand(4, 3, 32, 32, generator=torch.Generator().manual_seed(seed)) for seed in range(5)]
    before = {name: value.clone() for name, value in network.state_dict().items()}
    quantized = quantize(network, batches)
    assert all(torch.equal(before[name], value) for name, value in network.state_dict().items())
    with torch.no_grad():
        for ours, expected in zip(quantized(batches[0]), network(batches[0]), strict=True):
            assert ours.shape == expected.shape
            assert (ours - expected).square().mean() < 0.02 * expected.var()


def test_sums_beyond_float32_stay_exact(make_network: Callable[..., DarknetNetwork]) -> None:
    """Where sums might pass 2^24 on the way the simulation computes them exactly all the same."""
    text = (
        "[net]\nwidth=8\nheight=8\nchannels=3\n"
        "[convolutional]\nfilters=3000\nsize=1\nstride=1\nactivation=leaky\n"
        "[convolutional]\nfilters=6\nsize=1\nstride=1\nactivation=linear\n"
        "[yolo]\nmask=0\nanchors=10,14\nclasses=1\nnum=1\n"
    )
    network = make_network(text, seed=6)
    torch.nn.init.uniform_(network.get_parameter("layers.1.conv.weight"), -0.1, 0.1)
    quantized = quantize(network, [torch.rand(1, 3, 8, 8)])
    tensors = quantized.forward_int8(torch.rand(1, 3, 8, 8))
    last, fixed = quantized.convolutions[1], quantized.fix_points
    assert 128 * np.abs(last.weight.astype(np.int64)).sum(axis=(1, 2, 3)).max() > 2**24
    sums = tensors["leaky_relu0_fix"].astype(np.int64) @ last.weight[:, 0, 0].astype(np.int64).T
    at_sum = fixed.outputs[1] + last.weight_fix_point
    exact = sums * 2.0**-at_sum + last.bias * 2.0**-last.bias_fix_point
    expected = np.clip(np.floor(exact * 2.0 ** fixed.outputs[2] + 0.5), -128, 127)
    np.testing.assert_array_equal(tensors["conv1_fix"], expected)
    found = Executor(to_xmodel(quantized)).run({"input_0_fix": tensors["input_0_fix"]})
    np.testing.assert_array_equal(found["conv1_fix"], expected)


def test_foreign_slope_is_announced(
    cfg_texts: dict[str, str], make_network: Callable[..., DarknetNetwork], caplog: pytest.LogCaptureFixture
) -> None:
    """A slope that the DPU lacks is replaced with a warning; its own slope needs none."""
    batch = torch.rand(1, 3, 32, 32)
    quantize(make_network(cfg_texts["spp"].replace("[net]", "[net]\nleaky_slope=0.1015625"), seed=1), [batch])
    assert not [record for record in caplog.records if "slope" in record.message]
    quantize(make_network(cfg_texts["spp"], seed=1), [batch])
    assert "26/256 = 0.1015625, to which 0.1 is changed" in caplog.text


def test_no_batches_is_an_error(cfg_texts: dict[str, str], make_network: Callable[..., DarknetNetwork]) -> None:
    """Calibration without images says so."""
    with pytest.raises(InputError, match="at least one batch"):
        quantize(make_network(cfg_texts["spp"], seed=1), [])


@pytest.mark.parametrize("value", [torch.nan, torch.inf, -torch.inf])
def test_nan_image_is_an_error(
    cfg_texts: dict[str, str], make_network: Callable[..., DarknetNetwork], value: float
) -> None:
    """An image that is not finite is named by its batch and its place there."""
    good, bad = torch.rand(2, 3, 32, 32), torch.rand(3, 3, 32, 32)
    bad[1, 0, 5, 5] = value
    with pytest.raises(InputError, match="batch 2, image 2 of 3: expected finite"):
        quantize(make_network(cfg_texts["spp"], seed=1), [good, bad])


@pytest.mark.parametrize(
    "batch",
    [
        torch.zeros(0, 3, 32, 32),
        torch.rand(3, 32, 32),
        torch.rand(1, 32, 32, 3),
        torch.rand(1, 3, 64, 32),
        torch.zeros(1, 3, 32, 32, dtype=torch.uint8),
    ],
)
def test_what_is_no_batch_is_an_error(
    cfg_texts: dict[str, str], make_network: Callable[..., DarknetNetwork], batch: torch.Tensor
) -> None:
    """No image, another layout, another size, pixels up to 255: the batch is named with what was expected."""
    with pytest.raises(InputError, match=r"batch 1: expected float images \(N, 3, 32, 32\)"):
        quantize(make_network(cfg_texts["spp"], seed=1), [batch])


def test_nan_weights_are_an_error(cfg_texts: dict[str, str], make_network: Callable[..., DarknetNetwork]) -> None:
    """Weights that are not finite are named with their layer."""
    network = make_network(cfg_texts["spp"], seed=1)
    network.get_parameter("layers.1.bn.weight").data[3] = torch.nan
    with pytest.raises(InputError, match="layer 1 "):
        quantize(network, [torch.rand(1, 3, 32, 32)])
