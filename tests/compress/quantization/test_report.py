"""Where int8 loses: figures that a plain computation confirms, the table and the picture."""

from __future__ import annotations

import json
import math
from collections.abc import Callable
from pathlib import Path

import cv2
import numpy as np
import pytest
import torch

from compress.darknet.network import DarknetNetwork
from compress.quantization import QuantizedNetwork, quantize
from compress.quantization.positions import half_away
from compress.quantization.report import LayerReport, QuantizationReport, measure, write_report
from compress.quantization.signal_to_noise import SILENT_DB, SignalToNoise


@pytest.fixture
def batches() -> list[torch.Tensor]:
    """Two batches of images of different sizes."""
    generator = torch.Generator().manual_seed(3)
    return [torch.rand(3, 3, 32, 32, generator=generator), torch.rand(2, 3, 32, 32, generator=generator)]


@pytest.fixture
def float_network(cfg_texts: dict[str, str], make_network: Callable[..., DarknetNetwork]) -> DarknetNetwork:
    """Every kind of layer, the DPU's slope, two heads."""
    return make_network(cfg_texts["tiny_yolo"].replace("[net]", "[net]\nleaky_slope=0.1015625"), seed=6)


@pytest.fixture
def quantized(float_network: DarknetNetwork, batches: list[torch.Tensor]) -> QuantizedNetwork:
    """The network in int8."""
    return quantize(float_network, batches)


def by_layer(report: QuantizationReport) -> dict[int, LayerReport]:
    """The layers by their index."""
    return {entry.layer: entry for entry in report.layers}


def snr_db(reference: torch.Tensor, found: torch.Tensor) -> float:
    """The plain formula."""
    noise = (found.double() - reference.double()).square().sum() / reference.double().square().sum()
    return -10 * math.log10(noise)


def test_accumulated_noise_is_that_of_the_whole_network(
    float_network: DarknetNetwork, quantized: QuantizedNetwork, batches: list[torch.Tensor]
) -> None:
    """`snr_db` compares the int8 network's integers with the float network's layers, over all batches."""
    report = by_layer(measure(quantized, batches))
    x = torch.cat(batches)
    with torch.no_grad():
        expected = float_network.forward_layers(x)
    tensors = quantized.forward_int8(x)
    for layer, entry in report.items():
        if layer < 0 or entry.fix_point is None:
            continue
        found = torch.from_numpy(tensors[entry.tensor]).permute(0, 3, 1, 2) * 2.0**-entry.fix_point
        assert entry.snr_db == pytest.approx(snr_db(expected[layer], found), abs=1e-3), layer
        magnitude = np.abs(tensors[entry.tensor].astype(int)).clip(max=127).max()
        assert entry.unused_bits == pytest.approx(7 - math.log2(magnitude + 1))
        assert entry.saturated_share == np.isin(tensors[entry.tensor], (-128, 127)).mean()


def test_own_noise_starts_from_the_float_input(
    float_network: DarknetNetwork, quantized: QuantizedNetwork, batches: list[torch.Tensor]
) -> None:
    """`own_snr_db` of a layer is what it alone adds; a layer that only selects adds none."""
    report = by_layer(measure(quantized, batches))
    with torch.no_grad():
        layers = float_network.forward_layers(torch.cat(batches))
    node = quantized.plan.by_layer[2]
    found = quantized.compute(node, [layers[1]])
    assert report[2].own_snr_db == pytest.approx(snr_db(layers[2], found), abs=1e-3)
    assert report[2].own_snr_db > report[2].snr_db  # type: ignore[operator]
    assert report[11].own_snr_db is None and report[11].fix_point is None  # the upsample before a concatenation


def test_weights_that_do_not_fit_are_counted(quantized: QuantizedNetwork, batches: list[torch.Tensor]) -> None:
    """Clipped weights and unused bits of the weights are those of the integers."""
    index = quantized.plan.by_layer[2].index
    report = by_layer(measure(quantized, batches))[2]
    scaled = half_away(quantized.float_parameters[index][0] * 2.0 ** quantized.fix_points.weights[index])
    beyond = (scaled.clamp(-128, 127) != scaled).double().mean().item()
    assert report.weights_clipped_share == beyond
    assert report.weight_fix_point == quantized.fix_points.weights[index]
    largest = min(127, scaled.abs().max().item())
    assert report.weights_unused_bits == pytest.approx(7 - math.log2(largest + 1))


def test_worst_layers_come_first(quantized: QuantizedNetwork, batches: list[torch.Tensor]) -> None:
    """By their own noise; those without any last; every node is there once."""
    report = measure(quantized, batches)
    own = [entry.own_snr_db for entry in report.layers]
    noisy = [value for value in own if value is not None]
    assert noisy == sorted(noisy) and own[len(noisy) :] == [None] * (len(own) - len(noisy))
    assert [entry.layer for entry in report.in_order()] == sorted(node.layer for node in quantized.plan.nodes)
    lines = report.table(3).splitlines()
    assert len(lines) == 3 + 3 + 1 and f"{report.layers[0].layer:>5}  " in lines[3]


def test_files(quantized: QuantizedNetwork, batches: list[torch.Tensor], tmp_path: Path) -> None:
    """The JSON has every figure under its name, and the picture is one."""
    report = measure(quantized, batches)
    write_report(report, tmp_path)
    document = json.loads((tmp_path / "report.json").read_text())
    assert document["schema_version"] == 1 and document["images"] == 5
    assert {"layer", "snr_db", "own_snr_db", "saturated_share", "unused_bits"} <= set(document["layers"][0])
    assert [head["layer"] for head in document["heads"]] == [head.layer for head in quantized.heads]
    picture = cv2.imread(str(tmp_path / "report.png"))
    assert picture is not None and min(picture.shape[:2]) > 400


@pytest.mark.parametrize(
    ("signal", "found", "expected"),
    [([3.0, 4.0], [3.0, 4.0], None), ([0.0], [1.0], SILENT_DB), ([10.0], [11.0], 20.0), ([0.0], [0.0], None)],
)
def test_decibels(signal: list[float], found: list[float], expected: float | None) -> None:
    """No noise has no figure, noise without a signal the lowest."""
    snr = SignalToNoise()
    snr.add(torch.tensor(signal), torch.tensor(found))
    assert snr.db == (None if expected is None else pytest.approx(expected))
