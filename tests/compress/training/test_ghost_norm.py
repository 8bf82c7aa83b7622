"""Batch normalisation over groups."""

from __future__ import annotations

import copy

import torch
from torch import nn

from compress.training.ghost_norm import normalise_in_groups


def test_groups_are_normalised_as_if_each_were_a_batch(network) -> None:
    """The first layer's answer to six pictures in groups of two is that to three batches of two, statistics too."""
    x = torch.rand(6, 3, 64, 96, generator=torch.Generator().manual_seed(1))
    alone, grouped = copy.deepcopy(network).train(), copy.deepcopy(network).train()
    normalise_in_groups(grouped, 2)
    with torch.no_grad():
        expected = torch.cat([alone(part)[0] for part in x.split(2)])
        torch.testing.assert_close(grouped(x)[0], expected, atol=1e-5, rtol=1e-4)
    for name, value in alone.state_dict().items():
        torch.testing.assert_close(grouped.state_dict()[name], value, msg=name)


def test_parameters_stay_the_same_objects() -> None:
    """Whoever holds a gamma still holds the network's, and the names of the state are the same."""
    layers = nn.Sequential(nn.Conv2d(3, 4, 1), nn.BatchNorm2d(4))
    gamma, names = layers[1].weight, list(layers.state_dict())
    normalise_in_groups(layers, 2)
    assert layers[1].weight is gamma and list(layers.state_dict()) == names


def test_evaluation_uses_the_running_statistics(network) -> None:
    """In evaluation mode groups play no part."""
    x = torch.rand(4, 3, 64, 96, generator=torch.Generator().manual_seed(1))
    network.eval()
    with torch.no_grad():
        before = network(x)[0]
        normalise_in_groups(network, 1)
        assert torch.equal(network(x)[0], before)
