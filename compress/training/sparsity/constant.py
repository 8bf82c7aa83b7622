"""The original work's way: a constant subgradient of the L1 norm on every gamma.

Betas are left alone and no gamma becomes exactly zero, so a cut changes the network and its constants must be folded.
Source: Liu et al., network slimming, arXiv:1708.06519; the two decays are known from YOLOv3 pruning projects.
"""

from __future__ import annotations

import torch

from compress.config import SparsifyConfig
from compress.training.sparsity.method import SparsityMethod
from compress.training.sparsity.tied_channels import TiedChannels

_WEAKER = 0.01  # of the strength that is left after half of the steps with l1_after_half: hundredth
_SPARED = 0.99  # of the strength that the top gammas are freed from with l1_after_half: spare_top


class ConstantL1(SparsityMethod):
    """Adds s * sign(gamma) to every prunable gamma's gradient, once an optimiser step.

    The loss is a mean over pictures and s is added once a step, so s means the same whatever the batch size and
    however a batch is cut. It is added after the gradients are clipped.

    Args:
        groups: what may be pruned.
        config: `l1` is s; `l1_after_half` what becomes of it.
        cut_share: share of the gammas that is to be cut; the rest is the top that `spare_top` spares.
    """

    def __init__(self, groups: list[TiedChannels], config: SparsifyConfig, cut_share: float) -> None:
        self._gammas = [gamma for group in groups for gamma in group.gammas]
        self._config, self._cut_share, self._steps = config, cut_share, 1

    def begin(self, steps: int) -> None:
        """Settle where half of the training is."""
        self._steps = steps

    @torch.no_grad()
    def before_step(self, step: int) -> None:
        """Pull every gamma; from half of the steps on less so, or the top ones less."""
        late, way = 2 * step >= self._steps, self._config.l1_after_half
        strength = self._config.l1 * (_WEAKER if late and way == "hundredth" else 1.0)
        top = self._top() if late and way == "spare_top" else float("inf")
        for gamma in self._gammas:
            if gamma.grad is not None:
                spared = _SPARED * (gamma.abs() >= top)
                gamma.grad.add_(strength * (1 - spared) * gamma.sign())

    def _top(self) -> float:
        """|gamma| from which on a gamma is none of those that will be cut."""
        ascending = torch.cat([gamma.abs() for gamma in self._gammas]).sort().values
        return float(ascending[min(int(self._cut_share * len(ascending)), len(ascending) - 1)])
