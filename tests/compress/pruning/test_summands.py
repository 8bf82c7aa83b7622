"""compress.pruning.summands: which convolutions' channels a layer's are sums of."""

from __future__ import annotations

import pytest
import torch

from compress.darknet.cfg import layer_shapes
from compress.darknet.network import DarknetNetwork
from compress.darknet.testing import random_cfg, randomise
from compress.pruning import channel_groups
from compress.pruning.summands import layer_summands


@pytest.mark.parametrize("seed", range(8))
def test_exactly_the_channels_that_it_has_change_a_layer(seed: int) -> None:
    """Of every group one channel is raised; the layers' own channels that change are those the lists have it in."""
    cfg = random_cfg(seed, more=("spatial_pyramid", "grouped"))
    network = randomise(DarknetNetwork(cfg), seed).eval()
    groups = channel_groups(cfg)
    summands = layer_summands(cfg, groups)
    whole = [index for index, section in enumerate(cfg.layers) if section.type != "convolutional"]
    before = _sums(network)
    for group in groups:
        for channel in {0, group.channels - 1}:
            raised = _sums(network, group.members, channel)
            for layer in whole:
                changed = {c for c in range(layer_shapes(cfg)[layer][0]) if raised[layer][c] != before[layer][c]}
                told = {
                    each.at + channel - each.start
                    for each in summands[layer]
                    if each.group == group and each.start <= channel < each.stop
                }
                assert changed == told, (layer, cfg.layers[layer].type)


def _sums(network: DarknetNetwork, convs: tuple[int, ...] = (), channel: int = 0) -> list[list[float]]:
    """Every layer's channel sums, of maps that are 1 wherever a convolution gives them and 100 in one channel."""

    def ones(conv: int, shape: torch.Size) -> torch.Tensor:
        values = torch.ones(shape)
        if conv in convs:
            values[:, channel] = 100
        return values

    handles = [
        layer.register_forward_hook(lambda _layer, _read, made, conv=index: ones(conv, made.shape))
        for index, layer in enumerate(network.layers)
        if network.cfg.layers[index].type == "convolutional"
    ]
    try:
        with torch.no_grad():
            maps = network.forward_layers(torch.zeros(1, network.cfg.input_channels, *network.cfg.input_hw))
    finally:
        for handle in handles:
            handle.remove()
    return [made[0].sum((1, 2)).tolist() for made in maps]
