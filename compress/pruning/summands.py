"""Every convolution whose channels are in a layer's, those that a shortcut adds included.

Where a shortcut ties what it adds, as it mostly does, one group stands for both (compress.pruning.groups). Where it
cannot, as with a concat on one side, both sides are in the sum and only these lists have both.
"""

from __future__ import annotations

from typing import NamedTuple

from compress.darknet.cfg import INPUT, Cfg, layer_shapes, layer_sources
from compress.pruning.groups import ChannelGroup


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
    shapes = layer_shapes(cfg)
    found: list[Summands] = []
    for index, (section, sources) in enumerate(zip(cfg.layers, layer_sources(cfg), strict=True)):
        inputs = [frozenset() if source == INPUT else found[source] for source in sources]
        widths = [cfg.input_channels if source == INPUT else shapes[source][0] for source in sources]
        if section.type == "convolutional":
            group = group_of[index]
            found.append(frozenset({Summand(0, group, 0, group.channels)}))
        elif section.type == "shortcut":
            found.append(inputs[0] | inputs[1])
        elif section.type == "route":
            parts, part = section.integer("groups", 1), section.integer("group_id", 0)
            taken = [_part(each, width // parts, part) for each, width in zip(inputs, widths, strict=True)]
            found.append(_joined(taken, [width // parts for width in widths]))
        elif section.type == "reorg":
            times = section.integer("stride", 1) ** 2
            found.append(_joined(inputs * times, widths * times))
        else:
            found.append(inputs[0])
    return found


def _part(summands: Summands, length: int, part: int) -> Summands:
    low, high = part * length, (part + 1) * length
    clipped = set()
    for at, group, start, stop in summands:
        first, last = max(at, low), min(at + stop - start, high)
        if first < last:
            clipped.add(Summand(first - low, group, start + first - at, start + last - at))
    return frozenset(clipped)


def _joined(parts: list[Summands], widths: list[int]) -> Summands:
    joined, offset = set(), 0
    for part, width in zip(parts, widths, strict=True):
        joined |= {each._replace(at=each.at + offset) for each in part}
        offset += width
    return frozenset(joined)
