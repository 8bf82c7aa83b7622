"""What a network costs at any widths of its groups: parameters, multiply-accumulates and predicted DPU milliseconds.

Every layer's cost depends on its input and output channels alone, so it is computed once for each pair that comes up
and kept, for equal layers together. Sums are `dpu.latency.predict`'s and `compress.darknet.cost`'s to the last bit.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from functools import lru_cache
from typing import NamedTuple

from compress.darknet.cfg import INPUT, Cfg, layer_sources
from compress.darknet.cost import dpu_layers, gmacs, parameter_count
from compress.pruning.groups import ChannelGroup, Segment, Segments, layer_channels
from dpu.latency import Layer, conv_ms, predict


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
    """What one layer costs, by (input channels, output channels); filled when asked."""

    def __init__(self, layer: Layer | None, per_filter: int, board: str) -> None:
        """A `layer` of the DPU, or None for one that costs nothing; `per_filter` numbers are trained beside weights."""
        super().__init__()
        self._layer, self._per_filter, self._board = layer, per_filter, board

    def __missing__(self, channels: tuple[int, int]) -> Costs:
        layer, (in_channels, out_channels) = self._layer, channels
        params, macs, ms = 0, 0, 0.0
        if layer is not None:
            ms = conv_ms(layer, in_channels, out_channels, self._board)
        if layer is not None and layer.kind == "conv":
            weights = in_channels // layer.groups * out_channels * math.prod(layer.kernel_hw)
            params = weights + self._per_filter * out_channels
            macs = weights * math.prod(layer.out_hwc[:2])
        self[channels] = costs = Costs(params, macs, ms)
        return costs


@dataclass(frozen=True)
class CostedLayer:
    """One layer of a cfg.

    Attributes:
        table: what it costs.
        full: its input and output channels in the cfg.
        per_unit: for every group that its costs depend on, the input and output channels that one unit gives.
    """

    table: LayerTable
    full: tuple[int, int]
    per_unit: Mapping[int, tuple[int, int]]


def costed_layers(cfg: Cfg, groups: Sequence[ChannelGroup], board: str) -> list[CostedLayer]:
    """Every layer of the cfg; groups are named by their position, those that cannot be pruned count as fixed."""
    on_dpu = {layer.name: layer for layer in dpu_layers(cfg)}
    channels, sources = layer_channels(cfg), layer_sources(cfg)
    at_input = (Segment(INPUT, 0, cfg.input_channels),)
    group_of = {conv: position for position, group in enumerate(groups) if group.prunable for conv in group.members}
    costed = []
    for index, section in enumerate(cfg.layers):
        source = sources[index][0]
        read = channels[index] if section.type == "route" else at_input if source == INPUT else channels[source]
        per_unit: dict[int, tuple[int, int]] = {}
        for side, segments in enumerate((read, channels[index])):
            for segment in segments:
                if segment.conv in group_of:
                    group = group_of[segment.conv]
                    count = list(per_unit.get(group, (0, 0)))
                    count[side] += (segment.stop - segment.start) // groups[group].units
                    per_unit[group] = (count[0], count[1])
        per_filter = 2 if section.integer("batch_normalize", 0) else 1
        table = _table(_unnamed(on_dpu.get(f"{section.type}_{index}")), per_filter, board)
        costed.append(CostedLayer(table, (_count(read), _count(channels[index])), per_unit))
    return costed


def network_costs(cfg: Cfg, board: str) -> Costs:
    """What a network costs as it is."""
    return Costs(parameter_count(cfg), round(gmacs(cfg) * 1e9), predict(dpu_layers(cfg), board).dpu_ms)


def _count(segments: Segments) -> int:
    return sum(segment.stop - segment.start for segment in segments)


def _unnamed(layer: Layer | None) -> Layer | None:
    return None if layer is None else replace(layer, name="")


_table = lru_cache(maxsize=1024)(LayerTable)  # the sparse training asks for the same network again and again
