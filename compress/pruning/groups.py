"""Which convolutions must lose the same channels: those whose outputs are added by shortcuts.

The map of every layer's channels goes through routes, upsampling and pooling as a list of segments, each a run of
one convolution's channels. Source of the idea: Fang et al., DepGraph, arXiv:2301.12900.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

from compress.darknet.cfg import INPUT, Cfg, layer_shapes, layer_sources


@dataclass(frozen=True)
class Segment:
    """Channels start to stop (exclusive) of a convolution's output; INPUT is the network's input."""

    conv: int
    start: int
    stop: int


Segments = tuple[Segment, ...]


@dataclass(frozen=True)
class ChannelGroup:
    """Convolutions whose channel c is one channel, for every c.

    Attributes:
        name: the members, as in "conv 1+4".
        members: their layer indices, ascending.
        channels: of each member.
        prunable: whether channels may be taken out: every member has batch normalisation and no layer
            after it needs all of them.
    """

    name: str
    members: tuple[int, ...]
    channels: int
    prunable: bool


def channel_groups(cfg: Cfg) -> list[ChannelGroup]:
    """Every convolution in exactly one group, by first member."""
    shapes, flow = layer_shapes(cfg), _Flow(cfg)
    convolutions = [index for index, section in enumerate(cfg.layers) if section.type == "convolutional"]
    members: dict[int, list[int]] = {}
    for conv in convolutions:
        members.setdefault(flow.leader(conv), []).append(conv)
    groups = []
    for leader, tied in members.items():
        normalised = all(cfg.layers[conv].integer("batch_normalize", 0) for conv in tied)
        prunable = normalised and leader != flow.leader(INPUT) and leader not in flow.fixed_leaders()
        groups.append(ChannelGroup(f"conv {'+'.join(map(str, tied))}", tuple(tied), shapes[tied[0]][0], prunable))
    return groups


def layer_channels(cfg: Cfg) -> list[Segments]:
    """For every layer whose channels its output's are, in order; of tied ones any stands for all."""
    return _Flow(cfg).segments


class _Flow:
    """One walk through the layers: segments, and which convolutions are tied or may not change."""

    def __init__(self, cfg: Cfg) -> None:
        self.segments: list[Segments] = []
        self._parent: dict[int, int] = {INPUT: INPUT}
        self._fixed: set[int] = set()
        self._width = {INPUT: cfg.input_channels}
        at_input: Segments = (Segment(INPUT, 0, cfg.input_channels),)
        shapes = layer_shapes(cfg)
        for index, (section, sources) in enumerate(zip(cfg.layers, layer_sources(cfg), strict=True)):
            inputs = [at_input if source == INPUT else self.segments[source] for source in sources]
            if section.type == "convolutional":
                self._parent[index], self._width[index] = index, shapes[index][0]
                self.segments.append((Segment(index, 0, shapes[index][0]),))
            elif section.type == "shortcut":
                self._tie(*inputs)
                self.segments.append(inputs[1])  # the way around, which stays when the block goes
            elif section.type == "route":
                groups, group = section.integer("groups", 1), section.integer("group_id", 0)
                if groups > 1:  # after a cut the parts would not be of one size
                    self._fixed.update(segment.conv for channels in inputs for segment in channels)
                parts = [_part(channels, groups, group) for channels in inputs]
                self.segments.append(tuple(segment for part in parts for segment in part))
            else:
                self.segments.append(inputs[0])

    def leader(self, conv: int) -> int:
        """The one convolution that stands for all tied ones."""
        while self._parent[conv] != conv:
            conv = self._parent[conv]
        return conv

    def fixed_leaders(self) -> set[int]:
        return {self.leader(conv) for conv in self._fixed}

    def _tie(self, one: Segments, other: Segments) -> None:
        widths = [
            [(segment.start, segment.stop, self._width[segment.conv]) for segment in side] for side in (one, other)
        ]
        whole = all(start == 0 and stop == width for start, stop, width in (*widths[0], *widths[1]))
        if not whole or widths[0] != widths[1]:  # channels of different places are added: nothing may move
            self._fixed.update(segment.conv for segment in (*one, *other))
            return
        for left, right in zip(one, other, strict=True):
            first, second = sorted((self.leader(left.conv), self.leader(right.conv)))
            self._parent[second] = first


def _part(channels: Iterable[Segment], groups: int, group: int) -> Segments:
    segments = list(channels)
    length = sum(segment.stop - segment.start for segment in segments) // groups
    low, high = group * length, (group + 1) * length
    found, at = [], 0
    for segment in segments:
        size = segment.stop - segment.start
        start, stop = max(low - at, 0), min(high - at, size)
        if start < stop:
            found.append(Segment(segment.conv, segment.start + start, segment.start + stop))
        at += size
    return tuple(found)
