"""The gammas and betas of one channel over all convolutions that shortcuts tie, as one vector.

Source: Yuan & Lin, Model selection and estimation in regression with grouped variables, 2006 (group lasso); Fang et
al., DepGraph, arXiv:2301.12900 (which layers a group has).
"""

from __future__ import annotations

import torch
from torch import Tensor

from compress.darknet.network import DarknetNetwork
from compress.pruning import channel_groups


class TiedChannels:
    """Channel c of every member is one vector: its gammas and betas, which become zero together or not at all.

    Attributes:
        members: layer indices of the convolutions.
        start_size: mean size of the vectors when this was made; what a pull is relative to.
    """

    def __init__(self, network: DarknetNetwork, members: tuple[int, ...]) -> None:
        self._network, self.members = network, members
        self.start_size = float(self.sizes().mean())

    @property
    def gammas(self) -> list[Tensor]:
        """Of each member (C,)."""
        return [self._network.batch_norm(layer).weight for layer in self.members]

    @property
    def betas(self) -> list[Tensor]:
        """Of each member (C,)."""
        return [self._network.batch_norm(layer).bias for layer in self.members]

    @torch.no_grad()
    def sizes(self) -> Tensor:
        """Length of each vector by the root of its members' number, (C,): one member's gamma where beta is 0."""
        squares = torch.stack([values**2 for values in (*self.gammas, *self.betas)])
        return squares.sum(0).div(len(self.members)).sqrt()

    @torch.no_grad()
    def shorten(self, pull: float, spared: Tensor | None = None) -> None:
        """Soft threshold: every vector becomes shorter by `pull`, down to exactly zero.

        Args:
            pull: in units of `sizes`.
            spared: bool (C,), channels that stay as they are.
        """
        factor = (1 - pull / self.sizes().clamp(min=1e-12)).clamp(min=0.0)
        if spared is not None:
            factor = torch.where(spared, torch.ones_like(factor), factor)
        for values in (*self.gammas, *self.betas):
            values.mul_(factor)


def tied_channels(network: DarknetNetwork) -> list[TiedChannels]:
    """Every group of which channels may be pruned."""
    return [TiedChannels(network, group.members) for group in channel_groups(network.cfg) if group.prunable]
