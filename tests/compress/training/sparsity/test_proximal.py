"""The proximal step and its controller."""

from __future__ import annotations

import pytest
import torch

from compress.config import SparsifyConfig
from compress.pruning import PruneOptions
from compress.training.sparsity.proximal import Proximal
from compress.training.sparsity.tied_channels import tied_channels

OPTIONS = PruneOptions(channels=0.6, blocks=0, min_channels=2)


def spread(network, scale: float) -> None:
    """Gammas as a trained network has them, betas too."""
    generator = torch.Generator().manual_seed(1)
    with torch.no_grad():
        for group in tied_channels(network):
            for values in (*group.gammas, *group.betas):
                values.copy_(scale * (0.2 + torch.rand(values.shape, generator=generator)))


@pytest.mark.parametrize(
    ("target", "steps", "scale", "push"),
    [(0.0, 20, 1.0, 0.02), (0.3, 20, 5.0, 0.0), (0.7, 20, 0.05, 0.02), (0.7, 100, 5.0, 0.02), (0.5, 100, 0.05, 0.0)],
)
def test_the_zeros_come_to_the_target_share(network, target: float, steps: int, scale: float, push: float) -> None:
    """Within two points, whatever the scales, the number of steps and how the optimiser pushes against it."""
    spread(network, scale)
    groups = tied_channels(network)
    gammas = [gamma for group in groups for gamma in group.gammas]
    method = Proximal(groups, OPTIONS, SparsifyConfig(), target)
    method.begin(steps)
    generator = torch.Generator().manual_seed(2)
    shares = []
    for step in range(steps):
        with torch.no_grad():
            for values in [values for group in groups for values in (*group.gammas, *group.betas)]:
                values += push * scale * torch.randn(values.shape, generator=generator)
        method.after_step(step)
        shares.append(float(torch.cat(gammas).eq(0).float().mean()))
        assert shares[-1] <= target + 1e-6
    assert shares[-1] == pytest.approx(target, abs=0.02)
    assert shares[int(0.9 * steps) :] == shares[-1:] * (steps - int(0.9 * steps))
    assert method.aim == target


def test_gamma_and_beta_of_tied_channels_are_zero_together(network) -> None:
    """A channel is zero in all its convolutions, gammas and betas, or in none; every layer keeps its smallest width."""
    spread(network, 1.0)
    method = Proximal(tied_channels(network), OPTIONS, SparsifyConfig(), 0.9)
    method.begin(50)
    for step in range(50):
        method.after_step(step)
    for group in tied_channels(network):
        alive = torch.stack([values != 0 for values in (*group.gammas, *group.betas)])
        assert torch.equal(alive.all(0), alive.any(0))
        assert int(alive.all(0).sum()) >= 2


def test_the_strong_hardly_move_while_the_weak_vanish(network) -> None:
    """Of gammas that lie close together three tenths go to zero; the strongest tenth keeps most of its size."""
    generator = torch.Generator().manual_seed(3)
    gammas = [gamma for group in tied_channels(network) for gamma in group.gammas]
    with torch.no_grad():
        for gamma in gammas:
            gamma.copy_(0.9 + 0.3 * torch.rand(gamma.shape, generator=generator))
    method = Proximal(tied_channels(network), OPTIONS, SparsifyConfig(), 0.3)
    method.begin(100)
    for step in range(100):
        method.after_step(step)
    values = torch.cat(gammas).detach()
    assert float(values.eq(0).float().mean()) == pytest.approx(0.3, abs=0.02)
    assert float(values.quantile(0.9)) > 0.85


def test_the_soft_threshold_is_that_of_the_group_lasso(network) -> None:
    """The vector keeps its direction and loses `pull` times the root of its members' number of its length."""
    spread(network, 1.0)
    group = max(tied_channels(network), key=lambda tied: tied.tied)
    before = torch.stack([*group.gammas, *group.betas]).detach().clone()
    group.shorten(0.3)
    after = torch.stack([*group.gammas, *group.betas]).detach()
    lost = before.norm(dim=0) - 0.3 * group.tied**0.5
    torch.testing.assert_close(after, before * (lost / before.norm(dim=0)).clamp(min=0))
