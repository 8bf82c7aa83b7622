"""Fix points chosen by the outputs."""

from __future__ import annotations

from collections.abc import Callable

import pytest
import torch

from compress.darknet.cfg import parse_cfg
from compress.darknet.network import DarknetNetwork
from compress.darknet.testing import random_cfg, randomise
from compress.darknet.testing_families import family_cfg
from compress.quantization import QuantizedNetwork, quantize
from compress.quantization.fix_points import within_limits
from compress.quantization.output_search import choose_by_outputs, heads_noise
from compress.quantization.plan import plan_of


@pytest.fixture
def batches() -> list[torch.Tensor]:
    """Ten images in two batches."""
    generator = torch.Generator().manual_seed(3)
    return [torch.rand(5, 3, 32, 32, generator=generator) for _ in range(2)]


@pytest.fixture(params=["tiny_yolo", "spp", "corners"])
def start(
    request: pytest.FixtureRequest,
    cfg_texts: dict[str, str],
    make_network: Callable[..., DarknetNetwork],
    batches: list[torch.Tensor],
) -> QuantizedNetwork:
    """nndct's own choice."""
    return quantize(make_network(cfg_texts[request.param], seed=4), batches, bias_correction=False)


def test_heads_come_nearer_within_the_limits(start: QuantizedNetwork, batches: list[torch.Tensor]) -> None:
    """The exact int8 network of what was found is nearer by what is said, and the DPU can shift so."""
    choice = choose_by_outputs(start, start.float_parameters, batches)
    better = QuantizedNetwork(start.name, start.plan, choice.fix_points, start.float_parameters)
    assert choice.noise_before == heads_noise(start, batches)
    assert choice.noise_after == heads_noise(better, batches) < choice.noise_before
    assert choice.gain_db > 0.1
    assert all(within_limits(start.plan, node, choice.fix_points) for node in start.plan.convolutions)
    assert max(choice.fix_points.outputs.values()) <= 12


def test_same_input_gives_the_same_choice(start: QuantizedNetwork, batches: list[torch.Tensor]) -> None:
    """Nothing depends on time or chance."""
    first, second = (choose_by_outputs(start, start.float_parameters, batches, work=5e7) for _ in range(2))
    assert first == second


@pytest.mark.parametrize("work", [1.0, 1e7, 1e8])
def test_little_work_is_never_worse(start: QuantizedNetwork, batches: list[torch.Tensor], work: float) -> None:
    """A search that ends early gives what it has, at worst the start, and tells how far it is."""
    shares: list[float] = []
    choice = choose_by_outputs(start, start.float_parameters, batches, shares.append, work)
    assert choice.noise_after <= choice.noise_before
    assert shares == sorted(shares) and 0 < shares[-1] <= 1
    if work == 1:
        assert choice.fix_points == start.fix_points and choice.gain_db == 0


@pytest.mark.parametrize("seed", [0, 2, 7])
def test_random_networks_are_never_worse(seed: int) -> None:
    """Whatever the layers, the choice on the calibration images is at least as good as nndct's."""
    cfg = random_cfg(seed)
    network = randomise(DarknetNetwork(cfg), seed)
    images = torch.rand(4, 3, *cfg.input_hw, generator=torch.Generator().manual_seed(seed))
    start = quantize(network, [images])
    found = quantize(network, [images], calibration_target="outputs")
    target = start.float_parameters
    assert heads_noise(found, [images], target) <= heads_noise(start, [images], target)
    assert found.heads_gain_db is not None and found.heads_gain_db >= 0 and start.heads_gain_db is None


def test_a_slice_moves_with_its_input() -> None:
    """A part of a map keeps the map's fix point, whichever the search chooses."""
    network = randomise(DarknetNetwork(family_cfg("yolov4-tiny", 2, 32, 32, factor=1 / 8)), 4)
    images = torch.rand(2, 3, 32, 32, generator=torch.Generator().manual_seed(1))
    found = quantize(network, [images], calibration_target="outputs")
    slices = [node for node in found.plan.nodes if node.kind == "slice"]
    assert len(slices) == 3
    for node in slices:
        assert found.fix_points.outputs[node.index] == found.fix_points.outputs[node.inputs[0]]


def test_upsample_moves_with_its_input(cfg_texts: dict[str, str], make_network: Callable[..., DarknetNetwork]) -> None:
    """A nearest upsample that no concatenation reads keeps its input's fix point."""
    images = torch.rand(4, 3, 32, 32, generator=torch.Generator().manual_seed(1))
    found = quantize(make_network(cfg_texts["corners"], seed=9), [images], calibration_target="outputs")
    cfg = parse_cfg(cfg_texts["corners"], "corners")
    plan = plan_of(cfg, (len(cfg.layers) - 2,))
    upsample = next(node for node in plan.nodes if node.kind == "upsample")
    assert found.fix_points.outputs[upsample.index] == found.fix_points.outputs[upsample.inputs[0]]
