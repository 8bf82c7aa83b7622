"""A reweighted proximal step after the optimiser's, with a strength that a controller finds.

Every channel's vector of gammas and betas is shortened. The pull is relative to the mean size in the channel's group
at the start, so it depends neither on how large the scales are nor on learning rate and batch size; and it falls with
the square of the vector's size, so the weak vanish while the strong hardly move: with one pull for all, gammas that
lie close together would all be worn down together. Sources: Ye et al., arXiv:1802.00124 (soft threshold); Yuan & Lin
2006 (group lasso); Candes, Wakin & Boyd, arXiv:0711.1612 (reweighted L1).
"""

from __future__ import annotations

import math
from typing import Any

import torch
from torch import Tensor

from compress.config import SparsifyConfig
from compress.pruning import PruneOptions
from compress.training.sparsity.method import SparsityMethod
from compress.training.sparsity.tied_channels import TiedChannels

_WARM_SHARE = 0.05  # of the steps: no zeros are wanted yet
_FIRST_PULL = 1 / 3  # over the whole pulling: ds/dt = -pull / s^2 brings s = 1 to 0 in it
_GAIN = 4.0  # the pull can change by exp(this) over the whole training


class Proximal(SparsityMethod):
    """Shortens channels until `target_share` of the prunable gammas is exactly zero.

    The wanted share grows linearly: while there are too few zeros the pull grows, while there are more it falls. It
    is never so large that more than the target becomes zero. What lacks when the pulling ends goes then; from there
    on zeros stay and nothing else is pulled. Every layer keeps its smallest width.

    Args:
        groups: what may be pruned.
        options: the smallest widths.
        config: when the pulling ends.
        target_share: of the gammas, 0 to 1.
    """

    def __init__(
        self, groups: list[TiedChannels], options: PruneOptions, config: SparsifyConfig, target_share: float
    ) -> None:
        self._groups, self._options, self._target = groups, options, target_share
        self._end = 1 - config.recover_share
        self._steps, self._pull, self._aim = 1, _FIRST_PULL, 0.0
        self._zeros: list[Tensor] = []

    def begin(self, steps: int) -> None:
        """Settle the schedule."""
        self._steps = steps

    @torch.no_grad()
    def after_step(self, step: int) -> None:
        """One proximal step; after the end of the pulling only the zeros are kept."""
        warm = min(_WARM_SHARE, self._end / 2)
        pulling = self._end - warm
        done = (step + 1) / self._steps
        self._aim = self._target * min(max((done - warm) / pulling, 0.0), 1.0)
        if step / self._steps >= self._end:
            for group, zeros in zip(self._groups, self._zeros, strict=True):
                group.shorten(torch.where(zeros, math.inf, 0.0))
            return
        relative = [self._relative_sizes(group) for group in self._groups]
        weakest, zero_share = self._weakest(relative)
        self._pull *= math.exp(math.copysign(_GAIN / self._steps, self._aim - zero_share))
        pull = math.inf if done >= self._end else min(self._pull / (pulling * self._steps), weakest)
        for group, sizes in zip(self._groups, relative, strict=True):
            each = pull * (weakest / sizes.clamp(min=1e-9)) ** 2
            if pull == math.inf:  # what lacks goes, what stays is not pulled
                each = torch.where(sizes <= weakest, math.inf, 0.0)
            group.shorten(each * group.start_size)
        self._zeros = [group.sizes() == 0 for group in self._groups]

    @property
    def aim(self) -> float:
        """The share that is wanted by now."""
        return self._aim

    def _relative_sizes(self, group: TiedChannels) -> Tensor:
        """In units of the group's mean at the start, (units,); infinite for those that the smallest width keeps."""
        sizes = group.sizes() / max(group.start_size, 1e-12)
        width = self._options.least_width(len(group.gammas[0]))
        sizes[sizes.topk(-(-width // group.parts)).indices] = math.inf
        return sizes

    def _weakest(self, relative: list[Tensor]) -> tuple[float, float]:
        """Size up to which units go, so that the target's share of gammas does; and the share at zero now."""
        sizes, order = torch.cat(relative).sort()
        gammas = torch.cat(
            [torch.full((len(values),), group.tied) for values, group in zip(relative, self._groups, strict=True)]
        )
        reached = gammas.to(order.device)[order].cumsum(0) / gammas.sum()
        zeros = int((sizes == 0).sum())
        goes = min(int((reached <= self._target + 1e-9).sum()), int(sizes.isfinite().sum()))
        weakest = float(sizes[goes - 1]) * (1 + 1e-6) if goes else 0.0  # rounding must not leave a crumb
        return weakest, float(reached[zeros - 1]) if zeros else 0.0

    def state(self) -> dict[str, Any]:
        """The pull that the controller has found, and the zeros."""
        return {"pull": self._pull, "zeros": self._zeros}

    def load_state(self, state: dict[str, Any]) -> None:
        """Take them back."""
        self._pull = state["pull"]  # of the zeros there are none before the first step
        self._zeros = [
            zeros.to(group.gammas[0].device) for zeros, group in zip(state["zeros"], self._groups, strict=False)
        ]
