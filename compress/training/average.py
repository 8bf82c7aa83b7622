"""The averaged network: an exponential moving average of the weights, with batch statistics of its own.

Sources: Polyak & Juditsky, 1992 (averaging); Li et al., AdaBN, arXiv:1603.04779 (statistics).
"""

from __future__ import annotations

import copy
from typing import Generic, TypeVar

import torch
from torch import Tensor

from compress.darknet.network import DarknetNetwork
from compress.pruning.recalibration import recalibrate
from compress.quantization.grid_network import GridNetwork
from compress.training.loader import TrainingImages, load_batches

Network = TypeVar("Network", DarknetNetwork, GridNetwork)
STATISTICS_IMAGES = 256
_BATCH = 16


class AveragedNetwork(Generic[Network]):
    """A copy of a network that follows its parameters.

    Args:
        network: the one that is trained.
        steps: how far it looks back, less far at the start.

    Attributes:
        network: the copy, in eval mode.
    """

    def __init__(self, network: Network, steps: int) -> None:
        self.network: Network = copy.deepcopy(network).eval()
        self._steps = steps
        self._means: list[Tensor] = list(self.network.parameters())
        self._values: list[Tensor] = list(network.parameters())

    @torch.no_grad()
    def update(self, step: int) -> None:
        """Follow the weights after an optimiser step, 0-based."""
        keep = min(1 - 1 / self._steps, (step + 1) / (step + 10))
        torch._foreach_lerp_(self._means, self._values, 1 - keep)

    def settle(self, images: TrainingImages, device: torch.device) -> None:
        """Take batch statistics from pictures as the training varies them: no step made those of the average.

        The weights have learnt with the statistics of varied pictures. Those of pictures as they are differ, the more
        so with mosaics.
        """
        chosen = images.spread(STATISTICS_IMAGES)
        batches = [chosen[first : first + _BATCH] for first in range(0, len(chosen), _BATCH)]
        recalibrate(self.network, (batch.on(device).images for batch in load_batches(images, 0, batches)))
