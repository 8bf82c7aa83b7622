"""Which convolutions must lose the same channels: those whose outputs are added by shortcuts.

The map of every layer's channels goes through routes, upsampling and pooling as a list of segments, each a run of
one convolution's channels. Source of the idea: Fang et al., DepGraph, arXiv:2301.12900.
"""

from __future__ import annotations

import math
from collections.abc import Iterable
from dataclasses import dataclass

from compress.darknet.cfg import INPUT, Cfg, layer_shapes, layer_sources
from compress.darknet.shapes import activation_of


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
        parts: where a route with groups takes one of so many equal parts, all parts lose the same channels: channel c
            of each is one unit.
    """

    name: str
    members: tuple[int, ...]
    channels: int
    prunable: bool
    parts: int = 1

    @property
    def units(self) -> int:
        """Channels that can go one by one: those of one part."""
        return self.channels // self.parts


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
        name, parts = f"conv {'+'.join(map(str, tied))}", math.lcm(*(flow.parts.get(conv, 1) for conv in tied))
        groups.append(ChannelGroup(name, tuple(tied), shapes[tied[0]][0], prunable, parts if prunable else 1))
    return groups


def layer_channels(cfg: Cfg) -> list[Segments]:
    """For every layer whose channels its output's are, in order; of tied ones any stands for all."""
    return _Flow(cfg).segments


class _Flow:
    """One walk through the layers: segments, and which convolutions are tied or may not change."""

    def __init__(self, cfg: Cfg) -> None:
        self.segments: list[Segments] = []
        self.parts: dict[int, int] = {}  # by convolution, where routes take parts of it
        self._parent: dict[int, int] = {INPUT: INPUT}
        self._fixed: set[int] = set()
        self._width = {INPUT: cfg.input_channels}
        at_input: Segments = (Segment(INPUT, 0, cfg.input_channels),)
        shapes = layer_shapes(cfg)
        for index, (section, sources) in enumerate(zip(cfg.layers, layer_sources(cfg), strict=True)):
            inputs = [at_input if source == INPUT else self.segments[source] for source in sources]
            if section.type == "convolutional":
                self._parent[index], self._width[index] = index, shapes[index][0]
                own: Segments = (Segment(index, 0, shapes[index][0]),)
                if section.integer("groups", 1) > 1:
                    self._fix(*own, *inputs[0])
                if activation_of(section) == "logistic":  # gives 0.5 for 0: never silent
                    self._fix(*own)
                self.segments.append(own)
            elif section.type == "shortcut":
                self._tie(*inputs)
                if activation_of(section) == "logistic":
                    self._fix(*inputs[0], *inputs[1])
                self.segments.append(inputs[1])  # the way around, which stays when the block goes
            elif section.type == "route":
                groups, group = section.integer("groups", 1), section.integer("group_id", 0)
                if groups > 1:
                    self._divide(inputs, groups)
                parts = [_part(channels, groups, group) for channels in inputs]
                self.segments.append(tuple(segment for part in parts for segment in part))
            elif section.type == "reorg":  # every output channel is made of several input channels
                self._fix(*inputs[0])
                self.segments.append(inputs[0] * section.integer("stride", 1) ** 2)
            else:
                self.segments.append(inputs[0])

    def leader(self, conv: int) -> int:
        """The one convolution that stands for all tied ones."""
        while self._parent[conv] != conv:
            conv = self._parent[conv]
        return conv

    def fixed_leaders(self) -> set[int]:
        return {self.leader(conv) for conv in self._fixed}

    def _fix(self, *segments: Segment) -> None:
        self._fixed.update(segment.conv for segment in segments)

    def _divide(self, inputs: Iterable[Segments], groups: int) -> None:
        """Let all parts of one whole convolution lose the same channels; what else is divided keeps all."""
        for channels in inputs:
            if len(channels) == 1 and channels[0].conv != INPUT and self._is_whole(channels[0]):
                conv = channels[0].conv
                self.parts[conv] = math.lcm(self.parts.get(conv, 1), groups)
            else:
                self._fix(*channels)

    def _tie(self, one: Segments, other: Segments) -> None:
        whole = all(self._is_whole(segment) for segment in (*one, *other))
        widths = [[self._width[segment.conv] for segment in side] for side in (one, other)]
        if not whole or widths[0] != widths[1]:  # channels of different places are added: nothing may move
            self._fix(*one, *other)
            return
        for left, right in zip(one, other, strict=True):
            first, second = sorted((self.leader(left.conv), self.leader(right.conv)))
            self._parent[second] = first

    def _is_whole(self, segment: Segment) -> bool:
        return (segment.start, segment.stop) == (0, self._width[segment.conv])


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
