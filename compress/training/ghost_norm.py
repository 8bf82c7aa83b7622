"""Batch normalisation over groups of so many pictures, however many go through the network at once.

So the results do not depend on how an optimiser's batch is cut. Source: Hoffer et al., Train longer, generalize
better, arXiv:1705.08741 (ghost batch normalisation).
"""

from __future__ import annotations

import torch
from torch import Tensor, nn


class GhostBatchNorm2d(nn.BatchNorm2d):
    """Normalises groups one after the other; parameters and statistics are those of `original`, shared with it."""

    def __init__(self, original: nn.BatchNorm2d, group: int) -> None:
        super().__init__(original.num_features, original.eps, original.momentum)
        self.group = group
        self.weight, self.bias = original.weight, original.bias
        self.running_mean, self.running_var = original.running_mean, original.running_var
        self.num_batches_tracked = original.num_batches_tracked

    def forward(self, x: Tensor) -> Tensor:
        """(N, C, H, W) -> the same shape."""
        if not self.training or len(x) <= self.group:
            return nn.BatchNorm2d.forward(self, x)
        return torch.cat([nn.BatchNorm2d.forward(self, part) for part in x.split(self.group)])


def normalise_in_groups(network: nn.Module, group: int) -> None:
    """Let every batch normalisation of the network work on groups of so many pictures."""
    for module in list(network.modules()):
        for name, child in list(module.named_children()):
            if type(child) is nn.BatchNorm2d:
                setattr(module, name, GhostBatchNorm2d(child, group).train(child.training))
