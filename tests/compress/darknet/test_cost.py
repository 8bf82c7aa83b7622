"""Costs against the network itself."""

from __future__ import annotations

import pytest
import torch

from compress.darknet.cost import dpu_layers, gmacs, parameter_count
from compress.darknet.network import ConvolutionLayer, DarknetNetwork
from compress.darknet.testing import MORE, random_cfg
from compress.darknet.topologies import yolov3_cfg


@pytest.mark.parametrize("seed", range(8))
def test_costs_are_those_of_the_network(seed: int) -> None:
    """Parameters equal torch's count; multiply-accumulates equal outputs times kernel size, seen while it runs."""
    network = DarknetNetwork(random_cfg(seed, more=MORE)).eval()
    assert parameter_count(network.cfg) == sum(p.numel() for p in network.parameters())
    outputs = network.forward_layers(torch.zeros(1, 3, *network.cfg.input_hw))
    macs = sum(
        raw.numel() * layer.conv.weight[0].numel()
        for layer, raw in zip(network.layers, outputs, strict=True)
        if isinstance(layer, ConvolutionLayer)
    )
    assert gmacs(network.cfg) == pytest.approx(macs / 1e9)


def test_yolov3_costs_what_is_published() -> None:
    """69.77 GMACs at 608 x 608."""
    assert gmacs(yolov3_cfg(6, (608, 608))) == pytest.approx(69.77, abs=0.01)


def test_the_dpu_sees_every_layer_that_takes_time() -> None:
    """Convolutions, sums, concatenations, pooling and upsampling, with shapes that follow each other."""
    layers = dpu_layers(yolov3_cfg(6, (256, 320)))
    kinds = [layer.kind for layer in layers]
    assert [kinds.count(kind) for kind in ("conv", "add", "concat", "upsample")] == [75, 23, 2, 2]
    assert (layers[0].in_hwc, layers[0].out_hwc, layers[0].kernel_hw) == ((256, 320, 3), (256, 320, 32), (3, 3))
    assert layers[1].stride == 2
    assert layers[-1].out_hwc == (32, 40, 33)
