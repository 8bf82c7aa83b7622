"""Cross-layer equalisation keeps the function and leaves leaky networks alone."""

from __future__ import annotations

from collections.abc import Callable

import torch

from compress.darknet.network import DarknetNetwork
from compress.quantization.equalization import equalize
from compress.quantization.plan import Plan, plan_of
from compress.quantization.quantizer import float_parameters
from compress.quantization.simulation import Parameters, float_compute, run_plan


def heads(plan: Plan, parameters: Parameters, x: torch.Tensor) -> list[torch.Tensor]:
    """The float network's outputs."""
    return run_plan(plan, x, float_compute(parameters))


def planned(network: DarknetNetwork) -> Plan:
    """The plan of a network."""
    return plan_of(network.cfg, tuple(head.layer for head in network.heads))


def test_relu_chain_keeps_its_function(cfg_texts: dict[str, str], make_network: Callable[..., DarknetNetwork]) -> None:
    """Along ReLU chains the scales move between layers and the outputs stay."""
    network = make_network(cfg_texts["tiny_yolo"].replace("=leaky", "=relu"), seed=2)
    plan = planned(network)
    before = float_parameters(plan, network)
    after = equalize(plan, before)
    changed = {plan.nodes[i].layer for i in before if not torch.equal(before[i][0], after[i][0])}
    # 1 ends the first chain, having two readers; so does 3 the second; 13 and the head make the last
    assert changed == {0, 1, 2, 3, 13, 14}
    x = torch.rand(2, 3, 32, 32)
    for ours, expected in zip(heads(plan, after, x), heads(plan, before, x), strict=True):
        torch.testing.assert_close(ours, expected, atol=1e-4, rtol=1e-4)


def test_ranges_meet(cfg_texts: dict[str, str], make_network: Callable[..., DarknetNetwork]) -> None:
    """After it, a channel is as large going out of the first layer as going into the second (biases being small)."""
    network = make_network(cfg_texts["tiny_yolo"].replace("=leaky", "=relu"), seed=2)
    for layer in (2, 3):
        torch.nn.init.zeros_(network.get_parameter(f"layers.{layer}.bn.bias"))
        network.get_buffer(f"layers.{layer}.bn.running_mean").zero_()
    plan = planned(network)
    after = equalize(plan, float_parameters(plan, network))
    first, second = (plan.by_layer[layer].index for layer in (2, 3))
    going_out = after[first][0].abs().amax(dim=(1, 2, 3))
    torch.testing.assert_close(going_out, after[second][0].abs().amax(dim=(0, 2, 3)))


def test_leaky_network_is_untouched(cfg_texts: dict[str, str], make_network: Callable[..., DarknetNetwork]) -> None:
    """A leaky ReLU ends a chain."""
    network = make_network(cfg_texts["pruned_yolov3"], seed=2)
    plan = planned(network)
    before = float_parameters(plan, network)
    after = equalize(plan, before)
    assert all(torch.equal(before[i][k], after[i][k]) for i in before for k in (0, 1))
