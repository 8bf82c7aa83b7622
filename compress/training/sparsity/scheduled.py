"""Zeros on a schedule: what the pruner would cut fades away, a little at a time, the weakest first.

The share of the cut that is chosen grows as a cubic from a warm start, fast while there is much to spare and slowly
towards the end (Zhu & Gupta, arXiv:1710.01878). What is chosen fades by a factor, so neither small nor large scales
are torn, and is held at zero: the rest of the network learns to do without it, and the last steps are its alone. A
light pull on all channels, relative to their group's size, tells weak from strong (Liu et al., arXiv:1708.06519).
"""

from __future__ import annotations

from typing import Any

import torch

from compress.config import SparsifyConfig
from compress.darknet.network import DarknetNetwork
from compress.pruning import PruneOptions, select
from compress.training.sparsity.method import SparsityMethod
from compress.training.sparsity.tied_channels import TiedChannels

_CHOICES = 50  # the share that is chosen grows in so many steps
_NEVER = -1


class ScheduledZeros(SparsityMethod):
    """Fades out what `select(network, options)` would cut, blocks and channels.

    A removed block fades by the scales of both its convolutions.

    Args:
        network: the one that is trained.
        groups: what may be pruned.
        options: what the prune stage will be asked to cut.
        config: the schedule and the pull on all channels.
    """

    def __init__(
        self, network: DarknetNetwork, groups: list[TiedChannels], options: PruneOptions, config: SparsifyConfig
    ) -> None:
        self._network, self._groups, self._options, self._config = network, groups, options, config
        self._steps = 1
        self._chosen_at = {  # the step at which a channel was chosen
            layer: torch.full((len(network.batch_norm(layer).weight),), _NEVER)
            for layer in select(network, options).kept
            if network.convolution(layer).bn is not None
        }

    def begin(self, steps: int) -> None:
        """Settle the schedule."""
        self._steps = steps

    @torch.no_grad()
    def after_step(self, step: int) -> None:
        """Choose what goes, now and then; pull on all; fade what was chosen."""
        before, now = self._share(step), self._share(step + 1)
        if before < 1 and (now == 1 or step % max(1, self._growing_steps // _CHOICES) == 0):
            self._choose(step, now)
        if now < 1:
            pull = self._config.strength / self._growing_steps
            for group in self._groups:
                group.shorten(pull * group.start_size)
        self._fade(step)

    @property
    def _fade_steps(self) -> int:
        return max(1, round(self._config.fade_share * self._steps))

    @property
    def _growing_steps(self) -> int:
        """Steps before which everything is chosen; then the last of it fades, and the network recovers."""
        return max(1, round((1 - self._config.recover_share) * self._steps) - self._fade_steps)

    def _share(self, steps: int) -> float:
        """How much of the cut is chosen after so many steps."""
        warm = self._config.warm_share * self._growing_steps
        done = (steps - warm) / max(self._growing_steps - warm, 1e-9)
        return 1 - (1 - min(max(done, 0.0), 1.0)) ** 3

    def _choose(self, step: int, share: float) -> None:
        """Add to the chosen what a cut of that share would take; what was chosen stays so."""
        kept = select(self._network, self._options.towards(share, self._network.cfg)).kept
        for layer, chosen_at in self._chosen_at.items():
            chosen_at[~torch.from_numpy(kept[layer]) & (chosen_at == _NEVER)] = step

    def _fade(self, step: int) -> None:
        for layer, chosen_at in self._chosen_at.items():
            left = chosen_at + self._fade_steps - step  # 1 in the step that ends at zero
            factor = torch.where(chosen_at == _NEVER, 1.0, ((left - 1) / left.clamp(min=1)).clamp(min=0.0))
            bn = self._network.batch_norm(layer)
            for values in (bn.weight, bn.bias):
                values.mul_(factor.to(values))

    @property
    def aim(self) -> float:
        """Share of the prunable gammas that was chosen so far."""
        chosen = [self._chosen_at[layer] != _NEVER for group in self._groups for layer in group.members]
        return float(torch.cat(chosen).float().mean())

    def state(self) -> dict[str, Any]:
        """When each channel was chosen."""
        return {"chosen_at": self._chosen_at}

    def load_state(self, state: dict[str, Any]) -> None:
        """Take it back."""
        self._chosen_at = {layer: chosen_at.clone() for layer, chosen_at in state["chosen_at"].items()}
