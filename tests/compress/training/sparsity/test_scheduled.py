"""Zeros on a schedule."""

from __future__ import annotations

import pytest
import torch

from compress.config import SparsifyConfig
from compress.pruning import PruneOptions, select
from compress.training.sparsity.scheduled import ScheduledZeros
from compress.training.sparsity.tied_channels import tied_channels

OPTIONS = PruneOptions(channels=0.6, blocks=2)


def method(network, options: PruneOptions = OPTIONS, **settings: float) -> ScheduledZeros:
    return ScheduledZeros(network, tied_channels(network), options, SparsifyConfig(**settings))


def zero_share(network) -> float:
    return float(torch.cat([gamma for group in tied_channels(network) for gamma in group.gammas]).eq(0).float().mean())


def jiggle(network, generator: torch.Generator) -> None:
    """What an optimiser does to scales, much too strongly."""
    with torch.no_grad():
        for group in tied_channels(network):
            for values in (*group.gammas, *group.betas):
                values += 0.02 * torch.randn(values.shape, generator=generator)


@pytest.mark.parametrize("scale", [0.02, 1.0, 40.0])
def test_zeros_grow_on_a_schedule_whatever_the_size_of_the_scales(network, scale: float) -> None:
    """None in the warm start, half of them soon, all before the recovery, and none comes back."""
    with torch.no_grad():
        for group in tied_channels(network):
            for gamma in group.gammas:
                gamma.copy_(scale * torch.rand(gamma.shape, generator=torch.Generator().manual_seed(1)))
    zeros, way = method(network), []
    zeros.begin(200)
    for step in range(200):
        zeros.after_step(step)
        way.append(zero_share(network))
    assert way[5] == 0 and way == sorted(way)
    assert 0.4 * way[-1] < way[60] < way[-1]
    assert way[160] == way[-1] == pytest.approx(zeros.aim)


def test_what_is_chosen_fades_in_a_straight_line(network) -> None:
    """A channel that nothing else moves loses the same part of its scale every step, and ends at exactly zero."""
    zeros = method(network, strength=0.0, warm_share=0.0, fade_share=0.1, recover_share=0.5)
    zeros.begin(100)
    gammas = []
    for step in range(20):
        zeros.after_step(step)
        gammas.append(torch.cat([gamma.detach().clone() for group in tied_channels(network) for gamma in group.gammas]))
    first = gammas[0] < 1  # chosen at the first step
    assert first.any()
    for age, gamma in enumerate(gammas):
        torch.testing.assert_close(gamma[first], torch.full_like(gamma[first], max(0.0, 1 - (age + 1) / 10)))
    assert not gammas[-1][first].any()


def test_zeros_stay_whatever_the_optimiser_does(network) -> None:
    """After the last choice everything that the pruner takes is exactly zero, gamma and beta, blocks included."""
    generator = torch.Generator().manual_seed(1)
    zeros = method(network)
    zeros.begin(80)
    for step in range(80):
        jiggle(network, generator)
        zeros.after_step(step)
        if step == 70:
            settled = zero_share(network)
    assert zero_share(network) == settled > 0.6
    selection = select(network, OPTIONS)
    assert len(selection.removed_blocks) == 2
    for layer, kept in selection.kept.items():
        bn = network.layers[layer].bn
        if bn is not None:
            assert not bn.weight[torch.from_numpy(~kept)].any() and not bn.bias[torch.from_numpy(~kept)].any()


@pytest.mark.parametrize("steps", [1, 2, 7])
@pytest.mark.parametrize("shares", [(0.0, 0.0, 0.0), (0.99, 0.99, 0.99)])
def test_every_schedule_ends_with_all_zeros(network, steps: int, shares: tuple[float, float, float]) -> None:
    """Also with very few steps, and where warm start, fading and recovery leave no time to grow."""
    warm, fade, recover = shares
    zeros = method(network, warm_share=warm, fade_share=fade, recover_share=recover)
    zeros.begin(steps)
    for step in range(steps):
        zeros.after_step(step)
    assert zero_share(network) == zeros.aim > 0.5


def test_the_choice_survives_a_checkpoint(network) -> None:
    """State and back goes on fading where it was."""
    zeros = method(network)
    zeros.begin(50)
    for step in range(20):
        zeros.after_step(step)
    other = method(network)
    other.begin(50)
    other.load_state(zeros.state())
    assert other.aim == zeros.aim > 0


def test_a_target_instead_of_a_share(network) -> None:
    """The zeros suffice for what the pruner cuts to reach a number of parameters."""
    options = PruneOptions(blocks=1, target_params=6000, width_multiple=1)
    zeros = method(network, options)
    zeros.begin(60)
    for step in range(60):
        zeros.after_step(step)
    for layer, kept in select(network, options).kept.items():
        if network.layers[layer].bn is not None:
            assert not network.layers[layer].bn.weight[torch.from_numpy(~kept)].any()
