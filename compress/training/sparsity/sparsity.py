"""What sparse training adds to the plain one, whatever the method: metrics, checkpoints, zeros in averaged weights."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from compress.config import SparsifyConfig
from compress.darknet.layer_values import convolutions
from compress.darknet.network import DarknetNetwork
from compress.pruning import PruneOptions, select
from compress.training.batch import Batch, Metrics, StepHook
from compress.training.sparsity.constant import ConstantL1
from compress.training.sparsity.method import SparsityMethod
from compress.training.sparsity.proximal import Proximal
from compress.training.sparsity.scheduled import ScheduledZeros
from compress.training.sparsity.tied_channels import TiedChannels, tied_channels

_HISTOGRAM_BINS = 48
_HISTOGRAM_QUANTILE = 0.99  # of the first |gamma| end within three quarters of the histogram


class Sparsity(StepHook):
    """Drives to zero, while the network trains on, what the prune stage will cut.

    Args:
        network: the one that is trained.
        options: what the prune stage will be asked to cut.
        config: the method and its settings.
        teaching: what a teacher adds to the loss.
    Raises:
        InputError: the network has not so many blocks, or the target is out of reach; now, not in mid-training.
    """

    def __init__(
        self,
        network: DarknetNetwork,
        options: PruneOptions,
        config: SparsifyConfig,
        teaching: StepHook | None = None,
    ) -> None:
        self._network = network
        self._teaching = teaching or StepHook()
        self._groups = tied_channels(network)
        self._method = _method(network, self._groups, options, config)
        reach = float(self._gammas().quantile(_HISTOGRAM_QUANTILE)) if self._groups else 0.0
        self._histogram_max = round(max(reach, 1e-3) / 0.75, 3)

    def begin(self, steps: int) -> None:
        """Settle the method's schedule."""
        self._teaching.begin(steps)
        self._method.begin(steps)

    def extra_loss(self, batch: Batch, raw_heads: Sequence[Tensor]) -> dict[str, Tensor]:
        """The teacher's terms."""
        return self._teaching.extra_loss(batch, raw_heads)

    def before_step(self, step: int) -> None:
        """What the method adds to the gradients."""
        self._method.before_step(step)

    def after_step(self, step: int, learning_rate: float) -> None:
        """What the method does to the scales."""
        self._method.after_step(step)

    def metrics(self) -> Metrics:
        """Share of prunable gammas at exactly zero, the share that should be by now, and how |gamma| is spread.

        The histogram is linear from 0 to `gamma_histogram_max`; what is larger counts in its last bin.
        """
        gammas = self._gammas()
        shown = gammas.clamp(max=self._histogram_max).cpu().numpy()
        counts, _ = np.histogram(shown, _HISTOGRAM_BINS, (0, self._histogram_max))
        aim = self._method.aim
        return {
            "zero_share": self._zero_share(),
            **({} if aim is None else {"zero_share_aim": aim}),
            "gamma_histogram": counts.tolist(),
            "gamma_histogram_max": self._histogram_max,
        }

    def status(self) -> str:
        """The zeros, for the progress line."""
        return f"zeros {100 * self._zero_share():.1f} %"

    @torch.no_grad()
    def settle(self, averaged: nn.Module) -> None:
        """Hold at zero in the averaged network what is zero in the trained one."""
        assert isinstance(averaged, DarknetNetwork)
        for layer, convolution in convolutions(self._network):
            if convolution.bn is not None:
                mine, mean = convolution.bn, averaged.batch_norm(layer)
                alive = (mine.weight != 0) | (mine.bias != 0)
                mean.weight.mul_(alive)
                mean.bias.mul_(alive)

    def state(self) -> dict[str, Any]:
        """The method's."""
        return self._method.state()

    def load_state(self, state: dict[str, Any]) -> None:
        """Take the method's back."""
        self._method.load_state(state)

    def _gammas(self) -> Tensor:
        """|gamma| of all prunable channels, each once a convolution."""
        return torch.cat([gamma.detach().abs() for group in self._groups for gamma in group.gammas])

    def _zero_share(self) -> float:
        return float((self._gammas() == 0).float().mean())


def _method(
    network: DarknetNetwork, groups: list[TiedChannels], options: PruneOptions, config: SparsifyConfig
) -> SparsityMethod:
    kept = select(network, options).kept
    masks = [kept[layer] for group in groups for layer in group.members]
    cut_share = 1 - float(np.concatenate(masks).mean()) if masks else 0.0
    if config.method == "constant":
        return ConstantL1(groups, config, cut_share)
    if config.method == "proximal":
        return Proximal(groups, options, config, cut_share if config.target_share is None else config.target_share)
    return ScheduledZeros(network, groups, options, config)
