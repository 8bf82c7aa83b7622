"""The original's constant L1."""

from __future__ import annotations

import pytest
import torch

from compress.config import SparsifyConfig
from compress.training.sparsity.constant import ConstantL1
from compress.training.sparsity.tied_channels import tied_channels


def added(network, step: int, after_half: str) -> torch.Tensor:
    """What the method adds to the gradients of all gammas in a step of 100."""
    groups = tied_channels(network)
    gammas = [gamma for group in groups for gamma in group.gammas]
    for gamma in gammas:
        gamma.grad = torch.zeros_like(gamma)
    method = ConstantL1(groups, SparsifyConfig(method="constant", l1=0.01, l1_after_half=after_half), cut_share=0.85)
    method.begin(100)
    method.before_step(step)
    return torch.cat([gamma.grad for gamma in gammas])


@pytest.fixture
def gammas(network) -> torch.Tensor:
    """Of both signs, one of them zero; no two of one size."""
    groups = tied_channels(network)
    total = sum(len(gamma) for group in groups for gamma in group.gammas)
    values = (torch.randperm(total, generator=torch.Generator().manual_seed(1)) / total) * torch.tensor([1.0, -1.0])[
        torch.arange(total) % 2
    ]
    parts = values.split([len(gamma) for group in groups for gamma in group.gammas])
    with torch.no_grad():
        for gamma, part in zip([gamma for group in groups for gamma in group.gammas], parts, strict=True):
            gamma.copy_(part)
    return values


def test_the_gradient_gets_the_sign_once_a_step(network, gammas) -> None:
    """s * sign(gamma): towards zero from both sides, nothing at zero; betas get nothing."""
    torch.testing.assert_close(added(network, 10, "same"), 0.01 * gammas.sign())
    assert all(beta.grad is None for group in tied_channels(network) for beta in group.betas)


@pytest.mark.parametrize("after_half", ["same", "hundredth", "spare_top"])
def test_the_strength_from_half_of_the_steps_on(network, gammas, after_half: str) -> None:
    """The same, a hundredth, or the same for all but the top that stays: there a hundredth."""
    torch.testing.assert_close(added(network, 49, after_half), 0.01 * gammas.sign())
    late = added(network, 50, after_half)
    top = gammas.abs() >= gammas.abs().sort().values[int(0.85 * len(gammas))]
    strength = {
        "same": torch.full_like(gammas, 0.01),
        "hundredth": torch.full_like(gammas, 0.0001),
        "spare_top": torch.where(top, 0.0001, 0.01),
    }[after_half]
    torch.testing.assert_close(late, strength * gammas.sign())
