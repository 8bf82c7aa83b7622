"""Training on the DPU's grid."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch

from compress.darknet.cfg import read_cfg
from compress.darknet.network import DarknetNetwork
from compress.darknet.testing import randomise
from compress.quantization import quantize
from compress.quantization.grid_network import GridNetwork
from compress.quantization.plan import Node
from compress.quantization.simulation import run_plan

SMALL_CFG = Path(__file__).parents[1] / "small.cfg"


@pytest.fixture
def network() -> DarknetNetwork:
    return randomise(DarknetNetwork(read_cfg(SMALL_CFG)), 3).eval()


def pictures(network: DarknetNetwork, seed: int) -> torch.Tensor:
    generator = torch.Generator().manual_seed(seed)
    return torch.rand(2, 3, *network.cfg.input_hw, generator=generator)


def test_every_operator_computes_what_the_int8_networks_does(network: DarknetNetwork) -> None:
    """From the same inputs each gives the same integers, but for sums that float32 rounds across a half."""
    quantized = quantize(network, [pictures(network, 1)], bias_correction=False)
    grid = GridNetwork(network, quantized)
    differing: list[float] = []

    def compare(node: Node, inputs: list[torch.Tensor]) -> torch.Tensor:
        exact = quantized.compute(node, [value.clone() for value in inputs])
        mine = grid._compute(node, [value.float().clone() for value in inputs])
        differing.append(float((mine != exact).float().mean()))
        return exact

    with torch.no_grad():
        run_plan(quantized.plan, pictures(network, 2), compare)
    assert len(differing) == len(quantized.plan.nodes) and max(differing) < 5e-3


def test_untrained_it_gives_the_network_it_was_made_from(network: DarknetNetwork) -> None:
    """Same fix points, same int8 parameters."""
    quantized = quantize(network, [pictures(network, 1)], bias_correction=False)
    again = GridNetwork(network, quantized).quantized()
    assert again.positions() == quantized.positions()
    for layer, convolution in quantized.convolutions.items():
        assert (again.convolutions[layer].weight == convolution.weight).all()
        assert (again.convolutions[layer].bias == convolution.bias).all()


def test_training_brings_the_int8_network_nearer_to_the_float_one(network: DarknetNetwork) -> None:
    """A few steps towards the float heads shrink the distance of the exact int8 network's heads."""
    quantized = quantize(network, [pictures(network, 1)], bias_correction=False)
    grid = GridNetwork(network, quantized)
    x = torch.cat([pictures(network, seed) for seed in range(4)])
    with torch.no_grad():
        wanted = network(x)

    def distance(heads: list[torch.Tensor]) -> torch.Tensor:
        return torch.stack([((a - b) ** 2).mean() for a, b in zip(heads, wanted, strict=True)]).sum()

    before = distance(quantized(x))
    optimiser = torch.optim.Adam(grid.parameters(), lr=2e-4)
    for _ in range(40):
        optimiser.zero_grad()
        distance(grid(x)).backward()
        optimiser.step()
    after = distance(grid.quantized()(x))
    assert after < 0.95 * before, (float(after), float(before))
