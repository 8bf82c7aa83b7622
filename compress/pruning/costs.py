"""What a network costs at any widths of its groups: parameters, multiply-accumulates and predicted DPU milliseconds.

Every layer's cost depends on its input and output channels alone, so it is computed once for each pair that comes up
and kept, for equal layers together. Sums are `dpu.latency.predict`'s and `compress.darknet.cost`'s to the last bit.
"""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from functools import lru_cache
from typing import NamedTuple

from compress.darknet.cfg import INPUT, Cfg, layer_sources
from compress.darknet.cost import dpu_layers, gmacs, parameter_count
from compress.pruning.groups import ChannelGroup, Segments, layer_channels
from dpu.latency import Layer, conv_ms, predict
from dpu.layer_cost import FREE


class Costs(NamedTuple):
    """Trained numbers, multiply-accumulates an image, predicted milliseconds on one core of the board's DPU."""

    params: int
    macs: int
    ms: float

    @property
    def gmacs(self) -> float:
        """In units of 1e9."""
        return self.macs / 1e9


class LayerTable(dict[tuple[int, int], Costs]):
    """What one layer costs, by (input channels, output channels); filled when asked.

    Args:
        layer: of the DPU, with whatever channels.
        per_filter: numbers that are trained beside a filter's weights.
        board: whose DPU.
    """

    def __init__(self, layer: Layer, per_filter: int, board: str) -> None:
        super().__init__()
        self._layer, self._per_filter, self._board = layer, per_filter, board

    def __missing__(self, channels: tuple[int, int]) -> Costs:
        layer, (in_channels, out_channels) = self._layer, channels
        params, macs, ms = 0, 0, conv_ms(layer, in_channels, out_channels, self._board)
        if layer.kind == "conv":
            weights = in_channels // layer.groups * out_channels * math.prod(layer.kernel_hw)
            params = weights + self._per_filter * out_channels
            macs = weights * math.prod(layer.out_hwc[:2])
        self[channels] = costs = Costs(params, macs, ms)
        return costs


@dataclass(frozen=True)
class CostedLayer:
    """A layer of the DPU that costs something.

    Attributes:
        section: the layer of the cfg that it is, or is a part of.
        table: what it costs.
        full: its input and output channels in the cfg.
        per_unit: for every group that its costs depend on, the input and output channels that one unit gives.
    """

    section: int
    table: LayerTable
    full: tuple[int, int]
    per_unit: Mapping[int, tuple[int, int]]


def costed_layers(cfg: Cfg, groups: Sequence[ChannelGroup], board: str) -> list[CostedLayer]:
    """Every layer that costs something, in order; groups are named by their position, fixed ones are left out."""
    channels, sources = layer_channels(cfg), layer_sources(cfg)
    group_of = {conv: position for position, group in enumerate(groups) if group.prunable for conv in group.members}

    def units(segments: Segments) -> Counter[int]:
        counted: Counter[int] = Counter()
        for segment in segments:
            if segment.conv in group_of:
                group = group_of[segment.conv]
                counted[group] += (segment.stop - segment.start) // groups[group].units
        return counted

    costed: list[CostedLayer] = []
    for layer in dpu_layers(cfg):
        if layer.kind in FREE:
            continue
        index = int(layer.name.split("_")[1])
        section, nth = cfg.layers[index], sum(before.section == index for before in costed)  # a slice for each source
        source = sources[index][nth]
        inputs = Counter[int]() if source == INPUT else units(channels[source])
        outputs = units(channels[index])
        if layer.kind == "slice":
            outputs = Counter({group: count // section.integer("groups") for group, count in inputs.items()})
        per_filter = 2 if section.integer("batch_normalize", 0) else 1
        costed.append(
            CostedLayer(
                index,
                _table(replace(layer, name=""), per_filter, board),
                (layer.in_hwc[2], layer.out_hwc[2]),
                {group: (inputs[group], outputs[group]) for group in {*inputs, *outputs}},
            )
        )
    return costed


def network_costs(cfg: Cfg, board: str) -> Costs:
    """What a network costs as it is."""
    return Costs(parameter_count(cfg), round(gmacs(cfg) * 1e9), predict(dpu_layers(cfg), board).dpu_ms)


_table = lru_cache(maxsize=1024)(LayerTable)  # the sparse training asks for the same network again and again
