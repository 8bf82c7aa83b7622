"""Which convolutions must lose the same channels: those whose outputs are added by shortcuts.

The map of every layer's channels goes through routes, upsampling and pooling as a list of segments, each a run of
one convolution's channels, and beside it what shortcuts add to them. Source of the idea: Fang et al., DepGraph,
arXiv:2301.12900.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, replace

from compress.darknet.cfg import INPUT, Cfg, layer_shapes, layer_sources
from compress.darknet.shapes import activation_of


@dataclass(frozen=True)
class Segment:
    """Channels start to stop (exclusive) of a convolution's output; INPUT is the network's input."""

    conv: int
    start: int
    stop: int


Segments = tuple[Segment, ...]
Placed = tuple[int, Segment]  # where among a layer's channels a segment begins


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
    return [channels.segments for channels in _Flow(cfg).channels]


def layer_sums(cfg: Cfg) -> list[frozenset[Placed]]:
    """For every layer all whose channels its output's are sums of, the ways around blocks and what shortcuts add."""
    return [channels.added.union(channels.around) for channels in _Flow(cfg).channels]


@dataclass(frozen=True)
class _Channels:
    """Of a layer's output.

    Attributes:
        around: by the way around blocks, which stays when they go; all channels in order.
        added: to these by shortcuts.
    """

    around: tuple[Placed, ...]
    added: frozenset[Placed] = frozenset()

    @property
    def segments(self) -> Segments:
        return tuple(segment for _, segment in self.around)

    @property
    def width(self) -> int:
        return sum(segment.stop - segment.start for segment in self.segments)

    def part(self, parts: int, number: int) -> _Channels:
        """One of so many equal parts."""
        low, high = (at * (self.width // parts) for at in (number, number + 1))
        return _Channels(tuple(_within(self.around, low, high)), frozenset(_within(self.added, low, high)))


class _Flow:
    """One walk through the layers: channels, and which convolutions are tied or may not change."""

    def __init__(self, cfg: Cfg) -> None:
        self.channels: list[_Channels] = []
        self.parts: dict[int, int] = {}  # by convolution, where routes take parts of it
        self._parent: dict[int, int] = {INPUT: INPUT}
        self._fixed: set[int] = set()
        self._width = {INPUT: cfg.input_channels}
        at_input = _whole(INPUT, cfg.input_channels)
        shapes = layer_shapes(cfg)
        for index, (section, sources) in enumerate(zip(cfg.layers, layer_sources(cfg), strict=True)):
            read = [at_input if source == INPUT else self.channels[source] for source in sources]
            inputs = [channels.segments for channels in read]
            if section.type == "convolutional":
                self._parent[index], self._width[index] = index, shapes[index][0]
                own = _whole(index, shapes[index][0])
                if section.integer("groups", 1) > 1:
                    self._fix(*own.segments, *inputs[0])
                if activation_of(section) == "logistic":  # gives 0.5 for 0: never silent
                    self._fix(*own.segments)
                self.channels.append(own)
            elif section.type == "shortcut":
                self._tie(*inputs)
                if activation_of(section) == "logistic":
                    self._fix(*inputs[0], *inputs[1])
                self.channels.append(replace(read[1], added=read[1].added.union(read[0].added, read[0].around)))
            elif section.type == "route":
                groups, group = section.integer("groups", 1), section.integer("group_id", 0)
                if groups > 1:
                    self._divide(inputs, groups)
                self.channels.append(_joined([channels.part(groups, group) for channels in read]))
            elif section.type == "reorg":  # every output channel is made of several input channels
                self._fix(*inputs[0])
                self.channels.append(_joined(read * section.integer("stride", 1) ** 2))
            else:
                self.channels.append(read[0])

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


def _whole(conv: int, channels: int) -> _Channels:
    return _Channels(((0, Segment(conv, 0, channels)),))


def _within(placed: Iterable[Placed], low: int, high: int) -> Iterator[Placed]:
    """What of it lies from channel `low` to before `high`, which is all that is left."""
    for at, segment in placed:
        first, last = max(at, low), min(at + segment.stop - segment.start, high)
        if first < last:
            yield first - low, Segment(segment.conv, segment.start + first - at, segment.start + last - at)


def _joined(parts: Sequence[_Channels]) -> _Channels:
    """One after another."""
    around: list[Placed] = []
    added: set[Placed] = set()
    offset = 0
    for part in parts:
        around += [(at + offset, segment) for at, segment in part.around]
        added |= {(at + offset, segment) for at, segment in part.added}
        offset += part.width
    return _Channels(tuple(around), frozenset(added))
