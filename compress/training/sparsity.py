"""Sparse training: an L1 penalty on the BN scales, aimed at what the pruning stage would cut.

After every optimiser step a soft threshold pulls gamma and beta of a channel towards zero together, tied over the
channels that shortcuts add up, so what is cut later is exactly zero, its constant is zero too, and cutting it changes
nothing. First the pull falls on all channels alike (network slimming). Then only on the channels and blocks that the
pruner itself would choose now, each on a straight line to zero whatever its size, while the rest takes over.

Sources: Liu et al., network slimming, arXiv:1708.06519; Ye et al., soft threshold, arXiv:1802.00124;
Yuan & Lin, group lasso, 2006; Wang et al., growing regularisation, arXiv:2012.09243.
"""

from __future__ import annotations

from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from compress.config import SparsifyConfig
from compress.darknet.network import DarknetNetwork
from compress.pruning import PruneOptions, Selection, channel_groups, select
from compress.training.trainer import Metrics, StepHook

_RESELECT_STEPS = 20  # the choice follows the gammas so often
_SETTLED_SHARE = 0.65  # of the steps: from here on the choice stays
_ZEROED_SHARE = 0.8  # of the steps: from here on what was chosen is held at exactly zero
_HISTOGRAM_BINS = 48
_HISTOGRAM_MAX = 2.0  # times the mean gamma at the start


class Sparsity(StepHook):
    """Pulls gammas and betas to zero while the network trains on.

    Args:
        network: the one that is trained.
        options: what the prune stage will be asked to cut.
        config: how far, as a share of a group's mean gamma, and for which share of the steps, the penalty pulls all
            channels alike.
    Raises:
        InputError: the network has not so many blocks, or the target is out of reach; now, not in mid-training.
    """

    def __init__(self, network: DarknetNetwork, options: PruneOptions, config: SparsifyConfig) -> None:
        self._network, self._options, self._config = network, options, config
        select(network, options)
        self._groups = [group for group in channel_groups(network.cfg) if group.prunable]
        self._group_means = [
            float(torch.stack([self._scale(layer).abs().mean() for layer in group.members]).mean().item())
            for group in self._groups
        ]
        self._mean_gamma = float(self._gammas().mean().item())
        self._selection: Selection | None = None
        self._steps = 1

    def begin(self, steps: int) -> None:
        """Settle the schedule."""
        self._steps = steps

    @torch.no_grad()
    def after_step(self, step: int, learning_rate: float) -> None:
        """One soft threshold; which channels and how far follows from the share of the training that is done."""
        done = (step + 1) / self._steps
        if done <= self._config.spread_share:
            share = self._config.strength / (self._config.spread_share * self._steps)
            for group, mean in zip(self._groups, self._group_means, strict=True):
                self._shrink(group.members, torch.ones(group.channels, dtype=torch.bool), pull=share * mean)
            return
        if self._selection is None or (done < _SETTLED_SHARE and step % _RESELECT_STEPS == 0):
            self._selection = select(self._network, self._options)
        left = round(_ZEROED_SHARE * self._steps) - step
        self._shrink_selected(self._selection, 1 / max(left, 1))

    def _shrink_selected(self, selection: Selection, share: float) -> None:
        gone = {block.second_conv for block in selection.removed_blocks}
        for layer in gone:
            self._shrink((layer,), torch.ones(self._scale(layer).shape, dtype=torch.bool), share=share)
        for group in self._groups:
            members = tuple(layer for layer in group.members if layer not in gone)
            if members:
                self._shrink(members, ~torch.as_tensor(selection.kept[members[0]]), share=share)

    def _shrink(self, members: tuple[int, ...], chosen: Tensor, pull: float = 0.0, share: float = 0.0) -> None:
        """Shorten the vector of all gammas and betas of each chosen channel, down to zero.

        By `pull` a member, the proximal step of a group lasso, and by a `share` of its length.
        """
        parameters = [value for layer in members for value in (self._scale(layer), self._shift(layer))]
        size = torch.stack([value**2 for value in parameters]).sum(0).div(len(members)).sqrt()
        factor = (1 - share - pull / size.clamp(min=1e-12)).clamp(min=0.0)
        factor = torch.where(chosen, factor, torch.ones_like(factor))
        for value in parameters:
            value.mul_(factor)

    def _gammas(self) -> Tensor:
        return torch.cat([self._scale(layer).detach() for group in self._groups for layer in group.members]).abs()

    def _scale(self, layer: int) -> Tensor:
        return self._network.batch_norm(layer).weight

    def _shift(self, layer: int) -> Tensor:
        return self._network.batch_norm(layer).bias

    def metrics(self) -> Metrics:
        """Share of prunable gammas at exactly zero, and how the gammas are spread."""
        gammas, largest = self._gammas(), _HISTOGRAM_MAX * self._mean_gamma
        counts, _ = np.histogram(gammas.clamp(max=largest).numpy(), _HISTOGRAM_BINS, (0, largest))
        return {
            "zero_share": float((gammas == 0).float().mean()),
            "gamma_histogram": counts.tolist(),
            "gamma_histogram_max": largest,
        }

    @torch.no_grad()
    def settle(self, averaged: nn.Module) -> None:
        """Hold at zero in the averaged network what is zero in the trained one."""
        assert isinstance(averaged, DarknetNetwork)
        for layer in {layer for group in self._groups for layer in group.members}:
            mean = averaged.batch_norm(layer)
            alive = (self._scale(layer) != 0).to(mean.weight)
            mean.weight.mul_(alive)
            mean.bias.mul_(alive)

    def state(self) -> dict[str, Any]:
        """The choice as it stands."""
        return {"selection": None if self._selection is None else self._selection.to_state()}

    def load_state(self, state: dict[str, Any]) -> None:
        """Take the choice back."""
        stored = state["selection"]
        self._selection = None if stored is None else Selection.from_state(stored, self._network.cfg)
