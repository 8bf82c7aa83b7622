"""Equalisation by activations keeps the function, whatever the layers, and is taken where it helps."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pytest
import torch

from compress.darknet.network import DarknetNetwork
from compress.quantization import quantize
from compress.quantization.activation_equalization import balance_activations
from compress.quantization.output_search import heads_noise
from compress.quantization.plan import Plan, plan_of
from compress.quantization.quantizer import float_parameters
from compress.quantization.simulation import float_compute, run_plan


def images(size: int = 32) -> torch.Tensor:
    """Four random images."""
    return torch.rand(4, 3, size, size, generator=torch.Generator().manual_seed(7))


def planned(network: DarknetNetwork) -> Plan:
    """The plan of a network."""
    return plan_of(network.cfg, tuple(head.layer for head in network.heads))


@pytest.mark.parametrize("strength", [0.0, 0.5, 1.0])
@pytest.mark.parametrize("name", ["tiny_yolo", "spp", "corners", "pruned_yolov3"])
def test_function_stays(
    cfg_texts: dict[str, str], make_network: Callable[..., DarknetNetwork], name: str, strength: float
) -> None:
    """Leaky ReLU, pooling, shortcuts, concatenations and upsampling pass the scales on; the heads stay."""
    network = make_network(cfg_texts[name], seed=3)
    plan, x = planned(network), images(network.cfg.input_hw[0])
    before = float_parameters(plan, network)
    after = balance_activations(plan, before, [x], strength)
    changed = {plan.nodes[index].kind for index in before if not torch.equal(before[index][0], after[index][0])}
    assert bool(changed) is bool(strength)
    found, expected = (run_plan(plan, x, float_compute(parameters)) for parameters in (after, before))
    for ours, wanted in zip(found, expected, strict=True):
        torch.testing.assert_close(ours, wanted, atol=1e-3, rtol=1e-3)


def test_half_strength_meets_in_the_middle(
    cfg_texts: dict[str, str], make_network: Callable[..., DarknetNetwork]
) -> None:
    """A channel that one convolution makes and one reads then takes equal shares of both ranges."""
    network = make_network(cfg_texts["tiny_yolo"], seed=3)
    plan = planned(network)
    made, reader = plan.by_layer[13], plan.by_layer[14]  # before the second head
    before = float_parameters(plan, network)
    activations: dict[str, np.ndarray] = {}
    for name, parameters in (("before", before), ("after", balance_activations(plan, before, [images()], 0.5))):
        kept: dict[int, torch.Tensor] = {}
        compute = float_compute(parameters)

        def keep(node, inputs, compute=compute, kept=kept):  # type: ignore[no-untyped-def]
            kept[node.index] = compute(node, inputs)
            return kept[node.index]

        run_plan(plan, images(), keep)
        activations[name] = kept[made.index].abs().amax(dim=(0, 2, 3)).numpy()
    scale = activations["after"] / activations["before"]
    weights = before[reader.index][0].abs().amax(dim=(0, 2, 3)).numpy()
    shares = activations["before"] / activations["before"].max(), weights / weights.max()
    np.testing.assert_allclose(shares[0] * scale, shares[1] / scale, rtol=1e-4)


@pytest.mark.parametrize("name", ["tiny_yolo", "spp", "corners"])
def test_never_worse_than_nndct(
    cfg_texts: dict[str, str], make_network: Callable[..., DarknetNetwork], name: str
) -> None:
    """On the calibration images the heads are at least as near as with nndct's equalisation."""
    network = make_network(cfg_texts[name], seed=3)
    nndct = quantize(network, [images()])
    balanced = quantize(network, [images()], equalization="activations")
    target = nndct.float_parameters
    assert heads_noise(balanced, [images()]) <= heads_noise(nndct, [images()], target)


def test_uneven_channels_gain(cfg_texts: dict[str, str], make_network: Callable[..., DarknetNetwork]) -> None:
    """Where channels of one tensor differ a hundredfold, evening them out saves several dB."""
    network = make_network(cfg_texts["tiny_yolo"], seed=3)
    with torch.no_grad():
        for maker, reader in ((0, 1), (2, 3), (13, 14)):  # the same function, in uneven channels
            bn, weight = network.batch_norm(maker), network.convolution(reader).conv.weight
            factors = torch.logspace(-1, 1, 8)[torch.arange(len(bn.weight)) % 8]
            bn.weight.mul_(factors)
            bn.bias.mul_(factors)
            weight.div_(factors.reshape(1, -1, 1, 1))
    x = images()
    plain, even = (quantize(network, [x], equalization=way) for way in ("nndct", "activations"))  # type: ignore[arg-type]
    assert heads_noise(even, [x]) < 0.5 * heads_noise(plain, [x])


def test_off_leaves_relu_chains(cfg_texts: dict[str, str], make_network: Callable[..., DarknetNetwork]) -> None:
    """`off` rounds the folded parameters as they are; the default is nndct's."""
    network = make_network(cfg_texts["tiny_yolo"].replace("=leaky", "=relu"), seed=2)
    folded = float_parameters(planned(network), network)
    off = quantize(network, [images()], equalization="off").float_parameters
    default = quantize(network, [images()]).float_parameters
    assert all(torch.equal(off[index][0], folded[index][0]) for index in folded)
    assert not all(torch.equal(default[index][0], folded[index][0]) for index in folded)
