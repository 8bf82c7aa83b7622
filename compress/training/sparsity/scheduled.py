"""Zeros on a schedule: what the pruner would cut fades away, a little at a time, the weakest first.

The share of the cut that is chosen grows as a cubic from a warm start, fast while there is much to spare and slowly
towards the end (Zhu & Gupta, arXiv:1710.01878). What is chosen fades by a factor, so neither small nor large scales
are torn, and is held at zero: the rest of the network learns to do without it, and the last steps are its alone.

The weakest are those whose fading would change the loss least: the size of gamma * its gradient + beta * its
gradient, which is the loss's derivative by the fading factor (Molchanov et al., arXiv:1906.10771). The scales alone
say little where no long L1 training has told weak from strong. A light pull on all channels, relative to their
group's size, may be added (Liu et al., arXiv:1708.06519).
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import torch
from torch import Tensor

from compress.config import SparsifyConfig
from compress.darknet.layer_values import convolutions
from compress.darknet.network import DarknetNetwork
from compress.pruning import PruneOptions, select
from compress.training.sparsity.method import SparsityMethod
from compress.training.sparsity.tied_channels import TiedChannels

_CHOICES = 50  # the share that is chosen grows in so many steps
_NEVER = -1
_LEAST_MEMORY_STEPS = 20  # over which effects are averaged: one batch alone tells little


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
            layer: torch.full((convolution.bn.num_features,), _NEVER)
            for layer, convolution in convolutions(network)
            if convolution.bn is not None
        }
        self._effects: dict[int, Tensor] = {}

    def begin(self, steps: int) -> None:
        """Settle the schedule; the network is where it will be trained."""
        self._steps = steps
        with torch.no_grad():
            self._effects = {
                layer: torch.zeros_like(self._network.batch_norm(layer).weight) for layer in self._chosen_at
            }

    @torch.no_grad()
    def before_step(self, step: int) -> None:
        """Note how the loss would change if each channel faded: a running mean of squares."""
        newest = 1 / min(step + 1, max(self._fade_steps, _LEAST_MEMORY_STEPS))
        for layer, effect in self._effects.items():
            bn = self._network.batch_norm(layer)
            if bn.weight.grad is not None and bn.bias.grad is not None:
                effect.lerp_((bn.weight * bn.weight.grad + bn.bias * bn.bias.grad) ** 2, newest)

    @torch.no_grad()
    def after_step(self, step: int) -> None:
        """Choose what goes, now and then; pull on all; fade what was chosen."""
        before, now = self._share(step), self._share(step + 1)
        if before < 1 and (now == 1 or step % max(1, self._growing_steps // _CHOICES) == 0):
            self._choose(step, now)
        if now < 1 and self._config.strength:
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
        with self._effects_for_gammas():
            kept = select(self._network, self._options.towards(share, self._network.cfg)).kept
        for layer, chosen_at in self._chosen_at.items():
            chosen_at[~torch.from_numpy(kept[layer]) & (chosen_at == _NEVER)] = step

    @contextmanager
    def _effects_for_gammas(self) -> Iterator[None]:
        """For the pruner to rank by: the network has effects for gammas, 0 where a channel was chosen, and no betas."""
        scales = {layer: self._network.batch_norm(layer) for layer in self._effects}
        before = {layer: (bn.weight.clone(), bn.bias.clone()) for layer, bn in scales.items()}
        for layer, bn in scales.items():
            bn.weight.copy_(self._effects[layer].sqrt() * (self._chosen_at[layer] == _NEVER).to(bn.weight))
            bn.bias.zero_()
        try:
            yield
        finally:
            for layer, bn in scales.items():
                bn.weight.copy_(before[layer][0])
                bn.bias.copy_(before[layer][1])

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
        """When each channel was chosen, and the effects so far."""
        return {"chosen_at": self._chosen_at, "effects": self._effects}

    def load_state(self, state: dict[str, Any]) -> None:
        """Take them back."""
        for layer in self._chosen_at:
            self._chosen_at[layer].copy_(state["chosen_at"][layer])
            self._effects[layer].copy_(state["effects"][layer])
