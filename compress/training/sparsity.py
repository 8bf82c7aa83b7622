"""Sparse training: an L1 penalty on the BN scales, aimed at what the pruning stage would cut.

After every optimiser step a soft threshold pulls gamma and beta of a channel towards zero together, tied over the
channels that shortcuts add up, so what is cut later is exactly zero, its constant is zero too, and cutting it changes
nothing. First the pull falls on all channels alike (network slimming); then, growing, on the channels and blocks that
the pruner itself would choose now; at the end on nothing else.

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
from compress.training.batch import Metrics, StepHook

_RESELECT_STEPS = 20  # the choice follows the gammas so often
_SETTLED_SHARE = 0.65  # of the steps: from here on the choice stays
_ZEROED_SHARE = 0.8  # of the steps: from here on what was chosen is held at exactly zero
_SPREAD_PULL = 0.5  # so much of the strength falls on all channels alike, before the choice
_HISTOGRAM_BINS = 48
_HISTOGRAM_MAX = 1.5


class Sparsity(StepHook):
    """Pulls gammas and betas to zero while the network trains on.

    Args:
        network: the one that is trained.
        options: what the prune stage will be asked to cut.
        config: strength and the share of the steps that the penalty falls on all channels.
    Raises:
        InputError: the network has not so many blocks, or the target is out of reach; now, not in mid-training.
    """

    def __init__(self, network: DarknetNetwork, options: PruneOptions, config: SparsifyConfig) -> None:
        self._network, self._options, self._config = network, options, config
        select(network, options)
        self._groups = [group for group in channel_groups(network.cfg) if group.prunable]
        self._selection: Selection | None = None
        self._steps = 1

    def begin(self, steps: int) -> None:
        """Settle the schedule."""
        self._steps = steps

    @torch.no_grad()
    def after_step(self, step: int, learning_rate: float) -> None:
        """One soft threshold; which channels and how far follows from the share of the training that is done."""
        spread = self._config.spread_share
        done = (step + 1) / self._steps
        if done <= spread:
            pull = _SPREAD_PULL * self._config.strength / (spread * self._steps)
            for group in self._groups:
                self._pull(group.members, torch.ones(group.channels, dtype=torch.bool), pull)
            return
        if self._selection is None or (done < _SETTLED_SHARE and step % _RESELECT_STEPS == 0):
            self._selection = select(self._network, self._options)
        self._pull_selected(self._selection, self._pull_of_selected(done))

    def _pull_of_selected(self, done: float) -> float:
        if done >= _ZEROED_SHARE:
            return float("inf")
        span = _ZEROED_SHARE - self._config.spread_share
        growth = 2 * min((done - self._config.spread_share) / span, 1.0)  # 0 at first, 1 on average
        return growth * self._config.strength / (span * self._steps)

    def _pull_selected(self, selection: Selection, pull: float) -> None:
        gone = {block.second_conv for block in selection.removed_blocks}
        for layer in gone:
            self._pull((layer,), torch.ones(self._scale(layer).shape, dtype=torch.bool), pull)
        for group in self._groups:
            members = tuple(layer for layer in group.members if layer not in gone)
            if members:
                self._pull(members, ~torch.as_tensor(selection.kept[members[0]]), pull)

    def _pull(self, members: tuple[int, ...], chosen: Tensor, pull: float) -> None:
        """Shorten the vector of all gammas and betas of each chosen channel by `pull` a member, down to zero."""
        parameters = [value for layer in members for value in (self._scale(layer), self._shift(layer))]
        size = torch.stack([value**2 for value in parameters]).sum(0).div(len(members)).sqrt()
        factor = (1 - pull / size.clamp(min=1e-12)).clamp(min=0.0)
        factor = torch.where(chosen, factor, torch.ones_like(factor))
        for value in parameters:
            value.mul_(factor)

    def _scale(self, layer: int) -> Tensor:
        return self._network.batch_norm(layer).weight

    def _shift(self, layer: int) -> Tensor:
        return self._network.batch_norm(layer).bias

    def metrics(self) -> Metrics:
        """Share of prunable gammas at exactly zero, and how the gammas are spread."""
        gammas = torch.cat([self._scale(layer).detach() for group in self._groups for layer in group.members]).abs()
        counts, _ = np.histogram(gammas.clamp(max=_HISTOGRAM_MAX).numpy(), _HISTOGRAM_BINS, (0, _HISTOGRAM_MAX))
        return {
            "zero_share": float((gammas == 0).float().mean()),
            "gamma_histogram": counts.tolist(),
            "gamma_histogram_max": _HISTOGRAM_MAX,
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
