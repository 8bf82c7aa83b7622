"""Every convolution whose channels are in a layer's, those that a shortcut adds included.

Where a shortcut ties what it adds, as it mostly does, one group stands for both (compress.pruning.groups). Where it
cannot, as with a concat on one side, both sides are in the sum and only these lists have both.
"""

from __future__ import annotations

from typing import NamedTuple

from compress.darknet.cfg import INPUT, Cfg
from compress.pruning.groups import ChannelGroup, layer_sums


class Summand(NamedTuple):
    """Channels `start` to `stop` (exclusive) of a group, added to a layer's channels from `at` on."""

    at: int
    group: ChannelGroup
    start: int
    stop: int

    @property
    def places(self) -> slice:
        """Its channels in the layer."""
        return slice(self.at, self.at + self.stop - self.start)

    @property
    def channels(self) -> slice:
        """Its channels in the group."""
        return slice(self.start, self.stop)


Summands = frozenset[Summand]


def layer_summands(cfg: Cfg, groups: list[ChannelGroup]) -> list[Summands]:
    """For every layer what its output's channels are sums of, without the network's input."""
    group_of = {conv: group for group in groups for conv in group.members}
    return [
        frozenset(
            Summand(at, group_of[segment.conv], segment.start, segment.stop)
            for at, segment in placed
            if segment.conv != INPUT
        )
        for placed in layer_sums(cfg)
    ]
