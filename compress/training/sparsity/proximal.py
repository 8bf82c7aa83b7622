"""A proximal step after the optimiser's, with a strength that a controller finds.

Every channel's vector of gammas and betas is shortened by a share of its group's mean size at the start, so the pull
depends neither on how large the scales are nor on learning rate and batch size. Sources: Ye et al., arXiv:1802.00124
(soft threshold); Yuan & Lin 2006 (group lasso).
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
_FIRST_PULL = 1.0  # over the whole training, in units of a group's mean size
_GAIN = 8.0  # the pull can change by exp(this) over the whole training


class Proximal(SparsityMethod):
    """Shortens all channels until `target_share` of the prunable gammas is exactly zero.

    The wanted share grows linearly. The pull grows while there are too few zeros, falls while there are too many, and
    is never so large that a step makes more of them than are wanted. What lacks when the pulling ends goes then; from
    there on zeros stay and nothing else is pulled. Every layer keeps its smallest width.

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
        before, done = step / self._steps, (step + 1) / self._steps
        warm = min(_WARM_SHARE, self._end / 2)
        self._aim = self._target * min(max((done - warm) / (self._end - warm), 0.0), 1.0)
        if before >= self._end:
            for group, zeros in zip(self._groups, self._zeros, strict=True):
                group.shorten(math.inf, ~zeros)
            return
        relative = [group.sizes() / max(group.start_size, 1e-12) for group in self._groups]
        spared = [self._strongest(group, sizes) for group, sizes in zip(self._groups, relative, strict=True)]
        wanted, most = self._pull / self._steps, self._largest_pull(relative, spared)
        self._pull *= math.exp(math.copysign(_GAIN / self._steps, most - wanted))
        for group, sizes, keep in zip(self._groups, relative, spared, strict=True):
            if done >= self._end:  # what lacks goes, what stays is not pulled
                group.shorten(math.inf, keep | (sizes > most))
            else:
                group.shorten(min(wanted, most) * group.start_size, keep)
        self._zeros = [group.sizes() == 0 for group in self._groups]

    @property
    def aim(self) -> float:
        """The share that is wanted by now."""
        return self._aim

    def _strongest(self, group: TiedChannels, sizes: Tensor) -> Tensor:
        """What a group's smallest width keeps, bool (units,)."""
        keep = torch.zeros(len(sizes), dtype=torch.bool, device=sizes.device)
        width = self._options.least_width(len(group.gammas[0]))
        keep[sizes.topk(-(-width // group.parts)).indices] = True
        return keep

    def _largest_pull(self, relative: list[Tensor], spared: list[Tensor]) -> float:
        """The pull after which as many gammas are zero as are wanted by now."""
        counts = [group.tied for group in self._groups]
        free = [values[~keep] for values, keep in zip(relative, spared, strict=True)]
        sizes, order = torch.cat(free).sort()
        weights = torch.cat([torch.full((len(values),), count) for values, count in zip(free, counts, strict=True)])
        total = sum(len(values) * count for values, count in zip(relative, counts, strict=True))
        reached = weights.to(order.device)[order].cumsum(0)
        goes = int((reached <= self._aim * total + 1e-6).sum())
        return float(sizes[goes - 1]) * (1 + 1e-6) if goes else 0.0  # rounding must not leave a crumb

    def state(self) -> dict[str, Any]:
        """The pull that the controller has found, and the zeros."""
        return {"pull": self._pull, "zeros": self._zeros}

    def load_state(self, state: dict[str, Any]) -> None:
        """Take them back."""
        self._pull, self._zeros = state["pull"], state["zeros"]
