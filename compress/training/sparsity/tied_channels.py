"""The gammas and betas of one channel over all convolutions that shortcuts tie, as one vector.

Source: Yuan & Lin, Model selection and estimation in regression with grouped variables, 2006 (group lasso); Fang et
al., DepGraph, arXiv:2301.12900 (which layers a group has).
"""

from __future__ import annotations

import torch
from torch import Tensor

from compress.darknet.network import DarknetNetwork
from compress.pruning import ChannelGroup, channel_groups


class TiedChannels:
    """The units of a group: what shortcuts and routes tie is one vector of gammas and betas, zero together or not.

    Attributes:
        members: layer indices of the convolutions.
        parts: unit u has channel u of each of so many equal parts of every member.
        tied: gammas that a unit has.
        start_size: mean size of the vectors when this was made; what a pull is relative to.
    """

    def __init__(self, network: DarknetNetwork, group: ChannelGroup) -> None:
        self._network, self.members, self.parts = network, group.members, group.parts
        self.tied = len(group.members) * group.parts
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
        """Length of each vector by the root of `tied`, (units,): one gamma's size where all are alike and beta is 0."""
        squares = torch.stack([values**2 for values in (*self.gammas, *self.betas)]).sum(0)
        return squares.view(self.parts, -1).sum(0).div(self.tied).sqrt()

    @torch.no_grad()
    def shorten(self, pull: float | Tensor) -> None:
        """Soft threshold: every vector becomes shorter by `pull`, down to exactly zero.

        Args:
            pull: in units of `sizes`, one for all or (units,).
        """
        factor = (1 - pull / self.sizes().clamp(min=1e-12)).clamp(min=0.0)
        for values in (*self.gammas, *self.betas):
            values.mul_(factor.repeat(self.parts))


def tied_channels(network: DarknetNetwork) -> list[TiedChannels]:
    """Every group of which channels may be pruned."""
    return [TiedChannels(network, group) for group in channel_groups(network.cfg) if group.prunable]
