"""Folding against the layer it folds."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from torch.nn.functional import conv2d, leaky_relu

from compress.darknet.fold import folded_parameters
from compress.darknet.network import ConvolutionLayer, DarknetNetwork
from compress.darknet.testing import random_cfg, randomise


@pytest.mark.parametrize("seed", range(4))
def test_folded_convolutions_do_the_same(seed: int) -> None:
    """Weight and bias alone give what convolution and batch normalisation give in evaluation mode."""
    network = randomise(DarknetNetwork(random_cfg(seed)), seed)
    for layer in network.layers:
        if not isinstance(layer, ConvolutionLayer):
            continue
        x = torch.rand(1, layer.conv.in_channels, 8, 8)
        weight, bias = folded_parameters(layer)
        with torch.no_grad():
            folded = conv2d(x, weight, bias, layer.conv.stride, layer.conv.padding)
            torch.testing.assert_close(leaky_relu(folded, layer.slope), layer(x), rtol=1e-5, atol=1e-5)


def test_folding_is_the_formula_in_float32() -> None:
    """s = gamma / sqrt(var + eps); W' = W s; b' = beta - mean s, to the last bit, and nothing is changed in place."""
    network = randomise(DarknetNetwork(random_cfg(0)))
    layer = network.convolution(0)
    before = {name: value.clone() for name, value in layer.state_dict().items()}
    weight, bias = folded_parameters(layer)
    root = torch.from_numpy(np.sqrt(before["bn.running_var"].numpy() + np.float32(1e-5)))
    scale = before["bn.weight"] / root
    assert torch.equal(weight, before["conv.weight"] * scale[:, None, None, None])
    assert torch.equal(bias, before["bn.bias"] - before["bn.running_mean"] * scale)
    assert all(torch.equal(value, before[name]) for name, value in layer.state_dict().items())
