"""Zeros on a schedule."""

from __future__ import annotations

import copy
from collections.abc import Iterator

import pytest
import torch

from compress.config import SparsifyConfig
from compress.pruning import PruneOptions, Selection, removable_blocks, select
from compress.training.sparsity.scheduled import ScheduledZeros
from compress.training.sparsity.tied_channels import tied_channels

OPTIONS = PruneOptions(channels=0.6, blocks=2)


def method(network, options: PruneOptions = OPTIONS, **settings: float) -> ScheduledZeros:
    return ScheduledZeros(network, tied_channels(network), options, SparsifyConfig(**settings))


def zero_share(network) -> float:
    return float(torch.cat([gamma for group in tied_channels(network) for gamma in group.gammas]).eq(0).float().mean())


def run(network, zeros: ScheduledZeros, steps: int, seed: int = 1, jiggle: float = 0.0) -> Iterator[float]:
    """Go through a training whose gradients are chance, and whose steps may jiggle the scales; the zeros after each."""
    generator = torch.Generator().manual_seed(seed)
    zeros.begin(steps)
    parameters = [values for group in tied_channels(network) for values in (*group.gammas, *group.betas)]
    for step in range(steps):
        for values in parameters:
            values.grad = torch.rand(values.shape, generator=generator)
        zeros.before_step(step)
        with torch.no_grad():
            for values in parameters:
                values += jiggle * torch.randn(values.shape, generator=generator)
        zeros.after_step(step)
        yield zero_share(network)


@pytest.mark.parametrize("scale", [0.02, 1.0, 40.0])
def test_zeros_grow_on_a_schedule_whatever_the_size_of_the_scales(network, scale: float) -> None:
    """None in the warm start, half of them soon, all before the recovery, and none comes back."""
    with torch.no_grad():
        for group in tied_channels(network):
            for gamma in group.gammas:
                gamma.copy_(scale * torch.rand(gamma.shape, generator=torch.Generator().manual_seed(1)))
    zeros = method(network)
    way = list(run(network, zeros, 60))
    assert way[2] == 0 and way == sorted(way)
    assert 0.4 * way[-1] < way[18] < way[-1]
    assert way[48] == way[-1] == pytest.approx(zeros.aim)


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
    shares = list(run(network, method(network), 60, jiggle=0.02))
    assert shares[-1] == shares[50] > 0.6
    selection = select(network, OPTIONS)
    assert len(selection.removed_blocks) == 2
    assert_zero(network, selection)


def assert_zero(network, selection: Selection) -> None:
    """What a selection does not keep has no gamma and no beta."""
    for layer, kept in selection.kept.items():
        bn = network.layers[layer].bn
        if bn is not None:
            assert not bn.weight[torch.from_numpy(~kept)].any() and not bn.bias[torch.from_numpy(~kept)].any()


def test_those_go_whose_fading_changes_the_loss_least(network) -> None:
    """Not the smallest gammas: the smallest product with the gradient. Choosing leaves the scales as they are."""
    options = PruneOptions(channels=0.3, blocks=0, min_channels=1)
    zeros = method(network, options, strength=0.0, warm_share=0.0, fade_share=0.5, recover_share=0.0)
    zeros.begin(2)
    groups = tied_channels(network)
    with torch.no_grad():
        for group in groups:
            for gamma in group.gammas:
                rising = torch.linspace(0.5, 1.5, len(gamma))
                gamma.copy_(rising)
                gamma.grad = (2 - rising) ** 4
            for beta in group.betas:
                beta.grad = torch.zeros_like(beta)
    zeros.before_step(0)
    zeros.after_step(0)
    for group in groups:
        gone = group.gammas[0] == 0
        left = torch.linspace(0.5, 1.5, len(gone))
        torch.testing.assert_close(group.gammas[0].detach(), torch.where(gone, 0.0, left))
        assert gone.any() and torch.equal(gone, gone.sort().values), "the largest gammas, of the smallest products"


@pytest.mark.parametrize("steps", [1, 2, 7])
@pytest.mark.parametrize("shares", [(0.0, 0.0, 0.0), (0.99, 0.99, 0.99)])
def test_every_schedule_ends_with_all_zeros(network, steps: int, shares: tuple[float, float, float]) -> None:
    """Also with very few steps, and where warm start, fading and recovery leave no time to grow."""
    warm, fade, recover = shares
    zeros = method(network, warm_share=warm, fade_share=fade, recover_share=recover)
    assert list(run(network, zeros, steps))[-1] == zeros.aim > 0.5


def test_the_choice_survives_a_checkpoint(network) -> None:
    """State and back goes on as if nothing had been."""
    zeros, other = method(network), method(network)
    going = run(network, zeros, 50)
    for _ in range(20):
        next(going)
    other.begin(50)
    other.load_state(zeros.state())
    twin = copy.deepcopy(network)
    zeros.after_step(20)
    after = copy.deepcopy(network.state_dict())
    network.load_state_dict(twin.state_dict())
    other.after_step(20)
    assert other.aim == zeros.aim > 0
    assert all(torch.equal(value, after[name]) for name, value in network.state_dict().items())


@pytest.mark.parametrize(
    "options",
    [
        PruneOptions(channels=0.7),
        PruneOptions(channels=0.6, blocks=2, width_multiple=4),
        PruneOptions(blocks=1, target_params=6000, width_multiple=1),
        PruneOptions(target_params=9000),
        PruneOptions(target_gmacs=0.0012, width_multiple=4),
        PruneOptions(target_params=9000, prefer="accuracy"),
    ],
)
@pytest.mark.parametrize("seed", [1, 2])
def test_the_pruner_cuts_zeros_and_nothing_alive(network, options: PruneOptions, seed: int) -> None:
    """Whatever decides how much goes, blocks or widths, it is zero; dead blocks go, and of a share all but a few."""
    for _ in run(network, method(network, options), 40, seed):
        pass
    selection = select(network, options)
    assert_zero(network, selection)
    removed = {block.shortcut for block in selection.removed_blocks}
    for block in removable_blocks(network.cfg):
        assert bool(network.batch_norm(block.second_conv).weight.any()) == (block.shortcut not in removed)
    if not options.has_target:  # which leaves what its room has place for
        kept = {
            conv: torch.from_numpy(selection.kept[conv]) for group in tied_channels(network) for conv in group.members
        }
        left = sum(int((network.batch_norm(conv).weight[mask] == 0).sum()) for conv, mask in kept.items())
        assert left < options.multiple * max(group.tied for group in tied_channels(network))
